//! The few packets of MQTT 3.1.1 that a generator and a bare subscriber exchange with a broker.
//!
//! A complete client costs more processor time than the broker, and would measure itself.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, bail};

/// A connection without a packet for this long is broken.
const READ_TIMEOUT: Duration = Duration::from_millis(100);

/// The bytes that one read may return.
const READ_BYTES: usize = 64 << 10;

/// A packet that the broker sends.
#[derive(Debug, PartialEq)]
pub(crate) enum Packet {
    /// The broker has a message that this client published.
    Acknowledged,
    /// A message for this client with its packet id, which the client has to acknowledge.
    Message(u16),
    /// Any other packet.
    Other,
}

/// A connection to a broker on this computer.
pub(crate) struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    chunk: Vec<u8>,
}

impl Connection {
    /// Connects with a new session, and waits for the answer.
    ///
    /// # Errors
    ///
    /// The broker cannot be reached, or refuses the session.
    pub(crate) fn open(port: u16, client_id: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .context("cannot connect to the broker")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        let mut connection = Self { stream, received: Vec::new(), chunk: vec![0; READ_BYTES] };
        connection.stream.write_all(&connect(client_id)?)?;
        connection.wait_for_answer()?;
        Ok(connection)
    }

    /// Subscribes to a topic filter with QoS 1, and waits for the answer.
    pub(crate) fn subscribe(&mut self, filter: &str) -> anyhow::Result<()> {
        let mut body = vec![0, 1];
        put_text(&mut body, filter)?;
        body.push(1);
        let mut packet = vec![0x82];
        put_length(&mut packet, body.len());
        packet.extend(body);
        self.stream.write_all(&packet)?;
        self.wait_for_answer()
    }

    /// Returns another handle of the socket, to write while this one reads.
    pub(crate) fn writer(&self) -> std::io::Result<TcpStream> {
        self.stream.try_clone()
    }

    /// Reads what is there, and adds its packets to a list. Waits for at most 100 ms.
    ///
    /// # Errors
    ///
    /// The broker closed the connection.
    pub(crate) fn read(&mut self, packets: &mut Vec<Packet>) -> anyhow::Result<()> {
        match self.stream.read(&mut self.chunk) {
            Ok(0) => bail!("the broker closed the connection"),
            Ok(count) => self.received.extend(self.chunk.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let mut used = 0;
        while let Some((packet, length)) = parse(self.received.get(used..).unwrap_or_default()) {
            packets.push(packet);
            used += length;
        }
        self.received.drain(..used);
        Ok(())
    }

    fn wait_for_answer(&mut self) -> anyhow::Result<()> {
        let mut packets = Vec::new();
        for _ in 0..50 {
            self.read(&mut packets)?;
            if !packets.is_empty() {
                return Ok(());
            }
        }
        bail!("the broker does not answer")
    }
}

/// Appends a message with QoS 1 to a buffer.
///
/// # Errors
///
/// The topic is longer than 65,535 bytes.
pub(crate) fn put_publish(
    buffer: &mut Vec<u8>,
    topic: &str,
    id: u16,
    payload: &[u8],
) -> anyhow::Result<()> {
    buffer.push(0x32);
    put_length(buffer, 2 + topic.len() + 2 + payload.len());
    put_text(buffer, topic)?;
    buffer.extend(id.to_be_bytes());
    buffer.extend(payload);
    Ok(())
}

/// Appends the acknowledgement of a received message to a buffer.
pub(crate) fn put_acknowledgement(buffer: &mut Vec<u8>, id: u16) {
    buffer.extend([0x40, 2]);
    buffer.extend(id.to_be_bytes());
}

fn connect(client_id: &str) -> anyhow::Result<Vec<u8>> {
    // Protocol level 4, a clean session, and no keep-alive.
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 0];
    put_text(&mut body, client_id)?;
    let mut packet = vec![0x10];
    put_length(&mut packet, body.len());
    packet.extend(body);
    Ok(packet)
}

fn put_text(buffer: &mut Vec<u8>, text: &str) -> anyhow::Result<()> {
    buffer.extend(u16::try_from(text.len())?.to_be_bytes());
    buffer.extend(text.as_bytes());
    Ok(())
}

fn put_length(buffer: &mut Vec<u8>, mut length: usize) {
    loop {
        let digit = u8::try_from(length % 128).unwrap_or_default();
        length /= 128;
        buffer.push(if length > 0 { digit | 0x80 } else { digit });
        if length == 0 {
            return;
        }
    }
}

/// Returns the first packet with its length, if all of it is there.
fn parse(bytes: &[u8]) -> Option<(Packet, usize)> {
    let (kind, mut length, mut at) = (*bytes.first()?, 0_usize, 1);
    loop {
        let byte = *bytes.get(at)?;
        length |= usize::from(byte & 0x7f) << (7 * (at - 1));
        at += 1;
        if byte & 0x80 == 0 || at > 4 {
            break;
        }
    }
    let body = bytes.get(at..at + length)?;
    let packet = match kind {
        0x40 => Packet::Acknowledged,
        _ if kind & 0xf6 == 0x32 => Packet::Message(id_of(body)?),
        _ => Packet::Other,
    };
    Some((packet, at + length))
}

fn id_of(message: &[u8]) -> Option<u16> {
    let word = |at: usize| Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]));
    word(2 + usize::from(word(0)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_message_that_it_wrote() {
        let mut bytes = Vec::new();
        put_publish(&mut bytes, "sensors/7/data", 513, &[b'x'; 200]).unwrap();
        let whole = bytes.len();
        put_acknowledgement(&mut bytes, 9);
        assert_eq!(parse(&bytes), Some((Packet::Message(513), whole)));
        assert_eq!(parse(&bytes[whole..]), Some((Packet::Acknowledged, 4)));
    }

    #[test]
    fn waits_for_the_rest_of_a_packet() {
        let mut bytes = Vec::new();
        put_publish(&mut bytes, "sensors/7/data", 513, b"payload").unwrap();
        assert_eq!(parse(&bytes[..bytes.len() - 1]), None);
        assert_eq!(parse(&bytes[..1]), None);
    }
}
