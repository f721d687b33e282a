//! A box asks whose it is (RFC 8572, over RESTCONF), as far as HTTP carries it.

use std::fs;

use bartizan_bootstrap_protocol::sztp::{
    Answer, GET_BOOTSTRAPPING_DATA, MEDIA_TYPE, Progress, Question, REPORT_PROGRESS, Step, Wanted,
};
use bartizan_tls::Application;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::boxes::meet;
use crate::owner::{LIMIT, Owner};
use crate::tpm::{Maker, Tpm};

const SERIAL: &str = "BZ-0001";

/// An owner with something to tell the box with this TPM.
fn owner() -> (Owner, Tpm) {
    let mut owner = Owner::new();
    let mut tpm = owner.tpm();
    tpm.certify_by(&owner.box_maker, SERIAL);
    owner.add_certified(SERIAL, "gw-a.example", Vec::new());
    fs::create_dir_all(owner.artifacts().join(SERIAL)).unwrap();
    for (name, bytes) in [
        ("conveyed-information.cms", "for all"),
        ("owner-certificate.cms", "the owner"),
        ("ownership-voucher.cms", "a voucher for nobody"),
        ("BZ-0001/ownership-voucher.cms", "its voucher"),
    ] {
        fs::write(owner.artifacts().join(name), bytes).unwrap();
    }
    owner.start();
    (owner, tpm)
}

fn question() -> Vec<u8> {
    Question {
        hw_model: Some("model".to_owned()),
        os_name: Some("bartizan".to_owned()),
        os_version: Some("1.0".to_owned()),
        nonce: None,
        data: Wanted::Signed,
    }
    .encode()
}

/// Asks once, over a connection of its own; returns the status and the body of the answer.
fn ask(owner: &Owner, tpm: &Tpm, path: &str, media: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (anchors, link) = (owner.anchors(), tpm.link());
        let registrar = owner.registrar.unwrap();
        let mut stream = meet(registrar, &anchors, &link, Application::Http)
            .await
            .stream;
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: controller\r\nContent-Type: {media}\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // Who is refused for the head finds the connection closed under the body; there is an answer all the same.
        let (mut told, mut answer) = (stream.write_all(body).await, Vec::new());
        if told.is_ok() {
            told = stream.flush().await;
        }
        let read = tokio::time::timeout(LIMIT, stream.read_to_end(&mut answer));
        let read = read.await.unwrap();
        assert!(read.is_ok() || told.is_err(), "{read:?}");
        let end = answer
            .windows(4)
            .position(|end| end == b"\r\n\r\n")
            .unwrap();
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer[end + 4..].to_vec())
    })
}

#[test]
fn a_box_is_told_what_lies_ready_for_it_and_its_progress_is_heard() {
    let (owner, tpm) = owner();
    let (status, body) = ask(
        &owner,
        &tpm,
        GET_BOOTSTRAPPING_DATA,
        MEDIA_TYPE,
        &question(),
    );
    assert_eq!(status, 200);
    let artifacts = Answer::decode(&body).unwrap().artifacts;
    assert_eq!(artifacts.conveyed_information, b"for all");
    assert_eq!(artifacts.owner_certificate, b"the owner");
    assert_eq!(artifacts.ownership_voucher, b"its voucher");
    let progress = Progress {
        step: Step::BootstrapInitiated,
        message: Some("on my way".to_owned()),
    };
    let (status, body) = ask(
        &owner,
        &tpm,
        REPORT_PROGRESS,
        MEDIA_TYPE,
        &progress.encode(),
    );
    assert_eq!((status, body), (204, Vec::new()));
    owner.logged("bootstrap: BootstrapInitiated on my way");
}

#[test]
fn a_box_whose_certificate_its_maker_did_not_sign_is_told_nothing() {
    let (owner, mut tpm) = owner();
    tpm.certify_by(&Maker::new(), SERIAL);
    let (status, body) = ask(
        &owner,
        &tpm,
        GET_BOOTSTRAPPING_DATA,
        MEDIA_TYPE,
        &question(),
    );
    assert_eq!(status, 403);
    Answer::decode(&body).unwrap_err();
}

#[test]
fn a_box_that_nobody_expects_is_told_nothing() {
    let (owner, mut tpm) = owner();
    tpm.certify_by(&owner.box_maker, "BZ-0002");
    let (status, _) = ask(
        &owner,
        &tpm,
        GET_BOOTSTRAPPING_DATA,
        MEDIA_TYPE,
        &question(),
    );
    // RFC 8040, 7: data-missing.
    assert_eq!(status, 409);
}

#[test]
fn what_is_no_such_request_is_refused() {
    let (owner, tpm) = owner();
    let question = question();
    let long = vec![b' '; 1024 * 1024];
    for (path, media, body, expected) in [
        (GET_BOOTSTRAPPING_DATA, "application/json", &question, 415),
        (GET_BOOTSTRAPPING_DATA, MEDIA_TYPE, &b"{}".to_vec(), 400),
        (REPORT_PROGRESS, MEDIA_TYPE, &question, 400),
        ("/restconf/data", MEDIA_TYPE, &question, 405),
        (GET_BOOTSTRAPPING_DATA, MEDIA_TYPE, &long, 413),
    ] {
        let (status, _) = ask(&owner, &tpm, path, media, body);
        assert_eq!(status, expected, "{path} {media}");
    }
}
