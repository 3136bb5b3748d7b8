//! Compares the sandbox with independent implementations: Losant's own clients, a schema validator,
//! and JavaScript's date parser, which the service probably uses.

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
