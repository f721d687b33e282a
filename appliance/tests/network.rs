//! The site's network: on trial until the controller is reached over it, back to what worked if not.
#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use bartizan::folder::Folder;
use bartizan::network::{CHANGED, NetworkFolder, file};
use bartizan::trial::{Change, LIMIT, Refused, Trial};
use bartizan_model::ownership::{Interface, Port, Route, SiteNetwork};
use bartizan_model::policy::Prefix;
use bartizan_model::report::NetworkState;
use bartizan_model::time::BootTime;

const NOW: BootTime = BootTime(Duration::from_secs(1000));
const ALMOST: Duration = Duration::from_millis(59_999);

#[test]
fn a_network_over_which_the_controller_is_reached_stays() {
    let wanted = network("192.0.2.1");
    let mut trial = Trial::default();
    let applied = [Change::Apply(Some(wanted.clone()))];
    assert_eq!(trial.begin(NOW, &wanted), applied);
    assert!(trial.awaits_application());
    assert_eq!(trial.applied(NOW), [Change::CallAnew]);
    trial.called_anew();
    assert_eq!(trial.deadline(), Some(NOW.after(LIMIT)));
    let last = NOW.after(ALMOST);
    assert_eq!(trial.tick(last), []);
    assert_eq!(trial.reached(last), [Change::Settle(wanted)]);
    assert_eq!(trial.state(), NetworkState::Settled);
    assert_eq!(trial.deadline(), None);
    assert_eq!(trial.tick(NOW.after(LIMIT * 100)), []);
    assert_eq!(trial.reached(last), [], "once");
}

#[test]
fn a_session_over_the_network_before_proves_nothing() {
    let wanted = network("192.0.2.1");
    let mut trial = Trial::default();
    trial.begin(NOW, &wanted);
    assert_eq!(trial.reached(NOW), [], "the interfaces do not have it yet");
    trial.called_anew();
    assert_eq!(trial.reached(NOW), [], "nobody was told to call anew");
    trial.applied(NOW);
    assert_eq!(trial.state(), NetworkState::OnTrial);
    assert_eq!(trial.reached(NOW), [], "this session may be the old one");
    let end = NOW.after(LIMIT);
    assert_eq!(trial.tick(end).len(), 2, "it does not work");
    assert_eq!(trial.state(), NetworkState::RolledBack);
    assert_eq!(trial.reached(end), []);
}

#[test]
fn a_network_that_does_not_work_goes_after_a_minute_and_what_worked_comes_back() {
    for settled in [None, Some(network("192.0.2.1"))] {
        for is_applied in [false, true] {
            let wanted = network("192.0.2.2");
            let mut trial = Trial::new(settled.clone(), None);
            trial.begin(NOW, &wanted);
            if is_applied {
                trial.applied(NOW);
                trial.called_anew();
            }
            let end = NOW.after(LIMIT);
            let refused = refused(&wanted, end);
            let back = [Change::Refuse(refused), Change::Apply(settled.clone())];
            assert_eq!(trial.tick(end), back);
            assert_eq!(trial.reached(end), [], "over what worked, no more");
            assert!(trial.awaits_application());
            assert_eq!(trial.applied(end), [Change::CallAnew], "over what worked");
            assert_eq!(trial.applied(end), [], "once");
            assert_eq!(trial.begin(end, &wanted), [Change::Apply(settled.clone())]);
            assert_eq!(trial.state(), NetworkState::RolledBack);
            assert_eq!(trial.deadline(), None, "it is not tried again");
        }
    }
}

#[test]
fn a_network_that_waits_for_its_interfaces_waits_while_the_controller_is_reached() {
    let mut trial = Trial::default();
    trial.begin(NOW, &network("192.0.2.1"));
    let later = NOW.after(LIMIT * 100);
    assert_eq!(trial.reached(later), []);
    assert_eq!(trial.tick(later.after(ALMOST)), []);
    assert_eq!(trial.tick(later.after(LIMIT)).len(), 2);
}

#[test]
fn what_earlier_boots_found_out_counts() {
    let (works, fails) = (network("192.0.2.1"), network("192.0.2.2"));
    let mut trial = Trial::new(Some(works.clone()), Some(refused(&fails, NOW)));
    let applied = [Change::Apply(Some(works.clone()))];
    assert_eq!(trial.begin(NOW, &works), applied);
    assert_eq!(trial.state(), NetworkState::Settled);
    assert_eq!(trial.begin(NOW, &fails), applied, "not in the same boot");
    assert_eq!(trial.deadline(), None);
    let other = network("192.0.2.3");
    trial.begin(NOW, &other);
    assert!(trial.deadline().is_some(), "another one is tried");
}

#[test]
fn a_later_boot_tries_again_what_an_earlier_one_refused() {
    let (works, fails) = (network("192.0.2.1"), network("192.0.2.2"));
    let mut trial = Trial::new(Some(works), Some(refused(&fails, NOW)));
    let earlier = BootTime(Duration::from_secs(10));
    assert_eq!(
        trial.begin(earlier, &fails),
        [Change::Apply(Some(fails.clone()))]
    );
    trial.applied(earlier);
    trial.called_anew();
    assert_eq!(trial.reached(earlier), [Change::Settle(fails)]);
}

#[test]
fn where_nothing_can_be_tried_what_worked_is_taken() {
    let (works, other) = (network("192.0.2.1"), network("192.0.2.2"));
    let mut trial = Trial::new(Some(works.clone()), None);
    assert_eq!(trial.stay(&other), [Change::Apply(Some(works.clone()))]);
    assert_eq!(trial.state(), NetworkState::RolledBack);
    assert_eq!(trial.stay(&works), [Change::Apply(Some(works))]);
    assert_eq!(trial.state(), NetworkState::Settled);
    assert_eq!(trial.deadline(), None);
}

#[test]
fn without_interfaces_the_image_configures_them_and_nothing_is_tried() {
    let nothing = SiteNetwork::default();
    for begin in [Trial::stay, |trial: &mut Trial, wanted: &_| {
        trial.begin(NOW, wanted)
    }] {
        let mut trial = Trial::default();
        assert_eq!(begin(&mut trial, &nothing), [Change::Apply(None)]);
        assert_eq!(trial.deadline(), None);
        assert_eq!(trial.state(), NetworkState::Image);
    }
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
    let path = fresh("files");
    let folder = NetworkFolder::new(Folder::open(&path).unwrap(), path.join("applied"));
    for change in [Change::Apply(Some(whole())), Change::Settle(whole())] {
        folder.carry_out(&change).unwrap();
    }
    let expected = [CHANGED, "mgmt0.network", "settled.json", "wan0.network"];
    assert_eq!(names(&path), expected);
    assert_eq!(folder.settled().unwrap(), Some(whole()));
    let refused = refused(&whole(), NOW);
    folder.carry_out(&Change::Refuse(refused.clone())).unwrap();
    assert_eq!(folder.refused().unwrap(), Some(refused));
    for change in Trial::default().end() {
        folder.carry_out(&change).unwrap();
    }
    assert_eq!(names(&path), [CHANGED]);
    assert_eq!(folder.settled().unwrap(), None);
    fs::remove_dir_all(path).unwrap();
}

#[test]
fn a_network_is_applied_when_networkd_has_read_what_was_written_last() {
    let path = fresh("applied");
    let told = path.join("applied");
    let folder = NetworkFolder::new(Folder::open(&path).unwrap(), told.clone());
    assert!(!folder.is_applied().unwrap(), "nothing was written");
    let apply = |network| folder.carry_out(&Change::Apply(network)).unwrap();
    let read = || fs::copy(path.join(CHANGED), &told).unwrap();
    let written = || fs::metadata(path.join(CHANGED)).unwrap().ino();
    apply(Some(whole()));
    assert!(!folder.is_applied().unwrap(), "networkd was not told");
    let first = written();
    apply(Some(whole()));
    assert_ne!(written(), first, "who tells it is told again");
    read();
    assert!(folder.is_applied().unwrap());
    let first = written();
    apply(Some(whole()));
    assert_eq!(written(), first, "what stands is left alone");
    apply(None);
    assert!(!folder.is_applied().unwrap(), "of another it was told");
    read();
    assert!(folder.is_applied().unwrap());
    fs::remove_dir_all(path).unwrap();
}

fn fresh(name: &str) -> PathBuf {
    let name = format!("bartizan-network-{name}-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
    fs::create_dir(&path).unwrap();
    path
}

fn refused(network: &SiteNetwork, at: BootTime) -> Refused {
    let network = network.clone();
    Refused { network, at }
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
