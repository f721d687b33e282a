use proptest::prelude::*;

use super::binary::Kind;
use super::*;

const ID: StreamId = StreamId([
    0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 1, 2, 3, 4, 5, 6, 7, 8,
]);
const QOS: Qos = Qos {
    chunk: 32,
    max_bps: 1000,
    min_bps: 10,
    jitter: 1,
    priority: 2,
    timeout: 3000,
    ttl: 600,
};

fn open(stream: StreamId) -> Call {
    Call::Open {
        source: r#"qkd://sae"a@kme-a"#.into(),
        destination: "qkd://sae-b@kme-b".into(),
        qos: QOS,
        stream,
    }
}

fn get(index: u32) -> Call {
    Call::Get {
        place: Place { stream: ID, index },
        metadata: 256,
    }
}

fn framed(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let length = u32::try_from(body.len()).unwrap();
    [&[1, 0, 1, kind][..], &length.to_be_bytes(), &body].concat()
}

fn qos_bytes() -> Vec<u8> {
    let mut bytes: Vec<u8> = [32_u32, 1000, 10, 1, 2, 3000, 600]
        .into_iter()
        .flat_map(u32::to_be_bytes)
        .collect();
    bytes.resize(284, 0);
    bytes
}

fn chunk(index: u32, key: &[u8]) -> Vec<u8> {
    let length = u32::try_from(key.len()).unwrap().to_be_bytes();
    let metadata = br#"{"age":1,"hops":0}"#;
    let size = u32::try_from(metadata.len()).unwrap().to_be_bytes();
    framed(
        5,
        &[&[0; 4], &index.to_be_bytes(), &length, key, &size, metadata],
    )
}

fn read_json(text: &str, asked: Kind) -> Result<Option<Said>, QkdRefusal> {
    json::read(&mut text.as_bytes().to_vec(), asked)
}

#[test]
fn a_name_has_one_form() {
    let place = Place {
        stream: ID,
        index: u32::MAX,
    };
    let name = place.name().unwrap();
    assert_eq!(
        name.as_str(),
        "01234567-89ab-cdef-0102-030405060708/4294967295"
    );
    assert_eq!(Place::of(&name), Some(place));
    for other in [
        "01234567-89AB-cdef-0102-030405060708/1",
        "0123456789abcdef0102030405060708/1",
        "01234567-89ab-cdef-0102-030405060708/01",
        "01234567-89ab-cdef-0102-030405060708/-1",
        "01234567-89ab-cdef-0102-030405060708/4294967296",
        "01234567-89ab-cdef-0102-030405060708",
        "01234567-89ab-cdef-0102-03040506070/1",
    ] {
        assert_eq!(Place::of(&KeyId::try_from(other).unwrap()), None, "{other}");
    }
}

#[test]
fn requests_have_the_two_forms() {
    let bytes = binary::request(&open(StreamId::NEW));
    assert_eq!(bytes[..4], [1, 0, 1, 2]);
    let uris = br#"qkd://sae"a@kme-a"#.len() + "qkd://sae-b@kme-b".len() + 2;
    assert_eq!(bytes.len(), 8 + uris + 284 + 16);
    assert_eq!(bytes[bytes.len() - 16..], [0; 16]);
    assert_eq!(
        binary::request(&get(7)),
        framed(4, &[&ID.0, &[0, 0, 0, 7], &[0, 0, 1, 0]])
    );
    assert_eq!(
        binary::request(&Call::Close { stream: ID }),
        framed(8, &[&ID.0])
    );

    let value = |call: &Call| -> serde_json::Value {
        serde_json::from_slice(&json::request(call)).unwrap()
    };
    let opens = value(&open(ID));
    assert_eq!(opens["command"], "OPEN_CONNECT");
    assert_eq!(opens["data"]["source"], r#"qkd://sae"a@kme-a"#);
    assert_eq!(opens["data"]["qos"]["ttl"], 600);
    assert_eq!(opens["data"]["key_stream_id"], ID.to_string());
    let joins = value(&open(StreamId::NEW));
    assert!(joins["data"].get("key_stream_id").is_none());
    assert_eq!(value(&get(7))["data"]["index"], 7);
    assert_eq!(value(&Call::Close { stream: ID })["command"], "CLOSE");
}

#[test]
fn a_chunk_comes_out_of_both_forms_as_it_was_put_in() {
    let key: Vec<u8> = (200..232).collect();
    let bytes = chunk(7, &key);
    for end in 0..bytes.len() {
        assert!(matches!(
            binary::read(&bytes[..end], Kind::Get(7)),
            Ok(None)
        ));
    }
    let Ok(Some(Said::Key(secret, age))) = binary::read(&bytes, Kind::Get(7)) else {
        panic!("no key")
    };
    assert_eq!(
        (secret.expose(), age),
        (&key[..], Some(Duration::from_millis(1)))
    );

    let text = format!(
        r#" {{"status":0,"index":7,"key_buffer":{key:?},"metadata":{{"size":18,"buffer":"{{\"age\":1}}"}}}}"#
    );
    for end in 0..text.len() {
        assert!(matches!(read_json(&text[..end], Kind::Get(7)), Ok(None)));
    }
    let Ok(Some(Said::Key(secret, age))) = read_json(&text, Kind::Get(7)) else {
        panic!("no key")
    };
    assert_eq!(
        (secret.expose(), age),
        (&key[..], Some(Duration::from_millis(1)))
    );
    let other = text.replace(r#""index":7,"#, "");
    assert!(matches!(
        read_json(&other, Kind::Get(7)),
        Ok(Some(Said::Key(..)))
    ));
}

#[test]
fn what_a_kme_gets_wrong_has_its_name() {
    let refusal = |bytes: &[u8]| binary::read(bytes, Kind::Get(7)).unwrap_err();
    assert_eq!(refusal(&chunk(8, &[7; 32])), QkdRefusal::WrongKeyId);
    assert_eq!(refusal(&chunk(7, &[0; 32])), QkdRefusal::ZeroKey);
    for length in [0, 16, 31, 33, 64, 1000] {
        let bytes = chunk(7, &vec![7; length]);
        assert_eq!(refusal(&bytes), QkdRefusal::WrongLength, "{length}");
        let text = format!(r#"{{"status":0,"key_buffer":{:?}}}"#, vec![7; length]);
        assert_eq!(
            read_json(&text, Kind::Get(7)).unwrap_err(),
            QkdRefusal::WrongLength,
            "{length}"
        );
    }
    let good = chunk(7, &[7; 32]);
    let mut longer = good.clone();
    longer.push(0);
    let mut version = good.clone();
    version[1] = 9;
    let mut kind = good.clone();
    kind[3] = 3;
    for bad in [
        longer,
        version,
        kind,
        framed(5, &[&[0; 4]]),
        framed(5, &[&[0, 0, 0, 9]]),
        framed(5, &[&[0, 0, 0, 2], b"x"]),
        framed(5, &[&[0, 0, 0, 7]]),
        vec![1, 0, 1, 5, 0xff, 0xff, 0xff, 0xff],
    ] {
        assert_eq!(refusal(&bad), QkdRefusal::BadReply, "{bad:?}");
    }
    let key = vec![7; 32];
    for bad in [
        "}",
        "x",
        "[]",
        "{}",
        r#"{"status":"0"}"#,
        r#"{"status":9}"#,
        r#"{"status":0}"#,
        r#"{"status":7}"#,
        r#"{"status":0,"status":0}"#,
        r#"{"status":0,"key_buffer":[256]}"#,
        r#"{"status":0,"key_buffer":"BwcH"}"#,
        r#"{"status":8,"metadata":{"size":99999999999}}"#,
        &format!(r#"{{"status":0,"index":7,"index":7,"key_buffer":{key:?}}}"#),
        &format!(r#"{{"status":0,"key_buffer":{key:?}}}x"#),
    ] {
        assert_eq!(
            read_json(bad, Kind::Get(7)).unwrap_err(),
            QkdRefusal::BadReply,
            "{bad}"
        );
    }
}

#[test]
fn every_status_has_its_meaning_in_both_forms() {
    for (number, kind, refused) in [
        (1_u32, Kind::Open, Status::NoPeer),
        (3, Kind::Get(0), Status::NoPeer),
        (2, Kind::Get(0), Status::NoKey),
        (4, Kind::Get(0), Status::NoConnection),
        (4, Kind::Close, Status::NoConnection),
        (5, Kind::Open, Status::Taken),
        (6, Kind::Open, Status::Timeout),
    ] {
        let answer = match kind {
            Kind::Open => 3,
            Kind::Get(_) => 5,
            Kind::Close => 9,
        };
        let bytes = framed(answer, &[&number.to_be_bytes()]);
        for said in [
            binary::read(&bytes, kind),
            read_json(&format!(r#"{{"status":{number}}}"#), kind),
        ] {
            assert!(
                matches!(said, Ok(Some(Said::Refused(status))) if status == refused),
                "{number} {kind:?}"
            );
        }
    }
    let opened = framed(3, &[&[0; 4], &qos_bytes(), &ID.0]);
    let waiting = framed(3, &[&[0, 0, 0, 1], &qos_bytes(), &ID.0]);
    for (bytes, joined) in [(opened, true), (waiting, false)] {
        assert!(matches!(
            binary::read(&bytes, Kind::Open),
            Ok(Some(Said::Opened { stream: ID, qos: Some(QOS), peer })) if peer == joined
        ));
    }
    let offered = framed(3, &[&[0, 0, 0, 7], &qos_bytes(), &[0; 16]]);
    assert!(matches!(
        binary::read(&offered, Kind::Open),
        Ok(Some(Said::Offered(QOS)))
    ));
    let nameless = framed(3, &[&[0; 4], &qos_bytes(), &[0; 16]]);
    assert!(binary::read(&nameless, Kind::Open).is_err());
    let needs = framed(5, &[&[0, 0, 0, 8], &[0, 0, 2, 0]]);
    assert!(matches!(
        binary::read(&needs, Kind::Get(0)),
        Ok(Some(Said::Metadata(512)))
    ));
    assert!(matches!(
        read_json(
            &format!(r#"{{"status":0,"key_stream_id":"{ID}"}}"#),
            Kind::Open
        ),
        Ok(Some(Said::Opened {
            stream: ID,
            qos: None,
            peer: true
        }))
    ));
    assert!(matches!(
        binary::read(&framed(9, &[&[0; 4]]), Kind::Close),
        Ok(Some(Said::Closed))
    ));
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Open),
        any::<u32>().prop_map(Kind::Get),
        Just(Kind::Close)
    ]
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_give_a_key(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in kinds()) {
        prop_assert!(!matches!(binary::read(&bytes, kind), Ok(Some(Said::Key(..)))));
        prop_assert!(!matches!(json::read(&mut bytes.clone(), kind), Ok(Some(Said::Key(..)))));
    }

    #[test]
    fn a_changed_byte_gives_a_key_of_the_asked_index_or_none(at in 0_usize..90, byte: u8) {
        let mut bytes = chunk(7, &[0x5a; 32]);
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(Some(Said::Key(secret, _))) = binary::read(&bytes, Kind::Get(7)) {
            prop_assert_eq!(secret.len(), KEY_BYTES);
            prop_assert_eq!(&bytes[12..16], &[0, 0, 0, 7]);
        }
    }
}
