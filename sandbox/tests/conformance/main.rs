//! The sandbox, judged by others: Losant's own clients, an independent validator of its schemas,
//! and the parser of dates that the service is likely to use.

#[cfg(test)]
mod bodies;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod generate;
#[cfg(test)]
mod judge;
#[cfg(test)]
mod times;
