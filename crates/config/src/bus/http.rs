//! HTTP endpoints that receive pushed readings: the tables `[bus.http.…]`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;

use super::settings::{Exclusive, Settings, Table, Topics};
use super::values::size;
use crate::Secret;
use crate::check::Check;
use crate::secret::read_bare_token;
use crate::table::{Bytes, Integer, Text, table};

/// The default address: only this computer can reach it.
const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8_440);

/// The range of the maximum number of connections.
const CONNECTIONS_RANGE: RangeInclusive<i64> = 1..=256;

table!(Raw { listen: Text, credentials_file: Text, size_max: Bytes, connections_max: Integer });

/// An HTTP endpoint that receives pushed readings.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpBus {
    /// The address and port.
    pub listen: SocketAddr,
    /// The token that clients must send.
    pub token: Secret,
    /// The largest body in bytes.
    pub body_bytes_max: usize,
    /// The maximum number of connections at the same time.
    pub connections_max: usize,
}

impl Settings for HttpBus {
    type Raw = Raw;

    const TOPICS: Topics = Topics::Optional;

    fn resolve(table: &Table<'_>, raw: Raw, check: &mut Check<'_>) -> Self {
        let key = table.key;
        let listen_key = format!("{key}.listen");
        let listen = check.or_default(&listen_key, raw.listen, LISTEN_DEFAULT.to_string());
        let listen = crate::check::listen(&listen_key, &listen, check);
        let credentials_key = format!("{key}.credentials_file");
        let fix = "name a file with the token of the clients: credentials_file = \"push-token\"";
        let path = check.required(&credentials_key, raw.credentials_file, fix);
        let token = path.and_then(|path| check.secret(&check.path(&path), read_bare_token));
        let connections_key = format!("{key}.connections_max");
        let connections_max =
            check.integer(&connections_key, raw.connections_max, 16, &CONNECTIONS_RANGE);
        HttpBus {
            listen: listen.unwrap_or(LISTEN_DEFAULT),
            token: token.unwrap_or_else(|| Secret::from(String::new())),
            body_bytes_max: size(&format!("{key}.size_max"), raw.size_max, check),
            connections_max: usize::try_from(connections_max).unwrap_or(1),
        }
    }

    fn exclusive(&self) -> Vec<Exclusive> {
        // Port 0 is any free port.
        let listens = self.listen.port() != 0;
        let port = Exclusive {
            option: "listen",
            resource: self.listen.to_string(),
            fix: "give each its own port; several sensors can share one bus",
        };
        listens.then_some(port).into_iter().collect()
    }
}
