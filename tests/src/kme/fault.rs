//! What the KME is told to do wrong, to which requests and how often.

use core::time::Duration;
use std::collections::BTreeMap;
use std::str::FromStr;

/// The requests of ETSI GS QKD 014 and 004.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Request {
    /// `GET .../status`
    Status,
    /// `GET` or `POST .../enc_keys`
    EncKeys,
    /// `GET` or `POST .../dec_keys`
    DecKeys,
    /// 004: `OPEN_CONNECT`
    Open,
    /// 004: `GET_KEY`
    Get,
    /// 004: `CLOSE`
    Close,
}

impl Request {
    /// Every request.
    const ALL: [Self; 6] = [
        Self::Status,
        Self::EncKeys,
        Self::DecKeys,
        Self::Open,
        Self::Get,
        Self::Close,
    ];

    /// As in the URL, or in 004's text.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::EncKeys => "enc_keys",
            Self::DecKeys => "dec_keys",
            Self::Open => "open_connect",
            Self::Get => "get_key",
            Self::Close => "close",
        }
    }
}

/// One way to answer otherwise than plainly.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Behaviour {
    /// Another answer instead of the document.
    Instead(Instead),
    /// Another document, to requests for keys.
    Keys(KeyFault),
    /// Another way to send the answer.
    Wire(Wire),
    /// 004: streams stay open for so many seconds at most, so that status 7 offers as many to whoever
    /// wants more.
    Ttl(u32),
}

/// What to answer instead of the document.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Instead {
    /// 503.
    Refuse,
    /// 400.
    BadRequest,
    /// 401.
    Unauthorized,
    /// 200, and no document; 004: bytes of no meaning.
    Garbage,
    /// 004: this status; 014: 503.
    Code(u32),
    /// 014: 405 to a POST; a GET is answered.
    NoPost,
}

/// What is wrong with the keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyFault {
    /// All bytes are zero.
    Zero,
    /// A fresh name, and the bytes of the key before.
    RepeatedKey,
    /// The name and the bytes of the key before.
    RepeatedId,
    /// Half of the bytes.
    Short,
    /// Twice the bytes.
    Long,
    /// The right bytes under another name.
    WrongId,
    /// The list is empty.
    None,
    /// There is a second key that nobody asked for.
    Two,
}

/// How the answer is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wire {
    /// Late.
    Delay(Duration),
    /// In chunks (RFC 9112, 7.1).
    Chunked,
    /// With every character of its strings escaped.
    Escaped,
    /// The connection ends after it.
    Close,
    /// Half of the announced body, then the end of the connection.
    Truncated,
    /// The body is filled up to 1 MiB.
    Oversize,
    /// Not even as HTTP.
    NotHttp,
    /// Not at all; the connection stays open.
    Hang,
    /// Not at all; the connection ends.
    Drop,
    /// One byte at a time, each so much after the one before.
    Drip(Duration),
}

/// The behaviours without an argument, by the words that order them.
const PLAIN: [(&str, Behaviour); 21] = [
    ("refuse", Behaviour::Instead(Instead::Refuse)),
    ("bad-request", Behaviour::Instead(Instead::BadRequest)),
    ("unauthorized", Behaviour::Instead(Instead::Unauthorized)),
    ("garbage", Behaviour::Instead(Instead::Garbage)),
    ("no-post", Behaviour::Instead(Instead::NoPost)),
    ("zero-key", Behaviour::Keys(KeyFault::Zero)),
    ("repeated-key", Behaviour::Keys(KeyFault::RepeatedKey)),
    ("repeated-id", Behaviour::Keys(KeyFault::RepeatedId)),
    ("short-key", Behaviour::Keys(KeyFault::Short)),
    ("long-key", Behaviour::Keys(KeyFault::Long)),
    ("wrong-id", Behaviour::Keys(KeyFault::WrongId)),
    ("no-key", Behaviour::Keys(KeyFault::None)),
    ("two-keys", Behaviour::Keys(KeyFault::Two)),
    ("chunked", Behaviour::Wire(Wire::Chunked)),
    ("escaped", Behaviour::Wire(Wire::Escaped)),
    ("close", Behaviour::Wire(Wire::Close)),
    ("truncated", Behaviour::Wire(Wire::Truncated)),
    ("oversize", Behaviour::Wire(Wire::Oversize)),
    ("not-http", Behaviour::Wire(Wire::NotHttp)),
    ("hang", Behaviour::Wire(Wire::Hang)),
    ("drop", Behaviour::Wire(Wire::Drop)),
];

/// A line that is no order.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum OrderError {
    /// The first word.
    #[error("unknown order")]
    Unknown,
    /// `delay` and `drip` take a number of milliseconds, `code` a status, `ttl` a number of seconds, the
    /// others nothing.
    #[error("wrong argument of an order")]
    Argument,
}

/// The standing orders, and how often each request and each behaviour was seen.
#[derive(Debug, Default)]
pub struct Plan {
    standing: Vec<Standing>,
    counts: BTreeMap<String, u64>,
}

#[derive(Debug)]
struct Standing {
    behaviour: Behaviour,
    on: Vec<Request>,
    /// How many requests it still applies to; `None` is all.
    left: Option<u64>,
}

impl Plan {
    /// Adds the order of this line: `BEHAVIOUR [NUMBER] [times=N] [on=REQUESTS]`. Without `times`
    /// it stands until [`Plan::honest`], without `on` it is for `keys`: `enc_keys`, `dec_keys` and
    /// `GET_KEY`.
    ///
    /// # Errors
    ///
    /// [`OrderError`].
    pub fn order(&mut self, line: &str) -> Result<(), OrderError> {
        self.standing.push(line.parse()?);
        Ok(())
    }

    /// Drops all orders.
    pub fn honest(&mut self) {
        self.standing.clear();
    }

    /// What to do about this request; counts it.
    pub fn meet(&mut self, request: Request) -> Vec<Behaviour> {
        let mut behaviours = Vec::new();
        for standing in &mut self.standing {
            if standing.on.contains(&request) && standing.left != Some(0) {
                standing.left = standing.left.map(|left| left.saturating_sub(1));
                behaviours.push(standing.behaviour);
            }
        }
        self.standing.retain(|standing| standing.left != Some(0));
        self.count(request.name());
        for behaviour in &behaviours {
            self.count(behaviour.name());
        }
        behaviours
    }

    /// Counts an event.
    pub fn count(&mut self, name: &str) {
        let count = self.counts.entry(name.to_owned()).or_default();
        *count = count.saturating_add(1);
    }

    /// What was counted, by name.
    pub fn counts(&self) -> &BTreeMap<String, u64> {
        &self.counts
    }
}

impl Behaviour {
    /// As in an order.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wire(Wire::Delay(_)) => "delay",
            Self::Wire(Wire::Drip(_)) => "drip",
            Self::Instead(Instead::Code(_)) => "code",
            Self::Ttl(_) => "ttl",
            Self::Instead(_) | Self::Keys(_) | Self::Wire(_) => PLAIN
                .iter()
                .find_map(|(name, behaviour)| (*behaviour == self).then_some(*name))
                .unwrap_or_default(),
        }
    }

    fn parse(word: &str, number: Option<u64>) -> Result<Self, OrderError> {
        let with: Option<fn(u64) -> Option<Self>> = match word {
            "delay" => Some(|n| Some(Self::Wire(Wire::Delay(Duration::from_millis(n))))),
            "drip" => Some(|n| Some(Self::Wire(Wire::Drip(Duration::from_millis(n))))),
            "ttl" => Some(|n| Some(Self::Ttl(u32::try_from(n).ok()?))),
            "code" => Some(|n| Some(Self::Instead(Instead::Code(u32::try_from(n).ok()?)))),
            _ => None,
        };
        match (with, number) {
            (Some(with), Some(number)) => with(number).ok_or(OrderError::Argument),
            (None, None) => PLAIN
                .iter()
                .find_map(|(name, behaviour)| (*name == word).then_some(*behaviour))
                .ok_or(OrderError::Unknown),
            (Some(_), None) | (None, Some(_)) => Err(OrderError::Argument),
        }
    }
}

impl FromStr for Standing {
    type Err = OrderError;

    fn from_str(line: &str) -> Result<Self, OrderError> {
        let mut words = line.split_ascii_whitespace();
        let name = words.next().ok_or(OrderError::Unknown)?;
        let mut number = None;
        let mut left = None;
        let mut on = vec![Request::EncKeys, Request::DecKeys, Request::Get];
        for word in words {
            if let Some(times) = word.strip_prefix("times=") {
                left = Some(times.parse().map_err(|_| OrderError::Argument)?);
            } else if let Some(requests) = word.strip_prefix("on=") {
                on = match requests {
                    "status" => vec![Request::Status],
                    "enc" => vec![Request::EncKeys],
                    "dec" => vec![Request::DecKeys],
                    "keys" => on,
                    "open" => vec![Request::Open],
                    "get" => vec![Request::Get],
                    "close" => vec![Request::Close],
                    "all" => Request::ALL.to_vec(),
                    _ => return Err(OrderError::Argument),
                };
            } else {
                number = Some(word.parse().map_err(|_| OrderError::Argument)?);
            }
        }
        Ok(Self {
            behaviour: Behaviour::parse(name, number)?,
            on,
            left,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_applies_to_its_requests_so_often_and_is_counted() {
        let mut plan = Plan::default();
        plan.order("delay 500 on=all").unwrap();
        plan.order("zero-key times=1 on=enc").unwrap();
        let late = Behaviour::Wire(Wire::Delay(Duration::from_millis(500)));
        assert_eq!(plan.meet(Request::Status), [late]);
        assert_eq!(
            plan.meet(Request::EncKeys),
            [late, Behaviour::Keys(KeyFault::Zero)]
        );
        assert_eq!(plan.meet(Request::EncKeys), [late]);
        plan.honest();
        assert_eq!(plan.meet(Request::DecKeys), []);
        let counts: Vec<_> = plan
            .counts()
            .iter()
            .map(|(n, c)| (n.as_str(), *c))
            .collect();
        assert_eq!(
            counts,
            [
                ("dec_keys", 1),
                ("delay", 3),
                ("enc_keys", 2),
                ("status", 1),
                ("zero-key", 1)
            ]
        );
    }

    #[test]
    fn every_behaviour_is_ordered_by_the_name_it_is_counted_under() {
        for (word, behaviour) in PLAIN {
            assert_eq!(Behaviour::parse(word, None), Ok(behaviour));
            assert_eq!(Behaviour::parse(word, Some(1)), Err(OrderError::Argument));
            assert_eq!(behaviour.name(), word);
        }
        for word in ["delay", "drip", "code"] {
            assert_eq!(Behaviour::parse(word, Some(1)).unwrap().name(), word);
            assert_eq!(Behaviour::parse(word, None), Err(OrderError::Argument));
        }
    }

    #[test]
    fn what_is_no_order_is_refused() {
        let mut plan = Plan::default();
        for line in [
            "",
            "dance",
            "delay",
            "delay x",
            "hang on=never",
            "hang times=-1",
        ] {
            assert!(plan.order(line).is_err(), "{line}");
        }
        assert_eq!(plan.meet(Request::EncKeys), []);
    }
}
