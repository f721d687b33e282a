//! What is asked of a KME, as HTTP requests (RFC 9112).
//!
//! No additional SAEs and no extensions are asked for: a key of ours has two ends, and a mandatory
//! extension is a matter between a KME and an SAE that have agreed on one.

use core::fmt::Write as _;

use bartizan_model::ids::{KeyId, SaeId};

use crate::document::KEY_BITS;

/// One of the three requests of ETSI GS QKD 014.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Call {
    /// 014, 5.1.
    Status { peer: SaeId },
    /// 014, 5.2.
    EncKeys { peer: SaeId, number: usize },
    /// 014, 5.3; of one key at least.
    DecKeys { peer: SaeId, keys: Vec<KeyId> },
}

/// How keys are asked for; 014 has both, and not every KME.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Method {
    Post,
    /// By parameters: of `dec_keys` for one key at a time.
    Get,
}

impl Method {
    /// What is left to try.
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Post => Self::Get,
            Self::Get => Self::Post,
        }
    }
}

impl Call {
    /// The bytes of the request; `host` as in the `Host` header.
    pub(crate) fn request(&self, host: &str, method: Method) -> Vec<u8> {
        let (peer, name, body) = match self {
            Self::Status { peer } => (peer, "status".to_owned(), None),
            Self::EncKeys { peer, number } => match method {
                Method::Get => {
                    let name = format!("enc_keys?number={number}&size={KEY_BITS}");
                    (peer, name, None)
                }
                Method::Post => {
                    let body = format!(r#"{{"number":{number},"size":{KEY_BITS}}}"#);
                    (peer, "enc_keys".to_owned(), Some(body))
                }
            },
            Self::DecKeys { peer, keys } => match (method, keys.as_slice()) {
                (Method::Get, [key]) => (peer, format!("dec_keys?key_ID={}", encoded(key)), None),
                (_, keys) => {
                    let ids: Vec<String> = keys.iter().map(quoted).collect();
                    let body = format!(r#"{{"key_IDs":[{}]}}"#, ids.join(","));
                    (peer, "dec_keys".to_owned(), Some(body))
                }
            },
        };
        let method = if body.is_some() { "POST" } else { "GET" };
        let mut request = format!(
            "{method} /api/v1/keys/{peer}/{name} HTTP/1.1\r\nHost: {host}\r\n\
             Accept: application/json\r\n"
        );
        match body {
            None => request.push_str("\r\n"),
            Some(body) => {
                // Writing to a String cannot fail.
                let _ = write!(
                    request,
                    "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
            }
        }
        request.into_bytes()
    }
}

fn quoted(key: &KeyId) -> String {
    let key = key.as_str().replace('\\', r"\\").replace('"', "\\\"");
    format!(r#"{{"key_ID":"{key}"}}"#)
}

/// As a part of a URL (RFC 3986, 2.1).
fn encoded(key: &KeyId) -> String {
    let mut text = String::new();
    for byte in key.as_str().bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(call: &Call, method: Method) -> String {
        String::from_utf8(call.request("kme-a:8443", method)).unwrap()
    }

    fn peer() -> SaeId {
        SaeId::try_from("sae-b").unwrap()
    }

    #[test]
    fn requests_are_as_the_standard_has_them() {
        let peer = peer();
        assert_eq!(
            text(&Call::Status { peer: peer.clone() }, Method::Post),
            "GET /api/v1/keys/sae-b/status HTTP/1.1\r\nHost: kme-a:8443\r\nAccept: application/json\r\n\r\n"
        );
        let enc = Call::EncKeys {
            peer: peer.clone(),
            number: 3,
        };
        assert_eq!(
            text(&enc, Method::Post),
            "POST /api/v1/keys/sae-b/enc_keys HTTP/1.1\r\nHost: kme-a:8443\r\nAccept: application/json\r\n\
             Content-Type: application/json\r\nContent-Length: 23\r\n\r\n{\"number\":3,\"size\":256}"
        );
        let keys = [r#"a"b\c"#, "two"].map(|id| KeyId::try_from(id).unwrap());
        let dec = Call::DecKeys {
            peer,
            keys: keys.to_vec(),
        };
        let request = text(&dec, Method::Post);
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /api/v1/keys/sae-b/dec_keys HTTP/1.1\r\n"));
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())));
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(
            body,
            serde_json::json!({"key_IDs": [{"key_ID": r#"a"b\c"#}, {"key_ID": "two"}]})
        );
    }

    #[test]
    fn a_kme_that_takes_no_post_is_asked_by_parameters() {
        let enc = Call::EncKeys {
            peer: peer(),
            number: 2,
        };
        let line = "GET /api/v1/keys/sae-b/enc_keys?number=2&size=256 HTTP/1.1\r\n";
        assert!(text(&enc, Method::Get).starts_with(line));
        let dec = Call::DecKeys {
            peer: peer(),
            keys: vec![KeyId::try_from("a&b=c/d").unwrap()],
        };
        let line = "GET /api/v1/keys/sae-b/dec_keys?key_ID=a%26b%3Dc%2Fd HTTP/1.1\r\n";
        assert!(text(&dec, Method::Get).starts_with(line));
    }
}
