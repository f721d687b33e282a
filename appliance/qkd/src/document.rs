//! The documents of ETSI GS QKD 014 V1.1.1 as they come from a KME.

use core::ops::Range;

use bartizan_model::ids::{KeyId, SaeId};
use bartizan_model::report::QkdRefusal;
use bartizan_secret::{LockError, Secret};
use base64ct::{Base64, Encoding as _};

use crate::json::{Malformed, Reader};

/// The length of every key that is asked for, in bytes.
pub(crate) const KEY_BYTES: usize = 32;
/// The same in bits, as 014 counts.
pub(crate) const KEY_BITS: u64 = 256;
/// The longest text that is decoded: it fills a slot.
const ENCODED_MAX: usize = bartizan_secret::SECRET_MAX.div_ceil(3).saturating_mul(4);

/// Reads a key container (014, 6.3) that must hold exactly one key; for `dec_keys` the one `asked`
/// for. The document is rewritten in place and worth nothing afterwards.
///
/// # Errors
///
/// Why the KME's answer is refused.
pub fn read_key(document: &mut [u8], asked: Option<&KeyId>) -> Result<(KeyId, Secret), QkdRefusal> {
    let mut reader = Reader::new(document);
    let places = key_places(&mut reader).map_err(|_| QkdRefusal::BadReply)?;
    let id = str::from_utf8(reader.text(&places.id))
        .ok()
        .and_then(|id| KeyId::try_from(id).ok())
        .ok_or(QkdRefusal::BadReply)?;
    if asked.is_some_and(|asked| *asked != id) {
        return Err(QkdRefusal::WrongKeyId);
    }
    let secret = decode_key(reader.text(&places.key))?;
    Ok((id, secret))
}

/// Checks a status (014, 6.1): the KME must serve keys of our length between `us` and `peer`.
///
/// # Errors
///
/// Why the KME cannot serve us.
pub fn check_status(document: &mut [u8], us: &SaeId, peer: &SaeId) -> Result<(), QkdRefusal> {
    let mut reader = Reader::new(document);
    let status = status(&mut reader).map_err(|_| QkdRefusal::BadReply)?;
    let text = |range: &Option<Range<usize>>| range.as_ref().map(|range| reader.text(range));
    if text(&status.master) != Some(us.as_str().as_bytes())
        || text(&status.slave) != Some(peer.as_str().as_bytes())
    {
        return Err(QkdRefusal::BadReply);
    }
    match (status.least, status.most) {
        (Some(least), Some(most)) if (least..=most).contains(&KEY_BITS) => Ok(()),
        (Some(_), Some(_)) => Err(QkdRefusal::WrongLength),
        _ => Err(QkdRefusal::BadReply),
    }
}

/// Where the two texts of a key stand.
struct KeyPlaces {
    id: Range<usize>,
    key: Range<usize>,
}

fn key_places(reader: &mut Reader<'_>) -> Result<KeyPlaces, Malformed> {
    let mut places = None;
    reader.object(|reader, name| match reader.text(&name) {
        b"keys" => {
            let mut only = None;
            reader.array(|reader| once(&mut only, key_place(reader)?))?;
            once(&mut places, only.ok_or(Malformed)?)
        }
        _ => reader.skip(),
    })?;
    reader.end()?;
    places.ok_or(Malformed)
}

fn key_place(reader: &mut Reader<'_>) -> Result<KeyPlaces, Malformed> {
    let (mut id, mut key) = (None, None);
    reader.object(|reader, name| match reader.text(&name) {
        b"key_ID" => once(&mut id, reader.string()?),
        b"key" => once(&mut key, reader.string()?),
        _ => reader.skip(),
    })?;
    Ok(KeyPlaces {
        id: id.ok_or(Malformed)?,
        key: key.ok_or(Malformed)?,
    })
}

#[derive(Default)]
struct Status {
    master: Option<Range<usize>>,
    slave: Option<Range<usize>>,
    least: Option<u64>,
    most: Option<u64>,
}

fn status(reader: &mut Reader<'_>) -> Result<Status, Malformed> {
    let mut status = Status::default();
    reader.object(|reader, name| match reader.text(&name) {
        b"master_SAE_ID" => once(&mut status.master, reader.string()?),
        b"slave_SAE_ID" => once(&mut status.slave, reader.string()?),
        b"min_key_size" => once(&mut status.least, reader.whole_number()?),
        b"max_key_size" => once(&mut status.most, reader.whole_number()?),
        _ => reader.skip(),
    })?;
    reader.end()?;
    Ok(status)
}

/// Refuses a member that comes twice: which one counts would be a guess.
fn once<T>(place: &mut Option<T>, value: T) -> Result<(), Malformed> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Malformed),
    }
}

/// Decodes base64 (RFC 4648, 4) from the buffer straight into a slot.
fn decode_key(text: &[u8]) -> Result<Secret, QkdRefusal> {
    if text.len() > ENCODED_MAX {
        return Err(QkdRefusal::WrongLength);
    }
    // The slot is filled as far as the text goes, and only a whole one becomes a secret.
    let secret = Secret::try_from_fn(KEY_BYTES, |slot| {
        let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
        let bytes = text.len().div_euclid(4).saturating_mul(3);
        if !text.len().is_multiple_of(4) {
            return Err(Refused(QkdRefusal::BadReply));
        }
        if bytes.saturating_sub(padding) != slot.len() {
            return Err(Refused(QkdRefusal::WrongLength));
        }
        Base64::decode(text, slot).map_err(|_| Refused(QkdRefusal::BadReply))?;
        Ok(())
    })
    .map_err(|Refused(reason)| reason)?;
    // Not in constant time: what leaks is that a key is refused.
    if secret.expose().iter().all(|byte| *byte == 0) {
        return Err(QkdRefusal::ZeroKey);
    }
    Ok(secret)
}

struct Refused(QkdRefusal);

impl From<LockError> for Refused {
    fn from(_: LockError) -> Self {
        Self(QkdRefusal::LockedMemory)
    }
}

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "an overflow fails the test, as it should"
)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(document: &str, asked: Option<&str>) -> Result<(KeyId, Secret), QkdRefusal> {
        let asked = asked.map(|id| KeyId::try_from(id).unwrap());
        read_key(&mut document.as_bytes().to_vec(), asked.as_ref())
    }

    fn container(id: &str, key: &[u8]) -> String {
        let key = Base64::encode_string(key);
        format!(r#"{{"keys":[{{"key_ID":"{id}","key":"{key}"}}]}}"#)
    }

    fn refusal(document: &str) -> QkdRefusal {
        read(document, None).unwrap_err()
    }

    #[test]
    fn a_key_comes_out_as_it_was_put_in() {
        let key: Vec<u8> = (200..232).collect();
        for document in [
            container("id-1", &key),
            container("id-1", &key)
                .replace('/', "\\/")
                .replace('+', "\\u002b"),
            container("id-1", &key).replace('{', "{ \"key_extension\" : {\"a\":[1,null]} ,"),
        ] {
            let (id, secret) = read(&document, Some("id-1")).unwrap();
            assert_eq!(
                (id.as_str(), secret.expose()),
                ("id-1", &key[..]),
                "{document}"
            );
        }
    }

    #[test]
    fn what_a_kme_gets_wrong_has_its_name() {
        let key = [7; 32];
        let good = container("id-1", &key);
        assert_eq!(
            read(&good, Some("id-2")).unwrap_err(),
            QkdRefusal::WrongKeyId
        );
        assert_eq!(refusal(&container("id-1", &[0; 32])), QkdRefusal::ZeroKey);
        for length in [0, 1, 16, 31, 33, 34, 35, 48, 64, 100] {
            let document = container("id-1", &vec![7; length]);
            assert_eq!(refusal(&document), QkdRefusal::WrongLength, "{length}");
        }
        let one = good
            .trim_start_matches(r#"{"keys":["#)
            .trim_end_matches("]}");
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"keys":[]}"#,
            r#"{"keys":{}}"#,
            r#"{"keys":[{}]}"#,
            r#"{"keys":[{"key_ID":"a"}]}"#,
            r#"{"keys":[{"key_ID":"","key":""}]}"#,
            &format!(r#"{{"keys":[{one},{one}]}}"#),
            &format!(r#"{{"keys":[{one}],"keys":[{one}]}}"#),
            &format!("{good}x"),
            &good.replace("id-1", "id 1"),
            &good.replace("id-1", &"i".repeat(65)),
            &good.replace("\"key_ID\"", "\"key_ID\":\"x\",\"key_ID\""),
            &good.replace('=', ""),
            &good.replace("=\"", "==\""),
            &good.replace("BwcH", "Bw-H"),
        ] {
            assert!(
                matches!(refusal(bad), QkdRefusal::BadReply | QkdRefusal::WrongLength),
                "{bad}"
            );
        }
        assert_eq!(refusal(&good.replace("BwcH", "Bw-H")), QkdRefusal::BadReply);
    }

    #[test]
    fn a_status_must_name_us_and_take_our_length() {
        let check = |document: &str| {
            check_status(
                &mut document.as_bytes().to_vec(),
                &SaeId::try_from("sae-a").unwrap(),
                &SaeId::try_from("sae-b").unwrap(),
            )
        };
        let good = r#"{"source_KME_ID":"k","master_SAE_ID":"sae-a","slave_SAE_ID":"sae-b",
            "key_size":352,"min_key_size":64,"max_key_size":1024,"status_extension":{}}"#;
        assert_eq!(check(good), Ok(()));
        for (from, to, refusal) in [
            ("1024", "255", QkdRefusal::WrongLength),
            ("64", "257", QkdRefusal::WrongLength),
            ("64", "\"64\"", QkdRefusal::BadReply),
            ("max_key_size", "max", QkdRefusal::BadReply),
            ("\"sae-a\"", "\"sae-c\"", QkdRefusal::BadReply),
            ("\"sae-b\"", "\"sae-c\"", QkdRefusal::BadReply),
            ("}}", "}", QkdRefusal::BadReply),
        ] {
            assert_eq!(check(&good.replace(from, to)), Err(refusal), "{from}");
        }
    }

    proptest! {
        #[test]
        fn no_document_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let us = SaeId::try_from("a").unwrap();
            prop_assert!(read_key(&mut bytes.clone(), None).is_err());
            prop_assert!(check_status(&mut bytes.clone(), &us, &us).is_err());
        }

        #[test]
        fn a_changed_byte_leaves_a_whole_key_of_the_asked_name_or_none(at in 0_usize..90, byte: u8) {
            let key = [0x5a; 32];
            let good = container("id-1", &key);
            let mut bytes = good.clone().into_bytes();
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok((id, secret)) = read_key(&mut bytes, Some(&KeyId::try_from("id-1").unwrap())) {
                prop_assert_eq!(id.as_str(), "id-1");
                prop_assert_eq!(secret.len(), KEY_BYTES);
            }
        }
    }
}
