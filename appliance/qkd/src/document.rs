//! The documents of ETSI GS QKD 014 V1.1.1 as they come from a KME.

use core::ops::Range;

use bartizan_model::ids::{KeyId, KmeText, SaeId};
use bartizan_model::report::QkdRefusal;
use bartizan_secret::{LockError, Secret};
use base64ct::{Base64, Encoding as _};

use crate::json::{Kind, Malformed, Reader};

/// The length of every key that is asked for, in bytes.
pub(crate) const KEY_BYTES: usize = 32;
/// The same in bits, as 014 counts.
pub(crate) const KEY_BITS: u64 = 256;
/// The most keys that are asked for at once.
pub(crate) const BATCH_MAX: usize = 16;
/// Characters of a UUID.
const UUID_LEN: usize = 36;
/// The longest text that is decoded: it fills a slot.
const ENCODED_MAX: usize = bartizan_secret::SECRET_MAX.div_ceil(3).saturating_mul(4);

/// Reads a key container (014, 6.3): each key with its name, or why that key is refused. The document
/// is rewritten in place and worth nothing afterwards.
///
/// # Errors
///
/// Why the whole answer is refused: it is no container, or has no key, or more than `most`.
pub fn read_keys(document: &mut [u8], most: usize) -> Result<Vec<Delivered>, QkdRefusal> {
    let mut reader = Reader::new(document);
    let places = key_places(&mut reader, most).map_err(|_| QkdRefusal::BadReply)?;
    let mut keys = Vec::new();
    for place in places {
        let id = str::from_utf8(reader.text(&place.id))
            .ok()
            .and_then(|id| KeyId::try_from(id).ok())
            .ok_or(QkdRefusal::BadReply)?;
        keys.push((id, decode_key(reader.text(&place.key))));
    }
    Ok(keys)
}

/// A key as the KME names it.
pub type Delivered = (KeyId, Result<Secret, QkdRefusal>);

/// What a status says beside that we are served (014, 6.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Keys that wait for this pair.
    pub stored: Option<u32>,
    /// Whether no more of them fit: keys are made, and lost.
    pub full: bool,
    /// The most keys in one request.
    pub batch: usize,
}

/// Checks a status (014, 6.1): the KME must serve keys of our length between `us` and `peer`.
///
/// # Errors
///
/// Why the KME cannot serve us.
pub fn check_status(document: &mut [u8], us: &SaeId, peer: &SaeId) -> Result<Limits, QkdRefusal> {
    let mut reader = Reader::new(document);
    let status = status(&mut reader).map_err(|_| QkdRefusal::BadReply)?;
    let text = |range: &Option<Range<usize>>| range.as_ref().map(|range| reader.text(range));
    if text(&status.master) != Some(us.as_str().as_bytes())
        || text(&status.slave) != Some(peer.as_str().as_bytes())
    {
        return Err(QkdRefusal::BadReply);
    }
    match (status.least, status.most) {
        (Some(least), Some(most)) if (least..=most).contains(&KEY_BITS) => {}
        (Some(_), Some(_)) => return Err(QkdRefusal::WrongLength),
        _ => return Err(QkdRefusal::BadReply),
    }
    let number = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    Ok(Limits {
        stored: status.stored.map(number),
        full: status.stored >= status.capacity && status.capacity.is_some(),
        batch: status
            .batch
            .and_then(|most| usize::try_from(most).ok())
            .unwrap_or(1)
            .clamp(1, BATCH_MAX),
    })
}

/// Reads an error (014, 6.5) for the operator: the message and the details. A word that is longer than
/// a UUID is left out, for it could be a key.
pub fn read_error(document: &mut [u8]) -> Option<KmeText> {
    let mut reader = Reader::new(document);
    let mut texts = Vec::new();
    let read = reader.object(|reader, name| {
        let kind = reader.kind()?;
        match (reader.text(&name), kind) {
            (b"message", Kind::String) => {
                texts.push(reader.string()?);
                Ok(())
            }
            (b"details", Kind::Array) => reader.array(|reader| detail(reader, &mut texts)),
            _ => reader.skip(),
        }
    });
    read.ok()?;
    let mut said = String::new();
    let words = texts
        .iter()
        .flat_map(|range| reader.text(range).split(|byte| !byte.is_ascii_graphic()));
    for word in words.filter(|word| !word.is_empty() && word.len() <= UUID_LEN) {
        let word = String::from_utf8_lossy(word);
        if said.len().saturating_add(word.len()) >= KmeText::MAX {
            break;
        }
        if !said.is_empty() {
            said.push(' ');
        }
        said.push_str(&word);
    }
    KmeText::try_from(said).ok()
}

/// One of the details: its names, and what they stand for.
fn detail(reader: &mut Reader<'_>, texts: &mut Vec<Range<usize>>) -> Result<(), Malformed> {
    if reader.kind()? != Kind::Object {
        return reader.skip();
    }
    reader.object(|reader, name| {
        if reader.kind()? != Kind::String {
            return reader.skip();
        }
        texts.push(name);
        texts.push(reader.string()?);
        Ok(())
    })
}

/// Where the two texts of a key stand.
struct KeyPlaces {
    id: Range<usize>,
    key: Range<usize>,
}

fn key_places(reader: &mut Reader<'_>, most: usize) -> Result<Vec<KeyPlaces>, Malformed> {
    let mut places = None;
    reader.object(|reader, name| match reader.text(&name) {
        b"keys" => {
            let mut keys = Vec::new();
            reader.array(|reader| {
                if keys.len() == most {
                    return Err(Malformed);
                }
                keys.push(key_place(reader)?);
                Ok(())
            })?;
            once(&mut places, keys)
        }
        _ => reader.skip(),
    })?;
    reader.end()?;
    places.filter(|keys| !keys.is_empty()).ok_or(Malformed)
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
    stored: Option<u64>,
    capacity: Option<u64>,
    batch: Option<u64>,
}

fn status(reader: &mut Reader<'_>) -> Result<Status, Malformed> {
    let mut status = Status::default();
    reader.object(|reader, name| match reader.text(&name) {
        b"master_SAE_ID" => once(&mut status.master, reader.string()?),
        b"slave_SAE_ID" => once(&mut status.slave, reader.string()?),
        b"min_key_size" => once(&mut status.least, reader.whole_number()?),
        b"max_key_size" => once(&mut status.most, reader.whole_number()?),
        b"stored_key_count" => once(&mut status.stored, reader.whole_number()?),
        b"max_key_count" => once(&mut status.capacity, reader.whole_number()?),
        b"max_key_per_request" => once(&mut status.batch, reader.whole_number()?),
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
        let mut keys = read_keys(&mut document.as_bytes().to_vec(), 1)?;
        let (id, key) = keys.remove(0);
        assert!(asked.is_none_or(|asked| asked == id.as_str()));
        Ok((id, key?))
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
            "key_size":352,"stored_key_count":7,"max_key_count":1000,
            "max_key_per_request":128,"min_key_size":64,"max_key_size":1024,"status_extension":{}}"#;
        let limits = Limits {
            stored: Some(7),
            full: false,
            batch: BATCH_MAX,
        };
        assert_eq!(check(good), Ok(limits));
        let silent = good
            .replace("max_key_per_request", "x")
            .replace("stored", "y");
        let limits = Limits {
            stored: None,
            full: false,
            batch: 1,
        };
        assert_eq!(check(&silent), Ok(limits));
        let full = check(&good.replace(":7", ":1000")).unwrap();
        assert!(full.full && full.stored == Some(1000));
        for (from, to, refusal) in [
            (":1024", ":255", QkdRefusal::WrongLength),
            (":64", ":257", QkdRefusal::WrongLength),
            (":64", ":\"64\"", QkdRefusal::BadReply),
            ("max_key_size", "max", QkdRefusal::BadReply),
            ("\"sae-a\"", "\"sae-c\"", QkdRefusal::BadReply),
            ("\"sae-b\"", "\"sae-c\"", QkdRefusal::BadReply),
            ("}}", "}", QkdRefusal::BadReply),
        ] {
            assert_eq!(check(&good.replace(from, to)), Err(refusal), "{from}");
        }
    }

    #[test]
    fn several_keys_come_out_each_with_its_name_and_each_is_judged_alone() {
        let key = |byte| Base64::encode_string(&[byte; 32]);
        let document = format!(
            r#"{{"key_container_extension":{{}},"keys":[{{"key_ID":"a","key":"{}"}},
                {{"key_ID":"b","key":"{}","key_extension":[]}},{{"key_ID_extension":{{}},"key_ID":"c","key":"{}"}}]}}"#,
            key(1),
            key(0),
            key(3)
        );
        let read = |most| read_keys(&mut document.as_bytes().to_vec(), most);
        let keys = read(3).unwrap();
        let names: Vec<&str> = keys.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(keys[0].1.as_ref().unwrap().expose(), [1; 32]);
        assert_eq!(keys[1].1.as_ref().unwrap_err(), &QkdRefusal::ZeroKey);
        assert_eq!(keys[2].1.as_ref().unwrap().expose(), [3; 32]);
        assert_eq!(read(2).unwrap_err(), QkdRefusal::BadReply);
    }

    #[test]
    fn what_a_kme_says_of_an_error_is_kept_without_what_could_be_a_key() {
        let read = |document: &str| {
            read_error(&mut document.as_bytes().to_vec()).map(|said| said.as_str().to_owned())
        };
        let key = Base64::encode_string(&[200; 32]);
        assert_eq!(
            read(&format!(
                r#"{{"message":"no key {key}\u000aleft","details":[{{"number":"too many","n":1}},7]}}"#
            )),
            Some("no key left number too many".to_owned())
        );
        assert_eq!(read(r#"{"message":5}"#), None);
        assert_eq!(read("{}"), None);
        assert_eq!(read("<html>"), None);
        let long = read(&format!(r#"{{"message":"{}"}}"#, "word ".repeat(100))).unwrap();
        assert!((100..=KmeText::MAX).contains(&long.len()));
    }

    proptest! {
        #[test]
        fn no_document_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let us = SaeId::try_from("a").unwrap();
            prop_assert!(read_keys(&mut bytes.clone(), 4).is_err());
            let said = read_error(&mut bytes.clone());
            prop_assert!(said.is_none_or(|said| said.as_str().is_ascii()));
            prop_assert!(check_status(&mut bytes.clone(), &us, &us).is_err());
        }

        #[test]
        fn a_changed_byte_leaves_a_whole_key_or_none(at in 0_usize..90, byte: u8) {
            let key = [0x5a; 32];
            let good = container("id-1", &key);
            let mut bytes = good.clone().into_bytes();
            let at = at % bytes.len();
            bytes[at] = byte;
            for (id, secret) in read_keys(&mut bytes, 1).unwrap_or_default() {
                prop_assert!(id.as_str().len() <= KeyId::MAX);
                prop_assert!(secret.is_err() || secret.is_ok_and(|key| key.len() == KEY_BYTES));
            }
        }
    }
}
