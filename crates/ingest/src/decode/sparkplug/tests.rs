//! Tests with messages that pysparkplug 0.6.1 encoded.

use proptest::prelude::*;

use super::*;

/// The birth of a device, with a metric of each type and the aliases 1 to 14.
const BIRTH: &str = "\
    0880d095ffbc3112120a02693810011880d095ffbc31200150fb0112140a0369313610021880d095ffbc312002\
    50d4fd0312160a0369333210031880d095ffbc3120035090ddfbff0f121b0a0369363410041880d095ffbc3120\
    0458809ce8afedffffffff0112120a02753810051880d095ffbc31200550fa01121b0a0375363410061880d095\
    ffbc312008588180808080808080800112130a016610071880d095ffbc312009653333ab4112170a0164100818\
    80d095ffbc31200a699a9999999999b9bf12110a026f6e10091880d095ffbc31200b700112160a0173100a1880\
    d095ffbc31200c7a0670756d70203112160a026174100b1880d095ffbc31200d5880d095ffbc3112180a046c69\
    7374100c1880d095ffbc3120178201040100020012130a046e6f6e65100d1880d095ffbc312003380112240a15\
    44657669636520436f6e74726f6c2f5265626f6f74100e1880d095ffbc31200b70001801";

/// Aliases 1 and 3 at one second, alias 1 and a name at the next; without types.
const DATA: &str = "\
    08d0df95ffbc31120c100118e8d795ffbc3150f901120f100318e8d795ffbc3150ffffffff0f120c100118d0df\
    95ffbc3150f80112100a0369313618d0df95ffbc3150feff031802";

/// Alias 99.
const ALIAS: &str = "08d0df95ffbc31120e10631880d095ffbc31650000c03f1802";

/// A float with a name and without a type.
const NAMED: &str = "08d0df95ffbc31120f0a01661880d095ffbc31650000c03f1802";

/// An integer with a name and without a type.
const INTEGER: &str = "08d0df95ffbc31120e0a0269381880d095ffbc3150ff011802";

/// The rebirth request of 22:13:20 UTC on 14 November 2023.
const NCMD: &str =
    "0880d095ffbc3112210a144e6f646520436f6e74726f6c2f526562697274681880d095ffbc31200b7001";

const PUMP_BIRTH: &str = "spBv1.0/plant/DBIRTH/edge/pump";
const PUMP: &str = "spBv1.0/plant/DDATA/edge/pump";

#[test]
fn birth_declares_metrics_with_types() {
    let messages = decode(PUMP_BIRTH, &bytes(BIRTH), &mut Births::default()).unwrap();
    let [message] = messages.as_slice() else { panic!("{messages:?}") };
    for (name, value) in [
        ("i8", Value::Integer(-5)),
        ("i16", Value::Integer(-300)),
        ("i32", Value::Integer(-70_000)),
        ("i64", Value::Integer(-5_000_000_000)),
        ("u8", Value::Integer(250)),
        ("u64", Value::Float(9_223_372_036_854_775_809.0)),
        ("f", Value::Float(21.4)),
        ("d", Value::Float(-0.1)),
        ("on", Value::Boolean(true)),
        ("s", Value::Text("pump 1".to_owned())),
        ("at", Value::Integer(1_700_000_000_000)),
        ("timestamp", Value::Integer(1_700_000_000_000)),
    ] {
        assert_eq!(message.channel(name), Some(Ok(value)), "{name}");
    }
    assert_eq!(message.channel("list"), Some(Err(ValueError::NotScalar)));
    for absent in ["none", "Device Control/Reboot"] {
        assert_eq!(message.channel(absent), None, "{absent}");
    }
}

#[test]
fn births_resolve_aliases_and_types() {
    let mut births = Births::default();
    decode(PUMP_BIRTH, &bytes(BIRTH), &mut births).unwrap();
    let messages = decode(PUMP, &bytes(DATA), &mut births).unwrap();
    let shown: Vec<_> = messages.iter().map(|one| serde_json::to_string(one).unwrap()).collect();
    assert_eq!(
        shown,
        [
            r#"{"i32":-1,"i8":-7,"timestamp":1700000001000}"#,
            r#"{"i16":-2,"i8":-8,"timestamp":1700000002000}"#
        ]
    );
}

#[test]
fn rejects_unknown_aliases_and_types() {
    let error = |payload, births: &mut Births| {
        decode(PUMP, &bytes(payload), births).map_err(|error| error.to_string())
    };
    let mut births = Births::default();
    let expected = "no birth certificate of plant/edge pump explains alias 99; restart the node, \
                    or set rebirth = true";
    assert_eq!(error(ALIAS, &mut births), Err(expected.to_owned()));
    assert!(error(INTEGER, &mut births).unwrap_err().contains("explains metric i8"));
    // A float is clear without a type.
    assert_eq!(error(NAMED, &mut births).map(|messages| messages.len()), Ok(1));
    decode(PUMP_BIRTH, &bytes(BIRTH), &mut births).unwrap();
    assert!(error(INTEGER, &mut births).is_ok());
    assert!(error(ALIAS, &mut births).is_err());
    // The birth of a node removes the aliases of its devices.
    decode("spBv1.0/plant/NBIRTH/edge", &[], &mut births).unwrap();
    assert!(error(DATA, &mut births).is_err());
}

#[test]
fn ignores_other_messages_and_rejects_other_topics() {
    for topic in ["NDEATH/edge", "DDEATH/edge/pump", "NCMD/edge", "DCMD/edge/pump"] {
        let topic = format!("spBv1.0/plant/{topic}");
        assert_eq!(decode(&topic, b"?", &mut Births::default()), Ok(Vec::new()), "{topic}");
    }
    assert_eq!(decode("spBv1.0/STATE/host", b"{}", &mut Births::default()), Ok(Vec::new()));
    for topic in ["", "plant/edge", "spBv1.0", "spBv1.0/plant/DDATA/edge/pump/more"] {
        assert!(decode(topic, &bytes(NAMED), &mut Births::default()).is_err(), "{topic}");
    }
}

#[test]
fn limits_the_memory_of_births() {
    let birth = |names: usize| {
        let mut birth = Birth::default();
        for name in 0..names {
            birth.declare(&format!("{name:0>100}"), Some(1), None);
        }
        birth
    };
    let source = |node| Source { group: "plant", node, device: "" };
    let mut births = Births::default();
    let error = births.insert(source("large"), birth(20_000)).unwrap_err().to_string();
    assert_eq!(
        error,
        "the birth certificates of plant/large need more than 2097152 bytes; split the node, or \
         shorten its names"
    );
    let nodes: Vec<_> = (0..20).map(|node| node.to_string()).collect();
    for node in nodes.iter().chain(&nodes) {
        births.insert(source(node), birth(10_000)).unwrap();
    }
    let metric = Metric { alias: Some(1), ..Metric::default() };
    assert!(births.identify(source("19"), &metric).is_ok());
    assert!(births.identify(source("0"), &metric).is_err(), "the oldest node is removed");
}

#[test]
fn encodes_the_rebirth_request_of_pysparkplug() {
    let request = rebirth_request(PUMP, WallTime::from_millis(1_700_000_000_000));
    let payload = bytes(NCMD).into();
    let topic = "spBv1.0/plant/NCMD/edge".to_owned();
    assert_eq!(request, Some(Write::Mqtt { topic, payload, qos: 0, retain: false, reply: None }));
}

proptest! {
    #[test]
    fn decoding_never_panics_on_sparkplug(payload: Vec<u8>, place: prop::sample::Index, byte: u8) {
        let mut births = Births::default();
        decode(PUMP_BIRTH, &payload, &mut births).ok();
        let mut damaged = bytes(BIRTH);
        *place.get_mut(&mut damaged) = byte;
        decode(PUMP_BIRTH, &damaged, &mut births).ok();
        decode(PUMP, &payload, &mut births).ok();
        decode(PUMP, &bytes(DATA), &mut births).ok();
    }
}

fn bytes(digits: &str) -> Vec<u8> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.as_bytes().chunks(2).map(pair).collect()
}
