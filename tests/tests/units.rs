//! The service manager of the testbed: a role that runs under it runs as its unit file says.

use std::{
    fs,
    io::{IoSlice, Read, Seek, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, AsRawFd},
        unix::net::UnixDatagram,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use bartizan_tests::{
    in_guest,
    testbed::{
        appliance::{Appliance, Start},
        boot::Boot,
        guest::binaries,
        netns::Netns,
    },
    units::event::What,
};
use rustix::{
    fs::{MemfdFlags, memfd_create},
    io::Errno,
    net::{
        AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketType, sendmsg,
        socket,
    },
    process::Signal,
};

const LIMIT: Duration = Duration::from_secs(20);

/// A folder of units whose programs are the services below; each with its lines.
fn units(services: &[(&str, &str, &str)]) -> PathBuf {
    let folder = PathBuf::from("/run/units");
    let own = std::env::current_exe().unwrap();
    // Where every user can reach it.
    let program = binaries().join("deps").join(own.file_name().unwrap());
    fs::create_dir_all(&folder).unwrap();
    fs::write(
        folder.join("bartizan.sysusers"),
        "g roles -\nu one - \"one\" -\nu two - \"two\" -\n",
    )
    .unwrap();
    for (unit, test, lines) in services {
        let program = program.display();
        let text = format!(
            "[Service]\nType=notify\nExecStart={program} --exact {test} --include-ignored --nocapture\n{lines}\n"
        );
        fs::write(folder.join(unit), text).unwrap();
    }
    folder
}

fn start(services: &[(&str, &str, &str)]) -> (Netns, Appliance) {
    let gateway = Netns::new("gw");
    fs::create_dir_all("/run/configuration").unwrap();
    fs::write("/run/configuration/appliance.toml", "text").unwrap();
    let start = Start {
        units: Some(units(services)),
        configuration: PathBuf::from("/run/configuration"),
        only: Vec::new(),
        tpm: None,
        measured: None,
    };
    let appliance = Appliance::start(&gateway, "a", &start);
    (gateway, appliance)
}

fn notify(text: &str) {
    let socket = UnixDatagram::unbound().unwrap();
    socket
        .connect(std::env::var_os("NOTIFY_SOCKET").unwrap())
        .unwrap();
    socket.send(text.as_bytes()).unwrap();
}

/// Until it is killed: says that it lives, as often as it should.
fn live() -> ! {
    let watchdog: u64 = std::env::var("WATCHDOG_USEC").unwrap().parse().unwrap();
    loop {
        std::thread::park_timeout(Duration::from_micros(watchdog / 3));
        notify("WATCHDOG=1");
    }
}

#[test]
#[ignore = "a service that the tests below start"]
fn tells_what_it_has() {
    println!("{}", fs::read_to_string("/proc/self/status").unwrap());
    println!("{}", fs::read_to_string("/proc/self/limits").unwrap());
    println!(
        "interfaces {}",
        fs::read_to_string("/proc/self/net/dev")
            .unwrap()
            .lines()
            .count()
            - 2
    );
    println!(
        "listen {}",
        std::env::var("LISTEN_FDNAMES").unwrap_or_default()
    );
    println!(
        "configuration {}",
        fs::read_to_string("/etc/bartizan/appliance.toml").unwrap()
    );
    println!("chroot {:?}", rustix::process::chroot("/"));
    for family in [AddressFamily::UNIX, AddressFamily::INET] {
        let socket = socket(family, SocketType::DGRAM, None).map(drop);
        println!("socket {family:?} {socket:?}");
    }
    println!(
        "environment {}",
        std::env::var("SPECIAL").unwrap_or_default()
    );
    notify("READY=1");
    live();
}

#[test]
#[ignore = "a service that the tests below start"]
fn keeps_a_number() {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut file = if names == "number" {
        // The manager passes it as descriptor 3; this opens the same file once more.
        fs::File::options()
            .read(true)
            .write(true)
            .open("/proc/self/fd/3")
            .unwrap()
    } else {
        fs::File::from(memfd_create("number", MemfdFlags::empty()).unwrap())
    };
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    let number = text.parse().unwrap_or(0) + 1;
    println!("the number is {number}");
    file.rewind().unwrap();
    write!(file, "{number}").unwrap();

    let socket = UnixDatagram::unbound().unwrap();
    socket
        .connect(std::env::var_os("NOTIFY_SOCKET").unwrap())
        .unwrap();
    let fds = [file.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(&fds)));
    notify("FDSTOREREMOVE=1\nFDNAME=number");
    let text = [IoSlice::new(b"FDSTORE=1\nFDNAME=number")];
    sendmsg(&socket, &text, &mut ancillary, SendFlags::empty()).unwrap();
    notify("READY=1");
    assert!(file.as_raw_fd() > 2);
    live();
}

#[test]
#[ignore = "a service that the tests below start"]
fn gives_up() {
    std::process::exit(78);
}

#[test]
fn a_service_has_what_its_unit_grants_and_no_more() {
    in_guest!(Boot::uml(), || {
        // What every role has that ships, and what differs among them.
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../appliance/units/bartizan-.service.d/hardening.conf");
        fs::create_dir_all("/run/units/service.d").unwrap();
        fs::copy(shipped, "/run/units/service.d/hardening.conf").unwrap();
        let one = "User=one\nGroup=roles\nCapabilityBoundingSet=\nPrivateNetwork=yes\nEnvironment=SPECIAL=yes\n\
                   RestrictAddressFamilies=AF_UNIX";
        let two = "User=two\nGroup=roles\nCapabilityBoundingSet=CAP_NET_ADMIN\n\
                   AmbientCapabilities=CAP_NET_ADMIN\nSupplementaryGroups=tss\n\
                   RestrictAddressFamilies=AF_UNIX AF_NETLINK";
        let (gateway, mut appliance) = start(&[
            ("one.service", "tells_what_it_has", one),
            ("two.service", "tells_what_it_has", two),
        ]);
        gateway.ip(&["link add extra type dummy"]);
        appliance.wait_ready(&["one.service"], LIMIT);
        let one =
            fs::read_to_string(format!("/proc/{}/status", appliance.pid("one.service"))).unwrap();
        appliance.wait_ready(&["two.service"], LIMIT);
        let two =
            fs::read_to_string(format!("/proc/{}/status", appliance.pid("two.service"))).unwrap();

        let field = |status: &str, name: &str| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .unwrap();
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        let none = "0000000000000000";
        let net_admin = "0000000000001000";
        for (status, capabilities) in [(&one, none), (&two, net_admin)] {
            for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
                assert_eq!(field(status, set), capabilities, "{set}");
            }
            assert_eq!(field(status, "NoNewPrivs:"), "1");
            assert_eq!(field(status, "Seccomp_filters:"), "3");
            assert_eq!(field(status, "Umask:"), "0777");
            let uids = field(status, "Uid:");
            let uid = uids.split(' ').next().unwrap();
            assert_ne!(uid, "0");
            assert!(uids.split(' ').all(|other| other == uid), "{uids}");
        }
        assert_ne!(field(&one, "Uid:"), field(&two, "Uid:"));
        assert_eq!(field(&one, "Gid:"), field(&two, "Gid:"));
        assert_eq!(field(&one, "Groups:"), "");
        assert_ne!(field(&two, "Groups:"), "");

        let journal = appliance.journal();
        println!("{journal}");
        assert!(
            journal.contains("Max core file size        0                    0"),
            "{journal}"
        );
        assert!(
            journal.contains("Max locked memory         8388608              8388608"),
            "{journal}"
        );
        assert!(
            journal.contains("Max open files            1024                 1024"),
            "{journal}"
        );
        assert!(journal.contains("configuration text"), "{journal}");
        assert!(journal.contains("environment yes"), "{journal}");
        assert!(
            journal.contains(&format!("chroot {:?}", Err::<(), _>(Errno::PERM))),
            "{journal}"
        );
        let refused = |family| format!("socket {family:?} {:?}", Err::<(), _>(Errno::AFNOSUPPORT));
        assert!(journal.contains(&refused(AddressFamily::INET)), "{journal}");
        assert!(
            !journal.contains(&refused(AddressFamily::UNIX)),
            "{journal}"
        );
        // One has a network of its own with a loopback only; two has the gateway's.
        assert!(journal.contains("interfaces 1"), "{journal}");
        assert!(journal.contains("interfaces 2"), "{journal}");
        assert!(
            !Path::new("/etc/bartizan").exists(),
            "the files of the guest itself are as they were"
        );
        appliance.stop();
    });
}

#[test]
fn a_service_that_hangs_or_dies_is_started_again_with_what_it_stored() {
    in_guest!(Boot::uml(), || {
        let lines =
            "User=one\nWatchdogSec=1\nRestart=always\nRestartSec=10ms\nFileDescriptorStoreMax=1";
        let (_gateway, mut appliance) = start(&[("one.service", "keeps_a_number", lines)]);
        appliance.wait_ready(&["one.service"], LIMIT);
        appliance.signal("one.service", Signal::KILL);
        appliance.wait_for(LIMIT, |event| {
            matches!(
                event.what,
                What::Ended {
                    signal: Some(9),
                    ..
                }
            )
        });
        appliance.wait_ready(&["one.service"], LIMIT);
        appliance.signal("one.service", Signal::STOP);
        appliance.wait_for(LIMIT, |event| event.what == What::WatchdogExpired);
        appliance.wait_for(LIMIT, |event| {
            matches!(
                event.what,
                What::Ended {
                    signal: Some(6),
                    ..
                }
            )
        });
        appliance.wait_ready(&["one.service"], LIMIT);
        let journal = appliance.journal();
        for line in ["the number is 1", "the number is 2", "the number is 3"] {
            assert!(journal.contains(line), "{journal}");
        }
        appliance.stop();
    });
}

#[test]
fn a_final_exit_code_is_final() {
    in_guest!(Boot::uml(), || {
        let lines = "User=one\nRestart=always\nRestartSec=10ms\nRestartPreventExitStatus=78";
        let (_gateway, mut appliance) = start(&[("one.service", "gives_up", lines)]);
        appliance.wait_for(LIMIT, |event| event.what == What::Failed);
        let starts = appliance
            .past()
            .iter()
            .filter(|event| matches!(event.what, What::Started { .. }));
        assert_eq!(starts.count(), 1);
        appliance.stop();
    });
}
