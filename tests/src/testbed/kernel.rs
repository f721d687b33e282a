//! What a gateway's kernel holds: its SAs with their keys, its policies, its counters of errors.

use core::net::IpAddr;
use std::{collections::BTreeMap, fs};

use super::netns::Netns;

/// One SA, as `ip xfrm state` prints it.
#[derive(Clone, Eq, PartialEq)]
pub struct Sa {
    /// The sender.
    pub source: IpAddr,
    /// The receiver.
    pub destination: IpAddr,
    /// Its number at the receiver.
    pub spi: u32,
    /// The tunnel's.
    pub reqid: u32,
    /// `tunnel` or `transport`.
    pub mode: String,
    /// Whether sequence numbers have 64 bits.
    pub esn: bool,
    /// The algorithm, as the kernel names it.
    pub algorithm: String,
    /// Cipher key, then salt.
    pub key: Vec<u8>,
    /// The length of its check value, in bits.
    pub icv_bits: u32,
    /// How far behind the newest a packet may come, in packets.
    pub window: u32,
    /// How many packets were sent under it.
    pub sent: u64,
    /// The highest number that was received.
    pub received: u64,
    /// From its beginning to its end, in seconds; 0 is no end. Huge if the clock was set back to before the beginning.
    pub hard: u64,
    /// When it began, as `ip` prints it.
    pub added: String,
}

/// A key is not for the journal of a test either.
impl core::fmt::Debug for Sa {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self {
            source,
            destination,
            spi,
            reqid,
            sent,
            received,
            hard,
            ..
        } = self;
        write!(f, "{source} -> {destination} {spi:#010x} reqid {reqid}")?;
        write!(f, " sent {sent} received {received} hard {hard}")
    }
}

/// Every SA that stands in a namespace.
///
/// # Panics
/// If `ip` prints something else.
pub fn sas(gateway: &Netns) -> Vec<Sa> {
    let printed = gateway.run("ip", &["-s", "xfrm", "state"]);
    let mut blocks: Vec<Vec<&str>> = Vec::new();
    for line in printed.lines() {
        if line.starts_with("src ") {
            blocks.push(Vec::new());
        }
        let block = blocks.last_mut().expect("an SA begins with its addresses");
        block.extend(line.split_whitespace());
    }
    // Number 0 is the kernel's wish for an SA, which no packet passes.
    let sas = blocks
        .iter()
        .filter(|words| !words.contains(&"0x00000000(0)"))
        .map(|words| sa(words));
    sas.map(|sa| sa.unwrap_or_else(|| panic!("not an SA:\n{printed}")))
        .collect()
}

/// The reqids of the policies that protect.
///
/// # Panics
/// If `ip` prints something else.
pub fn protected(gateway: &Netns) -> BTreeMap<u32, usize> {
    let printed = gateway.run("ip", &["xfrm", "policy"]);
    let words: Vec<&str> = printed.split_whitespace().collect();
    let mut reqids = BTreeMap::new();
    for pair in words.windows(2).filter(|pair| pair[0] == "reqid") {
        *reqids.entry(number(pair[1]).expect("a reqid")).or_default() += 1;
    }
    reqids
}

/// How many policies stand, by `IN`, `OUT` and `FWD`.
///
/// # Panics
/// If `ip` prints something else.
pub fn policies(gateway: &Netns) -> BTreeMap<String, u64> {
    let printed = gateway.run("ip", &["xfrm", "policy", "count"]);
    let words: Vec<&str> = printed.split_whitespace().collect();
    let counts = words.windows(2).filter_map(|pair| {
        let count = pair[1].trim_end_matches(',').parse().ok()?;
        Some((pair[0].to_owned(), count))
    });
    counts.collect()
}

/// The counters of `/proc/net/xfrm_stat` that are not zero.
///
/// # Panics
/// If the kernel does not count.
pub fn errors(gateway: &Netns) -> BTreeMap<String, u64> {
    let text = gateway.enter(|| fs::read_to_string("/proc/thread-self/net/xfrm_stat"));
    let text = text.expect("a kernel that counts");
    let counters = text.lines().filter_map(|line| {
        let (name, count) = line.split_once(char::is_whitespace)?;
        let count = count.trim().parse().ok()?;
        (count > 0).then(|| (name.to_owned(), count))
    });
    counters.collect()
}

/// As `ip -s xfrm state` prints it:
///
/// ```text
/// src A dst B proto esp spi 0x1(1) reqid 1(0x1) mode tunnel replay-window 0 seq 0x0 flag esn (0x1)
/// aead rfc4106(gcm(aes)) 0xKEY (288 bits) 128
/// anti-replay esn context: seq-hi 0x0, seq 0x0, oseq-hi 0x0, oseq 0x0 replay_window 32, bitmap-length 1 00000000
/// lifetime config: .. expire add: soft 0(sec), hard 290(sec) .. lifetime current: .. add DATE TIME use -
/// ```
fn sa(words: &[&str]) -> Option<Sa> {
    let at = |name: &str| words.iter().position(|word| *word == name);
    let after = |name: &str| words.get(at(name)? + 1).copied();
    let (aead, limits, added) = (at("aead")?, at("add:")?, at("add")?);
    let replay = words.get(at("context:")?..)?;
    let sequence = |name: &str| {
        let place = replay.iter().position(|word| *word == name)?;
        number(replay.get(place + 1)?)
    };
    let long = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
    Some(Sa {
        source: after("src")?.parse().ok()?,
        destination: after("dst")?.parse().ok()?,
        spi: number(after("spi")?)?,
        reqid: number(after("reqid")?)?,
        mode: after("mode")?.to_owned(),
        esn: words.contains(&"esn"),
        algorithm: (*words.get(aead + 1)?).to_owned(),
        key: bytes(words.get(aead + 2)?),
        icv_bits: number(words.get(aead + 5)?)?,
        window: sequence("replay_window")?,
        sent: long(sequence("oseq-hi")?, sequence("oseq")?),
        received: long(sequence("seq-hi")?, sequence("seq")?),
        hard: words.get(limits + 4)?.strip_suffix("(sec)")?.parse().ok()?,
        added: words.get(added + 1..added + 3)?.join(" "),
    })
}

/// Decimal or hexadecimal, whatever stands behind it.
fn number(word: &str) -> Option<u32> {
    let (digits, radix) = word
        .strip_prefix("0x")
        .map_or((word, 10), |digits| (digits, 16));
    let end = digits.find(|digit: char| !digit.is_digit(radix));
    u32::from_str_radix(digits.get(..end.unwrap_or(digits.len()))?, radix).ok()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.trim_start_matches("0x").as_bytes();
    let pairs = digits.chunks(2).map(|pair| {
        let pair = core::str::from_utf8(pair).expect("hex digits");
        u8::from_str_radix(pair, 16).expect("hex digits")
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_sa_is_read_as_it_is_printed() {
        let printed = "src 192.0.2.1 dst 192.0.2.2
            proto esp spi 0xa27b53b1(2725991345) reqid 7(0x00000007) mode tunnel
            replay-window 0 seq 0x00000000 flag nopmtudisc esn (0x10000100)
            aead rfc4106(gcm(aes)) 0x611a (288 bits) 128
            anti-replay esn context:
             seq-hi 0x1, seq 0x2, oseq-hi 0x0, oseq 0x10
             replay_window 32, bitmap-length 1
             00000000
            lifetime config:
              expire add: soft 0(sec), hard 290(sec)
              expire use: soft 0(sec), hard 0(sec)
            lifetime current:
              0(bytes), 0(packets)
              add 2026-11-23 15:45:46 use -";
        let words: Vec<&str> = printed.split_whitespace().collect();
        let expected = Sa {
            source: [192, 0, 2, 1].into(),
            destination: [192, 0, 2, 2].into(),
            spi: 0xa27b_53b1,
            reqid: 7,
            mode: "tunnel".to_owned(),
            esn: true,
            algorithm: "rfc4106(gcm(aes))".to_owned(),
            key: vec![0x61, 0x1a],
            icv_bits: 128,
            window: 32,
            sent: 16,
            received: (1 << 32) + 2,
            hard: 290,
            added: "2026-11-23 15:45:46".to_owned(),
        };
        assert_eq!(sa(&words), Some(expected));
    }
}
