//! The documents of ETSI GS QKD 014 V1.1.1: from a request to its plain answer.

use core::time::Duration;

use base64ct::{Base64, Encoding as _};
use serde::Deserialize;
use serde_json::json;

use super::fault::{Behaviour, Instead, KeyFault, Plan, Request};
use super::http::HttpRequest;
use super::reply::Reply;
use super::store::{Redeem, Store};
use super::stream::{Answer, Call, Streams};

/// The length of a key where the request names none, in bits.
const KEY_SIZE: u64 = 256;
/// What a request may ask for, in bits.
const KEY_SIZES: core::ops::RangeInclusive<u64> = 64..=1024;
/// The most keys in one request.
const KEYS_PER_REQUEST: u64 = 16;

/// What one KME knows.
#[derive(Debug)]
pub(super) struct State {
    pub(super) name: String,
    /// The KME at the other end of the link.
    pub(super) target: String,
    pub(super) capacity: u64,
    pub(super) store: Store,
    pub(super) plan: Plan,
    pub(super) streams: Streams,
    /// The key that was served before.
    last: Option<(String, Vec<u8>)>,
}

/// 014, 6.2.
#[derive(Deserialize)]
struct KeyRequest {
    number: Option<u64>,
    size: Option<u64>,
    #[serde(default, rename = "additional_slave_SAE_IDs")]
    additional: Vec<String>,
    #[serde(default)]
    extension_mandatory: Vec<serde_json::Value>,
}

/// 014, 6.4.
#[derive(Deserialize)]
struct KeyIds {
    #[serde(rename = "key_IDs")]
    ids: Vec<Id>,
}

#[derive(Deserialize)]
struct Id {
    #[serde(rename = "key_ID")]
    id: String,
}

/// Which of the three requests this is, and the SAE in its path.
pub(super) fn route(request: &HttpRequest) -> Option<(Request, &str)> {
    let (sae, call) = request
        .path
        .strip_prefix("/api/v1/keys/")?
        .split_once('/')?;
    let call = match (request.method.as_str(), call) {
        ("GET", "status") => Request::Status,
        ("GET" | "POST", "enc_keys") => Request::EncKeys,
        ("GET" | "POST", "dec_keys") => Request::DecKeys,
        _ => return None,
    };
    (!sae.is_empty()).then_some((call, sae))
}

impl State {
    pub(super) fn new(
        name: String,
        target: String,
        capacity: u64,
        store: Store,
        streams: Streams,
    ) -> Self {
        Self {
            name,
            target,
            capacity,
            store,
            plan: Plan::default(),
            streams,
            last: None,
        }
    }

    /// The answer to `caller`, whose request names the SAE `other`, `now` after the start.
    pub(super) fn answer(
        &mut self,
        caller: &str,
        (call, other): (Request, &str),
        request: &HttpRequest,
        behaviours: &[Behaviour],
        now: Duration,
    ) -> Reply {
        for behaviour in behaviours {
            if let Behaviour::Instead(instead) = behaviour {
                return match instead {
                    Instead::NoPost if request.method != "POST" => continue,
                    Instead::NoPost => Reply::error(405, "the method is not known here"),
                    Instead::Refuse | Instead::Code(_) => Reply::error(503, "no key is available"),
                    Instead::BadRequest => Reply::error(400, "the request is not understood"),
                    Instead::Unauthorized => Reply::error(401, "the SAE is not known"),
                    Instead::Garbage => Reply::text(200, "}{ this is no document"),
                };
            }
        }
        let answer = match call {
            Request::Status => Ok(self.status(caller, other, now)),
            Request::EncKeys => self.enc_keys(caller, other, request, behaviours, now),
            Request::DecKeys => self.dec_keys(other, caller, request, behaviours),
            Request::Open | Request::Get | Request::Close => {
                Err(Reply::error(404, "no such resource"))
            }
        };
        if answer.is_ok() && call != Request::Status {
            self.plan.count("answered");
        }
        answer.unwrap_or_else(|reply| reply)
    }

    /// The answer to a call of 004, `now` after the start.
    pub(super) fn stream(
        &mut self,
        caller: Option<&str>,
        call: &Call,
        behaviours: &[Behaviour],
        now: Duration,
    ) -> Answer {
        let answer = self
            .streams
            .answer(caller, call, &mut self.store, behaviours, now);
        if matches!(answer, Answer::Chunk { .. }) {
            self.plan.count("answered");
        }
        answer
    }

    fn status(&mut self, master: &str, slave: &str, now: Duration) -> Reply {
        Reply::document(&json!({
            "source_KME_ID": self.name,
            "target_KME_ID": self.target,
            "master_SAE_ID": master,
            "slave_SAE_ID": slave,
            "key_size": KEY_SIZE,
            "stored_key_count": self.store.stored(now),
            "max_key_count": self.capacity,
            "max_key_per_request": KEYS_PER_REQUEST,
            "max_key_size": KEY_SIZES.end(),
            "min_key_size": KEY_SIZES.start(),
            "max_SAE_ID_count": 0,
        }))
    }

    fn enc_keys(
        &mut self,
        master: &str,
        slave: &str,
        request: &HttpRequest,
        behaviours: &[Behaviour],
        now: Duration,
    ) -> Result<Reply, Reply> {
        let KeyRequest {
            number,
            size,
            additional,
            extension_mandatory,
        } = key_request(request)?;
        let (number, size) = (number.unwrap_or(1), size.unwrap_or(KEY_SIZE));
        if !(1..=KEYS_PER_REQUEST).contains(&number) {
            return Err(Reply::error(400, "number of keys out of range"));
        }
        if size % 8 != 0 {
            return Err(Reply::error(400, "size shall be a multiple of 8"));
        }
        if !KEY_SIZES.contains(&size) {
            return Err(Reply::error(400, "size out of range"));
        }
        if !additional.is_empty() {
            return Err(Reply::error(400, "additional slave SAEs are not supported"));
        }
        if !extension_mandatory.is_empty() {
            return Err(Reply::error(
                400,
                "not all extension_mandatory parameters are supported",
            ));
        }
        let length = u8::try_from(size / 8).map_err(|_| Reply::error(400, "size out of range"))?;
        let mut names = Vec::new();
        for _ in 0..number {
            match self.store.issue(master, slave, length, now) {
                Some(name) => names.push((name, length)),
                None => return Err(Reply::error(503, "no key is available")),
            }
        }
        Ok(self.keys(names, behaviours))
    }

    fn dec_keys(
        &mut self,
        master: &str,
        slave: &str,
        request: &HttpRequest,
        behaviours: &[Behaviour],
    ) -> Result<Reply, Reply> {
        let mut names = Vec::new();
        let asked = key_ids(request)?;
        // A request that is refused takes no key.
        let refused = |name: &String| self.store.knows(master, slave, name).is_err();
        let asked = match asked.iter().find(|name| refused(name)) {
            Some(name) => vec![name.clone()],
            None => asked,
        };
        for name in asked {
            match self.store.redeem(master, slave, &name) {
                Ok(length) => names.push((name, length)),
                Err(Redeem::Unknown) => {
                    return Err(Reply::error(
                        400,
                        "one or more keys specified are not found",
                    ));
                }
                Err(Redeem::Taken) => return Err(Reply::error(400, "the key was given before")),
            }
        }
        Ok(self.keys(names, behaviours))
    }

    /// The key container (014, 6.3) of these names, as the behaviours will have it.
    fn keys(&mut self, names: Vec<(String, u8)>, behaviours: &[Behaviour]) -> Reply {
        let mut keys: Vec<(String, Vec<u8>)> = Vec::new();
        for (name, length) in names {
            let key = self.store.link().key(&name, usize::from(length));
            keys.push((name, key));
        }
        for behaviour in behaviours {
            if let Behaviour::Keys(fault) = behaviour {
                self.spoil(*fault, &mut keys);
            }
        }
        // What was given, so that a KME that repeats itself does so each time.
        self.last = keys.last().cloned().or(self.last.take());
        let keys: Vec<_> = keys
            .into_iter()
            .map(|(name, key)| json!({"key_ID": name, "key": Base64::encode_string(&key)}))
            .collect();
        Reply::document(&json!({ "keys": keys }))
    }

    fn spoil(&self, fault: KeyFault, keys: &mut Vec<(String, Vec<u8>)>) {
        let link = self.store.link();
        for (name, key) in &mut *keys {
            match (fault, &self.last) {
                (KeyFault::Zero, _) => key.fill(0),
                (KeyFault::Short, _) => key.truncate(key.len() / 2),
                (KeyFault::Long, _) => key.extend_from_within(..),
                (KeyFault::WrongId, _) => *name = link.name("nobody", "nobody", 0, 0),
                (KeyFault::RepeatedKey, Some((_, last))) => last.clone_into(key),
                (KeyFault::RepeatedId, Some(last)) => (*name, *key) = last.clone(),
                (KeyFault::RepeatedKey | KeyFault::RepeatedId, None)
                | (KeyFault::None | KeyFault::Two, _) => {}
            }
        }
        match fault {
            KeyFault::None => keys.clear(),
            KeyFault::Two => {
                let name = link.name("nobody", "nobody", 1, 32);
                let key = link.key(&name, 32);
                keys.push((name, key));
            }
            KeyFault::Zero
            | KeyFault::RepeatedKey
            | KeyFault::RepeatedId
            | KeyFault::Short
            | KeyFault::Long
            | KeyFault::WrongId => {}
        }
    }
}

fn key_request(request: &HttpRequest) -> Result<KeyRequest, Reply> {
    if request.method == "GET" {
        let number = |name| match parameter(request, name).map(str::parse) {
            None => Ok(None),
            Some(Ok(number)) => Ok(Some(number)),
            Some(Err(_)) => Err(Reply::error(400, "a parameter is not a number")),
        };
        return Ok(KeyRequest {
            number: number("number")?,
            size: number("size")?,
            additional: Vec::new(),
            extension_mandatory: Vec::new(),
        });
    }
    let body: &[u8] = if request.body.is_empty() {
        b"{}"
    } else {
        &request.body
    };
    serde_json::from_slice(body).map_err(|_| Reply::error(400, "the body is no key request"))
}

fn key_ids(request: &HttpRequest) -> Result<Vec<String>, Reply> {
    let ids = if request.method == "GET" {
        parameter(request, "key_ID")
            .map(|id| vec![id.to_owned()])
            .unwrap_or_default()
    } else {
        serde_json::from_slice::<KeyIds>(&request.body)
            .map_err(|_| Reply::error(400, "the body is no list of key IDs"))?
            .ids
            .into_iter()
            .map(|id| id.id)
            .collect()
    };
    if ids.is_empty() {
        return Err(Reply::error(400, "no key ID"));
    }
    Ok(ids)
}

fn parameter<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request
        .query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::super::key::Link;
    use super::super::store::Pace;
    use super::*;
    use serde_json::Value;

    fn state() -> State {
        let pace = Pace {
            rate: 0,
            capacity: 3,
            outages: None,
        };
        State::new(
            "kme-a".into(),
            "kme-b".into(),
            3,
            Store::new(Link::new(1), pace, 1),
            Streams::new("kme-a".into(), 1, None, 0),
        )
    }

    fn call(state: &mut State, caller: &str, method: &str, target: &str, body: &str) -> Reply {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let request = HttpRequest {
            method: method.into(),
            path: format!("/api/v1/keys/{path}"),
            query: query.into(),
            body: body.into(),
        };
        let route = route(&request).unwrap();
        let behaviours = state.plan.meet(route.0);
        state.answer(caller, route, &request, &behaviours, Duration::ZERO)
    }

    fn document(reply: &Reply) -> Value {
        assert_eq!(reply.status, 200);
        serde_json::from_slice(&reply.body).unwrap()
    }

    #[test]
    fn both_ends_get_one_key_once() {
        let (mut a, mut b) = (state(), state());
        let got = document(&call(
            &mut a,
            "sae-a",
            "POST",
            "sae-b/enc_keys",
            r#"{"number":1,"size":256}"#,
        ));
        let id = got["keys"][0]["key_ID"].as_str().unwrap().to_owned();
        let ask = format!(r#"{{"key_IDs":[{{"key_ID":"{id}"}}]}}"#);
        assert_eq!(
            document(&call(&mut b, "sae-b", "POST", "sae-a/dec_keys", &ask)),
            got
        );
        assert_eq!(
            call(&mut b, "sae-b", "POST", "sae-a/dec_keys", &ask).status,
            400
        );
        assert_eq!(
            call(&mut b, "sae-c", "POST", "sae-a/dec_keys", &ask).status,
            400
        );
    }

    #[test]
    fn get_does_what_post_does() {
        let mut kme = state();
        let got = document(&call(
            &mut kme,
            "sae-a",
            "GET",
            "sae-b/enc_keys?number=2&size=128",
            "",
        ));
        assert_eq!(got["keys"].as_array().unwrap().len(), 2);
        let id = got["keys"][1]["key_ID"].as_str().unwrap();
        let again = call(
            &mut kme,
            "sae-b",
            "GET",
            &format!("sae-a/dec_keys?key_ID={id}"),
            "",
        );
        assert_eq!(document(&again)["keys"][0], got["keys"][1]);
        assert_eq!(
            document(&call(&mut kme, "sae-a", "GET", "sae-b/status", ""))["stored_key_count"],
            1
        );
    }

    #[test]
    fn an_empty_store_and_an_odd_request_are_refused() {
        let mut kme = state();
        for body in [
            r#"{"number":0}"#,
            r#"{"size":7}"#,
            r#"{"size":8}"#,
            r#"{"extension_mandatory":[{}]}"#,
            r#"{"additional_slave_SAE_IDs":["c"]}"#,
            "[",
        ] {
            assert_eq!(
                call(&mut kme, "a", "POST", "b/enc_keys", body).status,
                400,
                "{body}"
            );
        }
        assert_eq!(
            call(&mut kme, "a", "POST", "b/enc_keys", r#"{"number":3}"#).status,
            200
        );
        assert_eq!(call(&mut kme, "a", "POST", "b/enc_keys", "").status, 503);
    }

    #[test]
    fn a_misbehaving_kme_gives_what_was_ordered() {
        let mut kme = state();
        let honest = document(&call(&mut kme, "a", "POST", "b/enc_keys", ""));
        let honest = &honest["keys"][0];
        for (order, check) in [("repeated-id", 0_u8), ("repeated-key", 1), ("zero-key", 2)] {
            let mut kme = state();
            call(&mut kme, "a", "POST", "b/enc_keys", "");
            kme.plan.order(order).unwrap();
            let got = document(&call(&mut kme, "a", "POST", "b/enc_keys", ""));
            let got = &got["keys"][0];
            match check {
                0 => assert_eq!(got, honest),
                1 => {
                    assert_eq!(got["key"], honest["key"]);
                    assert_ne!(got["key_ID"], honest["key_ID"]);
                }
                _ => assert_eq!(got["key"], Base64::encode_string(&[0; 32])),
            }
        }
    }
}
