//! Data blocks of meters as they send them. The sources are in `tests/data/README.md`.

use super::*;

fn read(block: &[u8]) -> Decoded {
    one(&Obis.into(), block).unwrap()
}

fn number(message: &Decoded, code: &str) -> Option<f64> {
    match message.channel(code)?.ok()? {
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        Value::Integer(integer) => Some(integer as f64),
        Value::Float(number) => Some(number),
        Value::Boolean(_) | Value::Text(_) => None,
    }
}

#[test]
fn line_has_several_data_sets() {
    let block = b"\x026.8(0017.745*GJ)6.26(00413.97*m3)9.21(66153690)\r\n\
        6.26*01(00388.61*m3)6.8*01(0016.990*GJ)\r\nF(0)9.20(66153690)6.35(60*m)\r\n!\r\n\x03\x1e";
    let message = read(block);
    assert_eq!(number(&message, "6.8"), Some(17.745));
    assert_eq!(message.channel("6.8.unit"), Some(Ok(text("GJ"))));
    assert_eq!(number(&message, "6.26"), Some(413.97));
    assert_eq!(message.channel("6.26.unit"), Some(Ok(text("m3"))));
    assert_eq!(number(&message, "9.21"), Some(66_153_690.0));
    assert_eq!(number(&message, "6.8*01"), Some(16.99));
    assert_eq!(number(&message, "6.35"), Some(60.0));
    assert!(message.losses().is_empty());
}

#[test]
fn block_needs_no_identity_and_ends_behind_any_data_set() {
    for block in [
        b"6.8(0017.745*GJ)9.21(66153690)!\r\n".as_slice(),
        b"\x026.8(0017.745*GJ)\r\n9.21(66153690)!\r\n\x03G",
        b"6.8(0017.745*GJ)\r\n9.21(66153690)",
        b"/LUGCUH50\r\n\x026.8(0017.745*GJ)9.21(66153690)!\r\n",
        b"\x00\x7f/LUGCUH50\r\n6.8(0017.745*GJ)\r\n 9.21(66153690) \r\n!\r\nnoise",
    ] {
        let message = read(block);
        assert_eq!(number(&message, "6.8"), Some(17.745), "{message:?}");
        assert_eq!(number(&message, "9.21"), Some(66_153_690.0), "{message:?}");
        assert!(message.losses().is_empty());
    }
}

#[test]
fn storage_number_255_is_none() {
    let message =
        read(b"/ESY\r\n1-0:1.8.0*255(0001.5*kWh)\r\n1-0:2.8.0(2*kWh)\r\n1-0:1.8.0*01(7)\r\n!\r\n");
    for code in ["1-0:1.8.0", "1-0:1.8.0*255"] {
        assert_eq!(number(&message, code), Some(1.5), "{code}");
        assert_eq!(message.channel(&format!("{code}.unit")), Some(Ok(text("kWh"))), "{code}");
        assert_eq!(message.written(code).as_deref(), Some("0001.5"), "{code}");
    }
    assert_eq!(number(&message, "1-0:2.8.0*255"), Some(2.0));
    assert_eq!(number(&message, "1-0:1.8.0*01"), Some(7.0));
    // A mapping of every channel gets each value once.
    let names = [
        "1-0:1.8.0*01",
        "1-0:1.8.0*255",
        "1-0:1.8.0*255.unit",
        "1-0:2.8.0",
        "1-0:2.8.0.unit",
        "meter",
    ];
    assert_eq!(message.names(), names);
}

#[test]
fn broken_line_costs_itself() {
    for (block, broken) in [
        ("/ISK\r\n1.8.0(1.5*kW\r\n2.8.0(2*kWh)\r\n!", 1),
        ("/ISK\r\nnoise\r\n2.8.0(2*kWh)\r\n)(\r\n!", 2),
        ("/ISK\r\n2.8.0(2*kWh)1.8.0(1.5*k\r\n!", 1),
        ("/ISK\r\n2.8.0(2*kWh)1.8.0(1.(5*k)\r\n!", 1),
        ("/ISK\r\n(00001.001)\r\n2.8.0(2*kWh)\r\n!", 1),
        ("/ISK\r\n9.9.9(1)\r\n/ISK\r\n2.8.0(2*kWh)\r\n!", 1),
        ("ISK\r\n2.8.0(2*kWh)\r\n!", 1),
    ] {
        let message = read(block.as_bytes());
        assert_eq!(number(&message, "2.8.0"), Some(2.0), "{block}");
        assert_eq!(message.channel("1.8.0"), None, "{block}");
        assert_eq!(message.channel("9.9.9"), None, "{block}");
        assert_eq!(message.losses().len(), broken, "{block} {:?}", message.losses());
    }
}

#[test]
fn value_has_the_unit() {
    for (line, code, value, unit, others) in [
        (
            "1.6.1(00.123*kW)(2026-05-01 12:15)",
            "1.6.1",
            0.123,
            "kW",
            ["00.123*kW", "2026-05-01 12:15"],
        ),
        ("1.6.0(200509134558S)(02.589*kW)", "1.6.0", 2.589, "kW", ["200509134558S", "02.589*kW"]),
        ("9.4(088*C&082*C)", "9.4", 88.0, "C", ["088*C", "082*C"]),
    ] {
        let message = read(format!("/LUG\r\n{line}\r\n!").as_bytes());
        assert_eq!(number(&message, code), Some(value), "{line}");
        assert_eq!(message.channel(&format!("{code}.unit")), Some(Ok(text(unit))), "{line}");
        for (index, other) in others.into_iter().enumerate() {
            assert_eq!(
                message.channel(&format!("{code}.{index}")),
                Some(Ok(text(other))),
                "{line}"
            );
        }
    }
}

#[test]
fn words_stay_as_they_stood() {
    let message = read(
        b"/LGZ\r\nF.F(0000E001)\r\n0.0.0(4E30303031)\r\n96.14.0(0002)\r\nC.1.0(04E1)\r\n!\r\n",
    );
    assert_eq!(message.channel("F.F"), Some(Ok(text("0000E001"))));
    assert_eq!(message.channel("0.0.0"), Some(Ok(text("4E30303031"))));
    assert_eq!(message.channel("C.1.0"), Some(Ok(text("04E1"))));
    assert_eq!(message.channel("96.14.0"), Some(Ok(Value::Integer(2))));
    assert_eq!(message.written("96.14.0").as_deref(), Some("0002"));
}

#[test]
fn dlms_push_is_named() {
    let error = one(&Obis.into(), b"\x7e\xa0\x7b\xce\xff\x13\x12\x8b\xe6\xe7\x00").unwrap_err();
    assert!(error.to_string().contains("DLMS push frame"), "{error}");
}

proptest! {
    #[test]
    fn any_block_is_read_or_refused(block in "[(]?[-/!()*0-9.:a-c\r\n\x02\x03]{0,60}") {
        if let Ok(message) = one(&Obis.into(), block.as_bytes()) {
            for name in message.names() {
                prop_assert!(message.channel(name).is_some());
            }
        }
    }
}
