//! What is asked of a KME, as HTTP requests (RFC 9112).

use core::fmt::Write as _;

use bartizan_model::ids::{KeyId, SaeId};

use crate::document::KEY_BITS;

/// One of the three requests of ETSI GS QKD 014.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Call {
    /// 014, 5.1.
    Status { peer: SaeId },
    /// 014, 5.2.
    EncKeys { peer: SaeId },
    /// 014, 5.3.
    DecKeys { peer: SaeId, key: KeyId },
}

impl Call {
    /// The bytes of the request; `host` as in the `Host` header.
    pub(crate) fn request(&self, host: &str) -> Vec<u8> {
        let (method, peer, name, body) = match self {
            Self::Status { peer } => ("GET", peer, "status", None),
            Self::EncKeys { peer } => {
                let body = format!(r#"{{"number":1,"size":{KEY_BITS}}}"#);
                ("POST", peer, "enc_keys", Some(body))
            }
            Self::DecKeys { peer, key } => {
                let key = key.as_str().replace('\\', r"\\").replace('"', "\\\"");
                let body = format!(r#"{{"key_IDs":[{{"key_ID":"{key}"}}]}}"#);
                ("POST", peer, "dec_keys", Some(body))
            }
        };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_as_the_standard_has_them() {
        let peer = SaeId::try_from("sae-b").unwrap();
        let text = |call: Call| String::from_utf8(call.request("kme-a:8443")).unwrap();
        assert_eq!(
            text(Call::Status { peer: peer.clone() }),
            "GET /api/v1/keys/sae-b/status HTTP/1.1\r\nHost: kme-a:8443\r\nAccept: application/json\r\n\r\n"
        );
        assert_eq!(
            text(Call::EncKeys { peer: peer.clone() }),
            "POST /api/v1/keys/sae-b/enc_keys HTTP/1.1\r\nHost: kme-a:8443\r\nAccept: application/json\r\n\
             Content-Type: application/json\r\nContent-Length: 23\r\n\r\n{\"number\":1,\"size\":256}"
        );
        let key = KeyId::try_from(r#"a"b\c"#).unwrap();
        let request = text(Call::DecKeys { peer, key });
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /api/v1/keys/sae-b/dec_keys HTTP/1.1\r\n"));
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())));
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(
            body,
            serde_json::json!({"key_IDs": [{"key_ID": r#"a"b\c"#}]})
        );
    }
}
