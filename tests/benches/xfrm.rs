//! How fast SAs and policies are programmed, beside a bare netlink loop that sends the same bytes.
//!
//! `cargo bench -p bartizan-tests --bench xfrm`. Runs in a UML guest, for a kernel with ESP that is
//! the same everywhere. Each line is measured in turn with the others, round by round; what is
//! printed are medians over the rounds.

use std::{
    net::IpAddr,
    path::Path,
    time::{Duration, Instant},
};

use bartizan_model::{
    ids::{OrderId, Spi},
    message::{EngineToXfrm, SaId, SaInstall, XfrmToEngine},
    policy::{Direction, DontFragment, Lifetime, Mode, Prefix, Suite, TrafficSelector},
};
use bartizan_process::Received;
use bartizan_secret::Secret;
use bartizan_tests::testbed::{boot::Boot, guest::is_guest};
use bartizan_xfrm::{
    BATCH_MAX, Kernel, KernelDirection, KernelPolicy, KernelSa, KernelSelector, Outcome, Owner,
    PolicyId, Programmer, Replies, Request, SaKey, Said, Template, Upper, Verdict,
};
use rustix::{
    fd::OwnedFd,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketType,
        netlink::{SocketAddrNetlink, XFRM},
        recv, send, socket, sockopt,
    },
};

const SAS: u32 = 2000;

const POLICIES: u32 = 10_000;

const ROUNDS: usize = 11;

fn main() {
    if is_guest() {
        measure();
        return;
    }
    let init = Path::new(env!("CARGO_BIN_EXE_guest-init"));
    let binary = std::env::current_exe().expect("the path of this program");
    let boot = Boot::uml().memory_mib(512).limit(Duration::from_mins(10));
    let outcome = boot.spawn(init, &binary, &[]).wait();
    print!("{}", outcome.log);
    assert_eq!(outcome.code, Some(0), "{}", outcome.console);
}

fn measure() {
    let sas: Vec<_> = (0..SAS).map(nth_sa).collect();
    let kernel_sas: Vec<_> = sas
        .iter()
        .map(|sa| KernelSa::of(sa).expect("an SA of an order"))
        .collect();
    let policies: Vec<_> = (0..POLICIES).map(nth_policy).collect();
    let secret = key();
    let key = SaKey::new(&secret, Suite::AesGcm256).expect("a key of its length");
    let add: Vec<_> = kernel_sas
        .iter()
        .map(|sa| Request::AddSa(sa, key))
        .collect();
    let update: Vec<_> = kernel_sas.iter().map(Request::UpdateSa).collect();
    let delete: Vec<_> = kernel_sas
        .iter()
        .map(|sa| Request::DeleteSa(sa.id))
        .collect();
    let put: Vec<_> = policies.iter().map(Request::PutPolicy).collect();
    let take_out: Vec<_> = policies
        .iter()
        .map(|policy| Request::DeletePolicy(policy.id))
        .collect();
    let steps = [
        ("NEWSA", &add),
        ("UPDSA", &update),
        ("DELSA", &delete),
        ("UPDPOLICY", &put),
        ("DELPOLICY", &take_out),
    ];

    let mut bare = Bare::open();
    let mut kernel = Kernel::open().expect("a netlink socket");
    let hashed = kernel.carry_out(&Request::HashPrefixes);
    assert_eq!(hashed, Outcome::Done);
    let datagrams = steps.map(|(_, requests)| datagrams(requests));
    let mut bare_rates = steps.map(|_| Vec::new());
    let mut rates = steps.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        for ((_, requests), (datagrams, rates)) in
            steps.iter().zip(datagrams.iter().zip(&mut bare_rates))
        {
            rates.push(rate(requests.len(), || bare.send_all(datagrams)));
        }
        for ((_, requests), rates) in steps.iter().zip(&mut rates) {
            rates.push(rate(requests.len(), || send_all(&mut kernel, requests)));
        }
    }
    println!("a second, medians of {ROUNDS} rounds: bare loop, codec and socket, and their ratio");
    for ((name, _), (bare, own)) in steps.iter().zip(bare_rates.into_iter().zip(rates)) {
        let (bare, own) = (median(bare), median(own));
        println!("{name:10} {bare:8} {own:8} {:4}%", own * 100 / bare);
    }

    let mut programmer = Programmer::block_all().expect("block policies");
    let mut installed = Vec::new();
    let mut extended = Vec::new();
    for _ in 0..ROUNDS {
        let orders = orders(&sas, true);
        installed.push(rate(sas.len(), || carry_out(&mut programmer, &orders)));
        let orders = self::orders(&sas, false);
        extended.push(rate(sas.len(), || carry_out(&mut programmer, &orders)));
        let all = Received {
            message: EngineToXfrm::RemoveAllSas { order: OrderId(1) },
            secret: None,
            fd: None,
        };
        carry_out(&mut programmer, &[all]);
    }
    println!("orders to install SAs: {} a second", median(installed));
    println!("orders to extend SAs:  {} a second", median(extended));
}

/// Nothing but the socket.
struct Bare {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Bare {
    fn open() -> Self {
        let socket = socket(AddressFamily::NETLINK, SocketType::RAW, Some(XFRM)).expect("a socket");
        let address = SocketAddrNetlink::new(0, 0);
        rustix::net::bind(&socket, &address).expect("bind a socket");
        sockopt::set_socket_recv_buffer_size_force(&socket, 1 << 23).expect("a large queue");
        Self {
            socket,
            buffer: vec![0; 1 << 16],
        }
    }

    fn send_all(&mut self, datagrams: &[Vec<u8>]) {
        for datagram in datagrams {
            send(&self.socket, datagram, SendFlags::empty()).expect("send");
            let (_, length) =
                recv(&self.socket, &mut self.buffer[..], RecvFlags::empty()).expect("receive");
            let said = Replies::of(&self.buffer[..length])
                .next()
                .expect("an answer")
                .said;
            assert_eq!(said, Said::Acknowledged);
        }
    }
}

/// The same requests as bytes, with an acknowledgement asked for of the last of each datagram.
fn datagrams(requests: &[Request<'_>]) -> Vec<Vec<u8>> {
    let mut message = vec![0; 2048];
    requests
        .chunks(BATCH_MAX)
        .map(|requests| {
            let mut datagram = Vec::new();
            let mut last = 0;
            for (seq, request) in (1..).zip(requests) {
                last = datagram.len();
                let length = request
                    .encode(&mut message, seq)
                    .expect("room for a message");
                datagram.extend_from_slice(&message[..length]);
            }
            let (request, acknowledge) = (1_u16, 4);
            datagram[last + 6..last + 8].copy_from_slice(&(request | acknowledge).to_ne_bytes());
            datagram
        })
        .collect()
}

fn send_all(kernel: &mut Kernel, requests: &[Request<'_>]) {
    let mut batch = kernel.batch();
    for request in requests {
        batch.push(request);
    }
    assert!(
        batch
            .finish()
            .iter()
            .all(|outcome| *outcome == Outcome::Done)
    );
}

fn carry_out(programmer: &mut Programmer, orders: &[Received<EngineToXfrm>]) {
    for round in orders.chunks(BATCH_MAX) {
        for reply in programmer.carry_out(round) {
            assert!(matches!(reply, XfrmToEngine::Done(_)), "{reply:?}");
        }
    }
}

fn orders(sas: &[SaInstall], install: bool) -> Vec<Received<EngineToXfrm>> {
    (1..)
        .map(OrderId)
        .zip(sas)
        .map(|(order, sa)| {
            let sa = Box::new(sa.clone());
            Received {
                message: if install {
                    EngineToXfrm::InstallSa { order, sa }
                } else {
                    EngineToXfrm::ExtendSa { order, sa }
                },
                secret: install.then(key),
                fd: None,
            }
        })
        .collect()
}

/// How many a second.
fn rate(count: usize, work: impl FnOnce()) -> u128 {
    let started = Instant::now();
    work();
    let count = u128::try_from(count).expect("a small number");
    count * 1_000_000_000 / started.elapsed().as_nanos()
}

fn median(mut rates: Vec<u128>) -> u128 {
    rates.sort_unstable();
    rates[rates.len() / 2]
}

fn key() -> Secret {
    Secret::from_fn(Suite::AesGcm256.key_len(), |slot| slot.fill(0x5a)).expect("locked memory")
}

fn nth_sa(number: u32) -> SaInstall {
    let [_, _, high, low] = number.to_be_bytes();
    let limit = Lifetime {
        seconds: Some(3600),
        bytes: None,
        packets: None,
    };
    SaInstall {
        id: SaId {
            spi: Spi::try_from(0x1000 + number).expect("no reserved SPI"),
            destination: IpAddr::from([10, 200, high, low]),
        },
        source: IpAddr::from([192, 0, 2, 1]),
        direction: Direction::Inbound,
        reqid: (1 + number).try_into().expect("a reqid"),
        mode: Mode::Tunnel,
        df: DontFragment::Clear,
        selector: TrafficSelector {
            local: Prefix::ANY_V4,
            remote: Prefix::ANY_V4,
            protocol: None,
            local_port: None,
            remote_port: None,
        },
        suite: Suite::AesGcm256,
        replay_window: 4096,
        soft: limit,
        hard: limit,
    }
}

fn nth_policy(number: u32) -> KernelPolicy {
    let [_, _, high, low] = number.to_be_bytes();
    let local = Prefix::new(IpAddr::from([10, 1, 0, 0]), 16).expect("a prefix");
    let remote = Prefix::new(IpAddr::from([20, high, low, 0]), 24).expect("a prefix");
    let reqid = 1 + number;
    let owner = Owner::Entry(reqid.try_into().expect("a reqid"));
    let selector = KernelSelector::new(local, remote, Upper::default(), owner);
    KernelPolicy {
        id: PolicyId {
            direction: KernelDirection::Out,
            selector: selector.expect("one family"),
        },
        priority: 1000 + number,
        verdict: Verdict::Protect(Template {
            source: IpAddr::from([192, 0, 2, 1]),
            destination: IpAddr::from([192, 0, 2, 2]),
            reqid,
            mode: Mode::Tunnel,
        }),
    }
}
