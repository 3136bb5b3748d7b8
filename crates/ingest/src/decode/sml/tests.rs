//! Tests with files that are built here from the specification.

use proptest::prelude::*;

use super::*;
use crc::{CRC_16_IBM_SDLC, CRC_16_KERMIT, Crc};

fn octets(bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len() + 1).unwrap();
    let header = if length < 16 {
        vec![length]
    } else {
        let length = length + 1;
        vec![0x80 | length >> 4, length & 0xf]
    };
    [header, bytes.to_vec()].concat()
}

fn list(items: &[Vec<u8>]) -> Vec<u8> {
    let length = u8::try_from(items.len()).unwrap();
    let header =
        if length < 16 { vec![0x70 | length] } else { vec![0xf0 | length >> 4, length & 0xf] };
    [header, items.concat()].concat()
}

fn entry(name: [u8; 6], unit: &[u8], scaler: &[u8], value: &[u8]) -> Vec<u8> {
    let none = vec![0x01];
    let items = [
        octets(&name),
        none.clone(),
        none.clone(),
        unit.to_vec(),
        scaler.to_vec(),
        value.to_vec(),
        none,
    ];
    list(&items)
}

fn message(tag: u16, body: Vec<u8>, crc: &Crc<u16>) -> Vec<u8> {
    let tag = [&[0x63], tag.to_be_bytes().as_slice()].concat();
    let body = list(&[tag, body]);
    let items = [octets(b"\x00\x01"), vec![0x62, 0], vec![0x62, 0], body];
    let mut bytes = vec![0x76];
    bytes.extend(items.concat());
    let [low, high] = crc.checksum(&bytes).to_le_bytes();
    bytes.extend([0x63, low, high, 0]);
    bytes
}

fn list_message(entries: &[Vec<u8>], crc: &Crc<u16>) -> Vec<u8> {
    let none = || vec![0x01];
    let server = octets(&[0x0a, 0x01, b'E', b'M', b'H', 0, 0, 0, 0x12, 0x34]);
    let items = [none(), server, none(), none(), list(entries), none(), none()];
    message(0x0701, list(&items), crc)
}

const X25: Crc<u16> = Crc::<u16>::new(&CRC_16_IBM_SDLC);

/// Returns a file in its transport.
fn transported(messages: &[u8]) -> Vec<u8> {
    let mut data = messages.to_vec();
    let fill = data.len().next_multiple_of(4) - data.len();
    data.extend(vec![0; fill]);
    let mut bytes = vec![0x1b, 0x1b, 0x1b, 0x1b, 1, 1, 1, 1];
    let mut escapes = 0;
    for byte in data {
        bytes.push(byte);
        escapes = if byte == 0x1b { escapes + 1 } else { 0 };
        if escapes == 4 {
            bytes.extend([0x1b; 4]);
            escapes = 0;
        }
    }
    bytes.extend([0x1b, 0x1b, 0x1b, 0x1b, 0x1a, u8::try_from(fill).unwrap()]);
    let crc = X25.checksum(&bytes).to_le_bytes();
    bytes.extend(crc);
    bytes
}

fn decode(payload: &[u8]) -> Result<Vec<Decoded>, DecodeError> {
    Sml.decode("", payload, &mut Births::default())
}

fn meter() -> Vec<Vec<u8>> {
    let none = [0x01];
    vec![
        entry([129, 129, 199, 130, 3, 255], &none, &none, &octets(b"EMH")),
        entry(
            [1, 0, 0, 0, 9, 255],
            &none,
            &none,
            &octets(&[0x06, b'E', 0x1b, 0x1b, 0x1b, 0x1b, 1]),
        ),
        // 123456.7 Wh of 5 bytes, -250 W of 3 bytes, 230 V × 10 of one byte, 50.01 Hz.
        entry([1, 0, 1, 8, 0, 255], &[0x62, 30], &[0x52, 0xff], &[0x56, 0, 0, 0x12, 0xd6, 0x87]),
        entry([1, 0, 16, 7, 0, 255], &[0x62, 27], &[0x52, 0], &[0x54, 0xff, 0xff, 0x06]),
        entry([1, 0, 32, 7, 0, 255], &[0x62, 35], &[0x52, 1], &[0x62, 23]),
        entry([1, 0, 14, 7, 0, 255], &[0x62, 44], &[0x52, 0xfe], &[0x63, 0x13, 0x89]),
        entry([1, 0, 1, 8, 0, 1], &[0x62, 30], &none, &[0x69, 0, 0, 0, 0, 0, 0, 0, 7]),
        entry([1, 0, 96, 50, 1, 1], &none, &none, &[0x42, 1]),
    ]
}

#[test]
fn reads_a_file_with_and_without_transport() {
    let open = message(0x0101, list(&[vec![0x01], vec![0x01]]), &X25);
    let messages = [open, list_message(&meter(), &X25)].concat();
    let kermit = Crc::<u16>::new(&CRC_16_KERMIT);
    let noise = [b"\x00\x1b".to_vec(), transported(&messages)].concat();
    let files = [messages.clone(), transported(&messages), noise, list_message(&meter(), &kermit)];
    for file in files {
        let mut messages = decode(&file).unwrap();
        assert_eq!(messages.len(), 1);
        let message = messages.remove(0);
        let text = |text: &str| Some(Ok(Value::Text(text.to_owned())));
        assert_eq!(message.channel("meter"), text("0A01454D480000001234"));
        assert_eq!(message.channel("129-129:199.130.3"), text("EMH"));
        assert_eq!(message.channel("1-0:0.0.9"), text("06451B1B1B1B01"));
        assert_eq!(message.channel("1-0:1.8.0"), Some(Ok(Value::Float(123_456.7))));
        assert_eq!(message.channel("1-0:1.8.0*255"), Some(Ok(Value::Float(123_456.7))));
        assert_eq!(message.channel("1-0:1.8.0.unit"), text("Wh"));
        assert_eq!(message.channel("1-0:16.7.0"), Some(Ok(Value::Integer(-250))));
        assert_eq!(message.channel("1-0:16.7.0.unit"), text("W"));
        assert_eq!(message.channel("1-0:32.7.0"), Some(Ok(Value::Integer(230))));
        assert_eq!(message.channel("1-0:14.7.0"), Some(Ok(Value::Float(50.01))));
        assert_eq!(message.channel("1-0:1.8.0*1"), Some(Ok(Value::Integer(7))));
        assert_eq!(message.channel("1-0:96.50.1*1"), Some(Ok(Value::Boolean(true))));
        assert!(!message.names().contains(&"1-0:1.8.0*255"));
    }
}

#[test]
fn status_is_a_channel() {
    let mut items = vec![octets(&[1, 0, 1, 8, 0, 255]), vec![0x64, 0x01, 0x01, 0x82]];
    items.extend([vec![0x01], vec![0x62, 30], vec![0x52, 0], vec![0x62, 5], vec![0x01]]);
    let message = decode(&list_message(&[list(&items)], &X25)).unwrap().remove(0);
    assert_eq!(message.channel("1-0:1.8.0.status"), Some(Ok(Value::Integer(0x0001_0182))));
    assert_eq!(message.channel("1-0:1.8.0"), Some(Ok(Value::Integer(5))));
}

#[test]
fn rejects_damaged_and_foreign_files() {
    let messages = list_message(&meter(), &X25);
    let file = transported(&messages);
    for at in 0..file.len() {
        let mut damaged = file.clone();
        damaged[at] ^= 0x10;
        assert!(decode(&damaged).is_err(), "byte {at}");
        assert!(decode(&file[..at]).is_err(), "cut at {at}");
    }
    let error = |payload: &[u8]| decode(payload).unwrap_err().to_string();
    assert!(error(b"").starts_with("invalid SML file: no GetList response"));
    let mut wrong = messages.clone();
    let checksum = wrong.len() - 2;
    wrong[checksum] ^= 1;
    assert!(error(&wrong).contains("wrong checksum of a message"), "{}", error(&wrong));
    for frame in [
        b"\x7e\xa0\x7b\xce\xff\x13\x12\x8b\xe6\xe7\x00\x0f\x00".as_slice(),
        b"\xa0\x7b\xce\xff\x13\x12\x8b\xe6\xe7\x00\x0f",
        b"\x0f\x00\x00\x00\x01\x0c",
        b"\xdb\x08KFM\x10\x20\x00\x11\x22",
        b"\x68\xfa\xfa\x68\x53\xff\x00\x01\x67\xdb",
    ] {
        assert!(error(frame).contains("DLMS push frame"), "{frame:?}: {}", error(frame));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(
        bytes: Vec<u8>,
        raw in prop::collection::vec(0_u8..0x80, 0..90),
    ) {
        for payload in [bytes.clone(), transported(&bytes), raw.clone(), transported(&raw)] {
            if let Err(error) = decode(&payload) {
                prop_assert!(error.to_string().len() < 300, "{error}");
            }
        }
    }

    #[test]
    fn numbers_of_any_size_are_read_back(number: i64, bytes in 1_usize..9) {
        let unused = 64 - 8 * u32::try_from(bytes).unwrap();
        let number = number << unused >> unused;
        let digits = number.to_be_bytes();
        let header = 0x50 | u8::try_from(bytes + 1).unwrap();
        let value = [&[header], &digits[8 - bytes..]].concat();
        let file = list_message(&[entry([1, 0, 1, 8, 0, 255], &[1], &[1], &value)], &X25);
        let message = decode(&file).unwrap().remove(0);
        prop_assert_eq!(message.channel("1-0:1.8.0"), Some(Ok(Value::Integer(number))));
    }
}
