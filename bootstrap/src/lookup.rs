//! Where a name is: asks the DNS servers that the leases name.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::dns::{self, Kind, Record};

const PORT: u16 = 53;

/// How long one server may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// The most addresses of one host that are tried.
const ADDRESSES_MAX: usize = 4;

/// The addresses of a host: of an address, itself.
pub(crate) async fn addresses(host: &str, resolvers: &[IpAddr]) -> Vec<IpAddr> {
    if let Ok(address) = host.parse() {
        return vec![address];
    }
    let mut addresses = Vec::new();
    for kind in [Kind::Aaaa, Kind::A] {
        for record in ask(host, kind, resolvers).await {
            if let Record::Address(address) = record {
                addresses.push(address);
            }
        }
    }
    addresses.truncate(ADDRESSES_MAX);
    addresses
}

/// The services of a name, the preferred first.
pub(crate) async fn services(name: &str, resolvers: &[IpAddr]) -> Vec<(String, u16)> {
    let mut services = Vec::new();
    for record in ask(name, Kind::Srv, resolvers).await {
        if let Record::Service {
            priority,
            port,
            host,
        } = record
            && port != 0
        {
            services.push((priority, host, port));
        }
    }
    services.sort();
    let services = services.into_iter();
    services.map(|(_, host, port)| (host, port)).collect()
}

/// The first answer of any server.
async fn ask(name: &str, kind: Kind, resolvers: &[IpAddr]) -> Vec<Record> {
    for resolver in resolvers {
        let asked = exchange(name, kind, SocketAddr::new(*resolver, PORT));
        if let Ok(Some(records)) = timeout(PATIENCE, asked).await {
            return records;
        }
    }
    Vec::new()
}

/// Asks one server; `None` if it cannot be asked.
async fn exchange(name: &str, kind: Kind, server: SocketAddr) -> Option<Vec<Record>> {
    let mut id = [0; 2];
    rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty()).ok()?;
    let question = dns::question(u16::from_be_bytes(id), name, kind)?;
    let own: IpAddr = if server.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind(SocketAddr::new(own, 0)).await.ok()?;
    socket.connect(server).await.ok()?;
    socket.send(&question).await.ok()?;
    let mut message = [0; dns::MESSAGE_MAX];
    loop {
        let len = socket.recv(&mut message).await.ok()?;
        let answer = message
            .get(..len)
            .map(|it| dns::answer(it, &question, kind));
        // Whatever else comes to this port is not the answer.
        if let Some(Ok(records)) = answer {
            return Some(records);
        }
    }
}
