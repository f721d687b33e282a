use std::fs;

use rcgen::KeyPair;

use crate::office::{Office, authority, text};

#[test]
fn a_voucher_is_made_shown_and_kept() {
    let office = Office::open();
    office.device("add BZ-0001 gw-a.example");
    let file = office.voucher("BZ-0001", 3);
    let shown = office.run(&format!(
        "voucher show {file} --es384 maker.pem --ml-dsa-65 maker.pub"
    ));
    let words = text(&shown);
    assert!(shown.status.success(), "{words}");
    assert!(words.contains("serial BZ-0001\nepoch 3\n"), "{words}");
    office.device(&format!("voucher {file}"));
    assert_eq!(office.shown("BZ-0001").epoch, Some(3));
    // The older one would lead back.
    let older = office.voucher("BZ-0001", 2);
    let refused = office.refused(&format!("voucher {older}"));
    assert!(refused.contains("epoch 2"), "{refused}");
}

#[test]
fn a_voucher_that_stands_is_never_written_over() {
    let office = Office::open();
    let file = office.voucher("BZ-0001", 1);
    let before = fs::read(office.folder.join(&file)).unwrap();
    let output = office.run(&format!(
        "voucher make --serial BZ-0001 --epoch 9 --days 1 --owner-ca owner-ca.pem \
         --owner-ml-dsa-65 owner.pub --certificates signer.pem --key signer-key.pem \
         --ml-dsa-65-key maker.p8 --output {file}"
    ));
    assert!(!output.status.success());
    assert_eq!(fs::read(office.folder.join(&file)).unwrap(), before);
}

/// Each of these is refused by the controller before its device ever sees it.
#[test]
fn a_voucher_that_does_not_count_is_refused() {
    let office = Office::open();
    office.device("add BZ-0001 gw-a.example");
    let stranger = office.voucher("BZ-0002", 1);
    let why = office.refused(&format!("voucher {stranger}"));
    assert!(why.contains("BZ-0002 is no device of ours"), "{why}");

    let good = office.voucher("BZ-0001", 1);
    let mut bytes = fs::read(office.folder.join(&good)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(office.folder.join("damaged"), &bytes).unwrap();
    let why = office.refused("voucher damaged");
    assert!(why.contains("signed by no maker that is known"), "{why}");

    // Another owner's.
    let other = authority();
    let own = office.owner.pem();
    fs::write(office.folder.join("owner-ca.pem"), other.pem()).unwrap();
    let foreign = office.voucher("BZ-0001", 4);
    fs::write(office.folder.join("owner-ca.pem"), own).unwrap();
    let why = office.refused(&format!("voucher {foreign}"));
    assert!(why.contains("an owner with another"), "{why}");
    assert_eq!(office.shown("BZ-0001").epoch, None);
}

#[test]
fn a_key_that_is_none_is_named() {
    let office = Office::open();
    fs::write(
        office.folder.join("signer-key.pem"),
        KeyPair::generate().unwrap().serialize_pem(),
    )
    .unwrap();
    let output = office.run(
        "voucher make --serial BZ-0001 --epoch 9 --days 1 --owner-ca owner-ca.pem \
         --owner-ml-dsa-65 owner.pub --certificates signer.pem --key signer-key.pem \
         --ml-dsa-65-key maker.p8 --output out",
    );
    assert!(text(&output).contains("--key is no P-384 private key"));
    assert!(!office.folder.join("out").exists());
}
