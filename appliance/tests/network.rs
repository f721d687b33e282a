//! The site's network: on trial until the controller is reached, back to what worked if it is not.
#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use bartizan::folder::Folder;
use bartizan::network::{CHANGED, NetworkFolder, file};
use bartizan::trial::{Change, LIMIT, Trial};
use bartizan_model::ownership::{Interface, Port, Route, SiteNetwork};
use bartizan_model::policy::Prefix;
use bartizan_model::time::BootTime;

const NOW: BootTime = BootTime(Duration::from_secs(1000));

#[test]
fn a_network_that_reaches_the_controller_stays() {
    let wanted = network("192.0.2.1");
    let mut trial = Trial::default();
    let applied = [Change::Apply(Some(wanted.clone()))];
    assert_eq!(trial.begin(NOW, &wanted), applied);
    assert_eq!(trial.deadline(), Some(NOW.after(LIMIT)));
    let last = NOW.after(Duration::from_millis(59_999));
    assert_eq!(trial.tick(last), []);
    assert_eq!(trial.reached(), [Change::Settle(wanted)]);
    assert_eq!(trial.deadline(), None);
    assert_eq!(trial.tick(NOW.after(LIMIT * 100)), []);
    assert_eq!(trial.reached(), [], "once");
}

#[test]
fn a_network_that_does_not_goes_after_a_minute_and_what_worked_comes_back() {
    for settled in [None, Some(network("192.0.2.1"))] {
        let wanted = network("192.0.2.2");
        let mut trial = Trial::new(settled.clone(), None);
        trial.begin(NOW, &wanted);
        let back = [
            Change::Refuse(wanted.clone()),
            Change::Apply(settled.clone()),
        ];
        assert_eq!(trial.tick(NOW.after(LIMIT)), back);
        assert_eq!(trial.reached(), [], "what worked was reached by, no more");
        assert_eq!(trial.begin(NOW, &wanted), [Change::Apply(settled)]);
        assert_eq!(trial.deadline(), None, "it is not tried again");
    }
}

#[test]
fn what_earlier_boots_found_out_counts() {
    let (works, fails) = (network("192.0.2.1"), network("192.0.2.2"));
    let mut trial = Trial::new(Some(works.clone()), Some(fails.clone()));
    assert_eq!(
        trial.begin(NOW, &works),
        [Change::Apply(Some(works.clone()))]
    );
    assert_eq!(trial.deadline(), None);
    assert_eq!(trial.begin(NOW, &fails), [Change::Apply(Some(works))]);
    assert_eq!(trial.deadline(), None);
    let other = network("192.0.2.3");
    trial.begin(NOW, &other);
    assert!(trial.deadline().is_some(), "another one is tried");
}

#[test]
fn without_interfaces_the_image_configures_them_and_nothing_is_tried() {
    let mut trial = Trial::default();
    let nothing = SiteNetwork::default();
    assert_eq!(trial.begin(NOW, &nothing), [Change::Apply(None)]);
    assert_eq!(trial.deadline(), None);
}

#[test]
fn with_its_owner_a_network_goes() {
    let mut trial = Trial::new(Some(network("192.0.2.1")), None);
    assert_eq!(trial.end(), [Change::Forget, Change::Apply(None)]);
}

#[test]
fn a_file_says_what_networkd_reads() {
    let network = whole();
    let mgmt0 = "[Match]\nName=mgmt0\n\n\
        [Network]\nDHCP=yes\nIPv6AcceptRA=yes\nDNS=192.0.2.53\nNTP=2001:db8::123\n";
    assert_eq!(file(&network, Port::Mgmt0).as_deref(), Some(mgmt0));
    let wan0 = "[Match]\nName=wan0\n\n\
        [Network]\nDHCP=no\nIPv6AcceptRA=no\nAddress=192.0.2.1/24\nAddress=2001:db8::1/64\n\n\
        [Route]\nDestination=0.0.0.0/0\nGateway=192.0.2.254\n";
    assert_eq!(file(&network, Port::Wan0).as_deref(), Some(wan0));
    assert_eq!(file(&network, Port::Lan0), None);
}

#[test]
fn the_files_are_there_before_they_are_told_of_and_go_with_their_network() {
    let path = std::env::temp_dir().join(format!("bartizan-network-{}", std::process::id()));
    fs::create_dir(&path).unwrap();
    let folder = NetworkFolder::new(Folder::open(&path).unwrap());
    for change in [Change::Apply(Some(whole())), Change::Settle(whole())] {
        folder.carry_out(&change).unwrap();
    }
    let expected = [CHANGED, "mgmt0.network", "settled.json", "wan0.network"];
    assert_eq!(names(&path), expected);
    assert_eq!(folder.settled().unwrap(), Some(whole()));
    folder.carry_out(&Change::Refuse(whole())).unwrap();
    assert_eq!(folder.refused().unwrap(), Some(whole()));
    for change in Trial::default().end() {
        folder.carry_out(&change).unwrap();
    }
    assert_eq!(names(&path), [CHANGED]);
    assert_eq!(folder.settled().unwrap(), None);
    fs::remove_dir_all(path).unwrap();
}

fn names(path: &PathBuf) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn network(address: &str) -> SiteNetwork {
    SiteNetwork {
        interfaces: vec![Interface {
            port: Port::Wan0,
            addresses: vec![(address.parse().unwrap(), 24)],
            dhcp: false,
        }],
        ..SiteNetwork::default()
    }
}

fn whole() -> SiteNetwork {
    let address = |text: &str| text.parse().unwrap();
    SiteNetwork {
        interfaces: vec![
            Interface {
                port: Port::Mgmt0,
                addresses: vec![],
                dhcp: true,
            },
            Interface {
                port: Port::Wan0,
                addresses: vec![(address("192.0.2.1"), 24), (address("2001:db8::1"), 64)],
                dhcp: false,
            },
        ],
        routes: vec![Route {
            destination: Prefix::ANY_V4,
            gateway: address("192.0.2.254"),
            port: Port::Wan0,
        }],
        dns: vec![address("192.0.2.53")],
        ntp: vec![address("2001:db8::123")],
    }
}
