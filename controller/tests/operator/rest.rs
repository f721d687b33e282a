//! REST, asked as an operator's program asks.

use std::fs;
use std::sync::Arc;

use bartizan_controller::status::DeviceStatus;
use bartizan_model::config::Der;
use bartizan_model::ids::NodeId;
use bartizan_tls::{Anchors, Clock, Identity, client, server_name};
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::office::{Office, authority};

/// An office with operators.
struct Desk {
    office: Office,
    operators: CertifiedIssuer<'static, KeyPair>,
}

/// What was answered.
struct Answer {
    status: u16,
    head: String,
    body: Value,
}

impl Desk {
    fn open() -> Self {
        let operators = authority();
        let file =
            std::env::temp_dir().join(format!("operators-{}.pem", rustix::process::getpid()));
        fs::write(&file, operators.pem()).unwrap();
        let office = Office::open_with(&format!(
            "[rest]\nlisten = \"127.0.0.1:0\"\noperator-ca = \"{}\"\n",
            file.display()
        ));
        fs::remove_file(file).unwrap();
        Self { office, operators }
    }

    async fn ask(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> Answer {
        let config = self.config(&self.operators, "alice.example");
        let answered = self.ask_as(config, method, path, kind, body).await;
        answered.expect("an answer")
    }

    async fn json(&self, method: &str, path: &str, body: &Value) -> Answer {
        let body = serde_json::to_vec(body).unwrap();
        self.ask(method, path, "application/json", &body).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "", &[]).await
    }

    fn config(&self, issuer: &CertifiedIssuer<'static, KeyPair>, name: &str) -> Arc<ClientConfig> {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, issuer).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let chain = [Der(certificate.der().to_vec())];
        let identity = Identity::new(&chain, any_supported_type(&key).unwrap()).unwrap();
        let anchors =
            Anchors::new(&[Der(self.office.owner.der().to_vec())], &Clock::system()).unwrap();
        client(&identity, &anchors).unwrap()
    }

    /// `None` if the connection ends without an answer.
    async fn ask_as(
        &self,
        config: Arc<ClientConfig>,
        method: &str,
        path: &str,
        kind: &str,
        body: &[u8],
    ) -> Option<Answer> {
        let stream = TcpStream::connect(self.office.rest()).await.unwrap();
        let name = server_name(&NodeId::try_from("controller.example").unwrap()).unwrap();
        let mut stream = TlsConnector::from(config)
            .connect(name, stream)
            .await
            .ok()?;
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: controller.example\r\nconnection: close\r\n\
             content-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
        );
        // A server that has heard enough may close before all is written.
        let _refused = stream.write_all(head.as_bytes()).await;
        let _refused = stream.write_all(body).await;
        let mut bytes = Vec::new();
        let _closed = stream.read_to_end(&mut bytes).await;
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n")?;
        let lower = head.to_lowercase();
        Some(Answer {
            status: head.split(' ').nth(1)?.parse().ok()?,
            body: if lower.contains("content-type: text/plain") {
                Value::String(body.to_owned())
            } else {
                serde_json::from_str(body).unwrap()
            },
            head: lower,
        })
    }
}

#[tokio::test]
async fn an_operator_reads_metrics_and_nobody_else_does() {
    let desk = Desk::open();
    let metrics = desk.get("/metrics").await;
    assert_eq!(metrics.status, 200);
    assert!(metrics.head.contains("text/plain; version=0.0.4"));
    let text = metrics.body.as_str().unwrap();
    assert!(
        text.contains("\n# TYPE bartizan_leases_total counter\n"),
        "{text}"
    );
    let stranger = desk.config(&authority(), "alice.example");
    let refused = desk.ask_as(stranger, "GET", "/metrics", "", &[]).await;
    assert!(refused.is_none());
}

#[tokio::test]
async fn a_device_lives_its_life_by_rest() {
    let desk = Desk::open();
    let new = json!({"serial": "BZ-0001", "node": "gw-a.example", "kind": "idevid"});
    let added = desk.json("POST", "/v1/devices", &new).await;
    assert_eq!(added.status, 201, "{}", added.body);
    let again = desk.json("POST", "/v1/devices", &new).await;
    assert_eq!((again.status, &again.body["status"]), (409, &json!(409)));
    assert!(again.head.contains("application/problem+json"));

    let shown = desk.get("/v1/devices/BZ-0001").await;
    let device: DeviceStatus = serde_json::from_value(shown.body).unwrap();
    // The same record as over the local socket.
    assert_eq!(device, desk.office.shown("BZ-0001"));
    let list = desk.get("/v1/devices").await;
    assert_eq!(list.body.as_array().unwrap().len(), 1);
    let rest = desk.get("/v1/devices?after=BZ-0001").await;
    assert_eq!(rest.body, json!([]));

    let site = json!({"peer-port": 9062});
    let placed = desk.json("PUT", "/v1/devices/BZ-0001/site", &site).await;
    assert_eq!(placed.body["site"]["peer-port"], 9062);
    let asked = desk
        .ask("POST", "/v1/devices/BZ-0001/attest", "", &[])
        .await;
    assert_eq!(asked.status, 202, "{}", asked.body);
    let pins = json!({"pins": "keep"});
    let approved = desk
        .json("POST", "/v1/devices/BZ-0001/approve", &pins)
        .await;
    assert_eq!(approved.status, 409, "{}", approved.body);
    let voucher = fs::read(desk.office.folder.join(desk.office.voucher("BZ-0001", 1))).unwrap();
    let kind = "application/voucher-cms+json";
    let kept = desk.ask("POST", "/v1/vouchers", kind, &voucher).await;
    assert_eq!((kept.status, &kept.body["epoch"]), (200, &json!(1)));
    let revoked = desk
        .ask("POST", "/v1/devices/BZ-0001/revoke", "", &[])
        .await;
    assert_eq!(revoked.body["state"], "revoked");
    let voucher = fs::read(desk.office.folder.join(desk.office.voucher("BZ-0001", 2))).unwrap();
    let back = desk.ask("POST", "/v1/transfers", kind, &voucher).await;
    assert_eq!(back.body["state"], "expected");
    let released = desk
        .ask("POST", "/v1/devices/BZ-0001/release", "", &[])
        .await;
    assert_eq!(released.body["state"], "released");
    let retired = desk
        .ask("POST", "/v1/devices/BZ-0001/retire", "", &[])
        .await;
    assert_eq!(retired.body["state"], "retired");

    let audit = desk.get("/v1/audit").await;
    let acts = audit.body.as_array().unwrap();
    assert!(acts.iter().all(|act| act["actor"] == "alice.example"));
    let acts: Vec<_> = acts
        .iter()
        .map(|act| act["act"].as_str().unwrap())
        .collect();
    let expected = [
        "retire", "release", "transfer", "revoke", "voucher", "attest", "place", "add",
    ];
    assert_eq!(acts, expected);
}

/// Whoever the operators' authority did not certify is told nothing, not even that by HTTP.
#[tokio::test]
async fn nobody_but_an_operator_is_answered() {
    let desk = Desk::open();
    for config in [
        desk.config(&authority(), "alice.example"),
        desk.config(&desk.office.owner, "gw-a.example"),
    ] {
        let answer = desk.ask_as(config, "GET", "/v1/status", "", &[]).await;
        assert!(answer.is_none());
    }
    assert_eq!(desk.get("/v1/status").await.status, 200);
}

#[tokio::test]
async fn what_is_wrong_has_its_own_answer_and_changes_nothing() {
    let desk = Desk::open();
    let json_kind = "application/json";
    let long = vec![b' '; 600 * 1024];
    for (method, path, kind, body, status) in [
        ("GET", "/v1/devices/BZ-0001", "", &b""[..], 404),
        ("GET", "/v2/devices", "", b"", 404),
        ("DELETE", "/v1/devices/BZ-0001", "", b"", 405),
        ("GET", "/v1/devices?before=x", "", b"", 400),
        ("POST", "/v1/devices", "text/plain", b"{}", 415),
        ("POST", "/v1/devices", json_kind, b"{}", 422),
        ("POST", "/v1/devices", json_kind, b"{\"serial\":", 422),
        (
            "POST",
            "/v1/devices",
            json_kind,
            br#"{"serial":"x","node":"x","kind":"ek","state":"enrolled"}"#,
            422,
        ),
        ("POST", "/v1/devices", json_kind, &long, 413),
        (
            "POST",
            "/v1/vouchers",
            "application/voucher-cms+json",
            b"no",
            422,
        ),
        ("POST", "/v1/devices/BZ-0001/revoke", "", b"", 404),
    ] {
        let answer = desk.ask(method, path, kind, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        assert_eq!(answer.body["status"], status);
        assert_eq!(status == 405, answer.head.contains("\r\nallow: get"));
    }
    assert_eq!(desk.get("/v1/devices").await.body, json!([]));
}

#[tokio::test]
async fn an_operator_who_asks_too_often_waits() {
    let desk = Desk::open();
    let mut refused = None;
    for _question in 0..1000 {
        let answer = desk.get("/v1/status").await;
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("a refusal");
    assert_eq!(refused.status, 429);
    assert!(refused.head.contains("retry-after: 10"));
    // Others are not held up by it.
    let bob = desk.config(&desk.operators, "bob.example");
    let answer = desk.ask_as(bob, "GET", "/v1/status", "", &[]).await;
    assert_eq!(answer.unwrap().status, 200);
}

/// The document that is served says what each answer has, and each has it.
#[tokio::test]
async fn answers_are_as_the_document_describes_them() {
    let desk = Desk::open();
    desk.office.device("add BZ-0001 gw-a.example");
    let document = desk.get("/v1/openapi.json").await.body;
    for (path, template) in [
        ("/v1/status", "/v1/status"),
        ("/v1/audit", "/v1/audit"),
        ("/v1/devices", "/v1/devices"),
        ("/v1/devices/BZ-0001", "/v1/devices/{serial}"),
        ("/v1/openapi.json", "/v1/openapi.json"),
    ] {
        let answer = desk.get(path).await;
        let described = &document["paths"][template]["get"]["responses"]["200"];
        let schema = &described["content"]["application/json"]["schema"];
        assert!(
            fits(&document, schema, &answer.body),
            "{path}: {}",
            answer.body
        );
    }
    let missing = desk.get("/v1/devices/BZ-0002").await;
    let problem = &document["components"]["schemas"]["Problem"];
    assert!(fits(&document, problem, &missing.body));
    // The check is one: what has a property too many or too few does not fit.
    let device = &document["components"]["schemas"]["Device"];
    let mut body = desk.get("/v1/devices/BZ-0001").await.body;
    body["more"] = json!(1);
    assert!(!fits(&document, device, &body));
    body.as_object_mut()
        .unwrap()
        .retain(|name, _| name != "more" && name != "state");
    assert!(!fits(&document, device, &body));
}

/// As much of JSON Schema as the document uses for answers.
fn fits(document: &Value, schema: &Value, value: &Value) -> bool {
    if let Some(path) = schema["$ref"].as_str() {
        return fits(document, document.pointer(&path[1..]).unwrap(), value);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        return choices
            .iter()
            .filter(|one| fits(document, one, value))
            .count()
            == 1;
    }
    if let Some(values) = schema["enum"].as_array() {
        return values.contains(value);
    }
    if !schema["const"].is_null() {
        return schema["const"] == *value;
    }
    let is = |name: &Value| match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{other}"),
    };
    let typed = match &schema["type"] {
        Value::Array(names) => names.iter().any(is),
        name => is(name),
    };
    let items = value.as_array().is_none_or(|items| {
        schema["items"].is_null()
            || items
                .iter()
                .all(|item| fits(document, &schema["items"], item))
    });
    let members = value.as_object().is_none_or(|members| {
        let required = schema["required"].as_array().into_iter().flatten();
        let all_there = required
            .map(|name| name.as_str().unwrap())
            .all(|name| members.contains_key(name));
        all_there
            && members
                .iter()
                .all(|(name, member)| match schema["properties"].get(name) {
                    Some(schema) => fits(document, schema, member),
                    None => match &schema["additionalProperties"] {
                        Value::Bool(allowed) => *allowed,
                        Value::Null => true,
                        others => fits(document, others, member),
                    },
                })
    });
    typed && items && members
}
