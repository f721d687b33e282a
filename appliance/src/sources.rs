//! Where an owner can be looked for: removable media, what networkd was offered, the image's list.
//!
//! Nothing of it is trusted, here or by bootstrap, which checks signatures; here only sizes count.
//! What cannot be read is as if it were not there.

use core::net::IpAddr;
use std::io::Read as _;
use std::path::Path;

use bartizan_model::config::{Artifacts, BootstrapServer, Sources};

use crate::config::Discovery;

/// The most bytes of the three artifacts together: they travel in one message.
const ARTIFACTS_MAX: usize = 48 * 1024;

/// The most bytes of a lease's file.
const LEASE_MAX: u64 = 64 * 1024;

/// The most leases that are read: one for each interface.
const LEASES_MAX: usize = 16;

/// The most servers and resolvers that are handed on.
const SERVERS_MAX: usize = 32;
const RESOLVERS_MAX: usize = 8;

/// The most bytes of a DNS name (RFC 1035, 2.3.4).
const NAME_MAX: usize = 253;

/// The files of signed data (RFC 8572, 3), as they are named on removable media.
const CONVEYED_INFORMATION: &str = "conveyed-information.cms";
const OWNER_CERTIFICATE: &str = "owner-certificate.cms";
const OWNERSHIP_VOUCHER: &str = "ownership-voucher.cms";

/// The key under which a lease would have the SZTP redirect option (RFC 8572, 8.1), in hexadecimal.
/// systemd-networkd asks for it and does not keep it: up to its version 252 at least, it keeps none
/// but the options for private use, and of IPv6's leases none at all.
const REDIRECT: &str = "OPTION_143";

/// Looks at everything there is.
pub fn look(discovery: &Discovery) -> Sources {
    let mut sources = Sources {
        media: media(&discovery.media),
        ..Sources::default()
    };
    for lease in leases(&discovery.leases) {
        read_lease(&lease, discovery.dhcp_option, &mut sources);
    }
    sources.servers.truncate(SERVERS_MAX);
    let left = SERVERS_MAX.saturating_sub(sources.servers.len());
    let own = discovery.servers.iter().take(left);
    sources.servers.extend(own.cloned());
    sources.resolvers.truncate(RESOLVERS_MAX);
    sources
}

/// All three, or nothing: one alone proves nothing.
fn media(folder: &Path) -> Option<Artifacts> {
    let mut left = ARTIFACTS_MAX;
    let mut read = |name| {
        let bytes = bounded(&folder.join(name), u64::try_from(left).ok()?)?;
        left = left.checked_sub(bytes.len())?;
        Some(bytes)
    };
    Some(Artifacts {
        conveyed_information: read(CONVEYED_INFORMATION)?,
        owner_certificate: read(OWNER_CERTIFICATE)?,
        ownership_voucher: read(OWNERSHIP_VOUCHER)?,
    })
}

/// The leases' texts, in the order of their names.
fn leases(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let entries = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let mut paths: Vec<_> = entries.take(LEASES_MAX).collect();
    paths.sort();
    paths
        .iter()
        .filter_map(|path| String::from_utf8(bounded(path, LEASE_MAX)?).ok())
        .collect()
}

/// Reads a regular file that is not longer.
pub(crate) fn bounded(path: &Path, max: u64) -> Option<Vec<u8>> {
    if !std::fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).ok()?;
    file.take(max.checked_add(1)?)
        .read_to_end(&mut bytes)
        .ok()?;
    (u64::try_from(bytes.len()).ok()? <= max).then_some(bytes)
}

/// Takes what a lease offers: `KEY=value` lines.
fn read_lease(lease: &str, option: u8, sources: &mut Sources) {
    let option = format!("OPTION_{option}");
    for (key, value) in lease.lines().filter_map(|line| line.split_once('=')) {
        if key == REDIRECT || key == option {
            let uris = unhex(value).map(|bytes| redirects(&bytes));
            for server in uris.unwrap_or_default() {
                if !sources.servers.contains(&server) {
                    sources.servers.push(server);
                }
            }
        } else if key == "DNS" {
            let addresses = value
                .split_whitespace()
                .filter_map(|text| text.parse::<IpAddr>().ok());
            for address in addresses {
                if !sources.resolvers.contains(&address) {
                    sources.resolvers.push(address);
                }
            }
        } else if key == "DOMAINNAME" && sources.domain.is_none() && is_name(value) {
            sources.domain = Some(value.to_owned());
        }
    }
}

/// Reads the option's list of URIs, each with its length before it; the rest after a broken one is
/// left.
fn redirects(mut option: &[u8]) -> Vec<BootstrapServer> {
    let mut servers = Vec::new();
    while let Some((len, rest)) = option.split_first_chunk::<2>() {
        let len = usize::from(u16::from_be_bytes(*len));
        let Some((uri, rest)) = rest.split_at_checked(len) else {
            break;
        };
        option = rest;
        servers.extend(core::str::from_utf8(uri).ok().and_then(server));
    }
    servers
}

/// The server of an `https` URI: only host and port count (RFC 8572, 8.1).
fn server(uri: &str) -> Option<BootstrapServer> {
    let rest = uri.strip_prefix("https://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, rest) = rest.split_once(']')?;
            let address: core::net::Ipv6Addr = address.parse().ok()?;
            (address.to_string(), rest.strip_prefix(':'))
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host.to_owned(), Some(port)),
            None => (authority.to_owned(), None),
        },
    };
    let port = port.map_or(Some(443), |port| port.parse().ok())?;
    let is_host = host.contains(':') || is_name(&host);
    (is_host && port != 0).then_some(BootstrapServer { host, port })
}

fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=63).contains(&label.len()) && label.bytes().all(is_part)
    };
    text.len() <= NAME_MAX && text.split('.').all(is_label)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(core::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("bartizan-{name}-{}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn put(&self, name: &str, content: impl AsRef<[u8]>) {
            fs::write(self.0.join(name), content).unwrap();
        }

        fn discovery(&self) -> Discovery {
            Discovery {
                media: self.0.clone(),
                leases: self.0.clone(),
                dhcp_option: 230,
                servers: vec![at("image.example", 443)],
            }
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn at(host: &str, port: u16) -> BootstrapServer {
        BootstrapServer {
            host: host.into(),
            port,
        }
    }

    fn option(uris: &[&str]) -> String {
        let mut hex = String::new();
        for uri in uris {
            let len = u16::try_from(uri.len()).unwrap().to_be_bytes();
            for byte in len.iter().chain(uri.as_bytes()) {
                write!(hex, "{byte:02x}").unwrap();
            }
        }
        hex
    }

    #[test]
    fn the_leases_come_before_the_images_list() {
        let folder = Folder::new("leases");
        let uris = [
            "https://owner.example",
            "https://192.0.2.7:8443/restconf",
            "https://[2001:db8::7]:444/",
            "http://clear.example",
            "https://bad host",
            "https://zero.example:0",
        ];
        folder.put(
            "2",
            format!(
                "# private\nDNS=192.0.2.53 2001:db8::53 x\nDOMAINNAME=site.example\nOPTION_143={}\n",
                option(&uris)
            ),
        );
        let again = ["https://owner.example", "https://private.example"];
        folder.put("3", format!("OPTION_230={}\n", option(&again)));
        folder.put(
            "4",
            format!("OPTION_224={}\n", option(&["https://other.example"])),
        );
        let sources = look(&folder.discovery());
        let expected = [
            at("owner.example", 443),
            at("192.0.2.7", 8443),
            at("2001:db8::7", 444),
            at("private.example", 443),
            at("image.example", 443),
        ];
        assert_eq!(sources.servers, expected);
        assert_eq!(sources.resolvers.len(), 2);
        assert_eq!(sources.domain.as_deref(), Some("site.example"));
        assert!(sources.media.is_none());
    }

    #[test]
    fn a_lease_as_networkd_writes_it_names_a_server() {
        let folder = Folder::new("recorded");
        folder.put("3", include_str!("sources/lease.txt"));
        let mut discovery = folder.discovery();
        assert_eq!(look(&discovery).servers, [at("image.example", 443)]);
        discovery.dhcp_option = 224;
        let sources = look(&discovery);
        assert_eq!(
            sources.servers,
            [at("a.b.cd", 443), at("image.example", 443)]
        );
        assert_eq!(sources.resolvers, ["192.0.2.53".parse::<IpAddr>().unwrap()]);
        assert_eq!(sources.domain.as_deref(), Some("site.example"));
    }

    #[test]
    fn an_option_that_is_broken_ends_where_it_breaks() {
        let mut option = option(&["https://owner.example"]);
        option.push_str("ffff00");
        assert_eq!(
            redirects(&unhex(&option).unwrap()),
            [at("owner.example", 443)]
        );
        assert_eq!(unhex("0g"), None);
        assert_eq!(unhex("0"), None);
    }

    #[test]
    fn media_count_as_a_whole_and_up_to_their_size() {
        let folder = Folder::new("media");
        let names = [CONVEYED_INFORMATION, OWNER_CERTIFICATE, OWNERSHIP_VOUCHER];
        for (place, name) in names.iter().enumerate() {
            assert!(look(&folder.discovery()).media.is_none(), "{place}");
            folder.put(name, [7; 100]);
        }
        let media = look(&folder.discovery()).media.unwrap();
        assert_eq!(media.ownership_voucher, [7; 100]);
        folder.put(OWNER_CERTIFICATE, vec![7; ARTIFACTS_MAX - 200]);
        assert!(look(&folder.discovery()).media.is_some());
        folder.put(OWNER_CERTIFICATE, vec![7; ARTIFACTS_MAX - 199]);
        assert!(look(&folder.discovery()).media.is_none());
    }

    #[test]
    fn what_is_not_there_is_no_source() {
        let nowhere = Discovery {
            media: "/nonexistent".into(),
            leases: "/nonexistent".into(),
            dhcp_option: 224,
            servers: vec![],
        };
        assert_eq!(look(&nowhere), Sources::default());
    }
}
