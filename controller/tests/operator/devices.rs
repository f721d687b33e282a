use std::fs;

use bartizan_controller::device::Kind;

use crate::office::{Office, text};

#[test]
fn a_device_is_added_shown_and_found_again() {
    let mut office = Office::open();
    assert_eq!(office.device("list"), "");
    let line = office.device("add BZ-0001 gw-a.example");
    assert_eq!(
        line.trim_end(),
        "BZ-0001  gw-a.example  expected  never attested"
    );
    let endorsement = format!("ek-{}", "a1".repeat(20));
    office.device(&format!("add {endorsement} gw-b.example"));
    office.restart();
    let list = office.device("list");
    assert_eq!(list.lines().count(), 2, "{list}");
    let device = office.shown("BZ-0001");
    assert_eq!(
        (device.kind, device.state.as_str()),
        (Kind::Idevid, "expected")
    );
    assert_eq!(office.shown(&endorsement).kind, Kind::Ek);
    let page = office.device("show BZ-0001");
    assert!(page.contains("not connected"), "{page}");
}

#[test]
fn what_is_wrong_is_said_with_what_to_do() {
    let office = Office::open();
    office.device("add BZ-0001 gw-a.example");
    for (line, why) in [
        ("show BZ-0002", "add it with `device add`"),
        ("add BZ-0001 gw-b.example", "see `device show`"),
        ("add BZ-0002 gw-a.example", "is the node of BZ-0001"),
        ("add BZ-0002 GW", "NODE"),
        (
            "approve BZ-0001",
            "approval has no meaning for a device that is expected",
        ),
        ("site BZ-0001 absent.toml", "absent.toml"),
        ("attest BZ-0001 --wait 0", "did not attest in time"),
        ("revoke", "usage"),
        ("revoke BZ-0001 BZ-0002", "usage"),
        ("revoke BZ-0001 --force", "usage"),
    ] {
        let text = office.refused(line);
        assert!(text.contains(why), "{line}: {text}");
    }
    let output = office.run("device list --socket nowhere");
    assert!(text(&output).contains("does `bartizan-controller serve` run"));
}

#[test]
fn a_site_is_read_from_a_file_with_its_certificates() {
    let office = Office::open();
    let site = "addresses = [\"192.0.2.1\", \"2001:db8::1\"]\npeer-port = 9062\n\
        [[kme]]\naddress = \"192.0.2.9:443\"\nname = \"kme-a.example\"\n\
        anchors = \"owner-ca.pem\"\nsae = \"sae-a\"\n";
    fs::write(office.folder.join("site.toml"), site).unwrap();
    office.device("add BZ-0001 gw-a.example --site site.toml");
    let shown = office.shown("BZ-0001").site;
    assert_eq!((shown.addresses.len(), shown.peer_port), (2, 9062));
    assert_eq!(shown.kmes[0].anchors[0].0, office.owner.der().to_vec());
    fs::write(office.folder.join("site.toml"), "peer-port = 0\n").unwrap();
    let text = office.refused("site BZ-0001 site.toml");
    assert!(text.contains("no such port"), "{text}");
    fs::write(office.folder.join("site.toml"), "peer-port = 9063\n").unwrap();
    office.device("site BZ-0001 site.toml");
    assert_eq!(office.shown("BZ-0001").site.peer_port, 9063);
}

#[test]
fn a_revoked_device_comes_back_by_a_transfer_alone_and_a_retired_one_never() {
    let mut office = Office::open();
    office.device("add BZ-0001 gw-a.example");
    office.device("revoke BZ-0001");
    office.restart();
    assert_eq!(office.shown("BZ-0001").state, "revoked");
    office.refused("approve BZ-0001");
    let voucher = office.voucher("BZ-0001", 1);
    office.device(&format!("transfer {voucher}"));
    let device = office.shown("BZ-0001");
    assert_eq!((device.state.as_str(), device.epoch), ("expected", Some(1)));
    assert_eq!(device.history.unwrap().transfers.len(), 1);
    let again = office.refused(&format!("transfer {voucher}"));
    assert!(again.contains("not above 1"), "{again}");
    office.device("retire BZ-0001");
    let next = office.voucher("BZ-0001", 2);
    let text = office.refused(&format!("transfer {next}"));
    assert!(text.contains("retired"), "{text}");
}

#[test]
fn the_page_shows_every_command_as_its_usage_does() {
    let page = include_str!("../../man/bartizan-controller.8.md")
        .replace("**", "")
        .replace('*', "");
    let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
    let usage = text(&Office::open().run("nothing"));
    let (_, usage) = usage.split_once("usage: ").unwrap();
    let commands: Vec<_> = usage.split("bartizan-controller ").collect();
    assert!(commands.len() > 16, "{usage}");
    for command in commands {
        let command = command.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(page.contains(&command), "{command}");
    }
}
