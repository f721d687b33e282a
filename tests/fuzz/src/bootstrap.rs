//! What a box in search of its owner is given, and what it and the registrar say to each other.

use bartizan_bootstrap_protocol::certificate::Certificate;
use bartizan_bootstrap_protocol::cms;
use bartizan_bootstrap_protocol::conveyed::Information;
use bartizan_bootstrap_protocol::enrol::frame::{Deframer, FrameError, frame};
use bartizan_bootstrap_protocol::enrol::{Challenge, Evidence, Hello, Outcome};
use bartizan_bootstrap_protocol::restconf;
use bartizan_bootstrap_protocol::site::Site;
use bartizan_bootstrap_protocol::sztp::{Answer, Progress, Question};
use bartizan_bootstrap_protocol::voucher::Voucher;
use bartizan_evidence::cose::Algorithm;

/// Signed messages, up to the signatures; and certificates alone.
pub(super) fn cms_message(data: &[u8]) {
    let halves = [Algorithm::Es384, Algorithm::MlDsa65].map(|half| cms::half(data, half));
    if let [Ok(es384), Ok(ml_dsa_65)] = &halves {
        let whole = cms::join(es384, ml_dsa_65).expect("two halves");
        assert_eq!(whole, data, "a message has one form");
    }
    if let Ok(certificates) = cms::certificates(data) {
        let again = cms::chain(&certificates).expect("as many certificates");
        assert_eq!(cms::certificates(&again).expect("our own"), certificates);
    }
    if let Ok(certificate) = Certificate::from_der(data) {
        assert_eq!(certificate.as_der(), data, "a certificate has one form");
        // Whatever comes of it, it is no panic.
        drop((certificate.key(), certificate.spki()));
        drop((certificate.dns_name(), certificate.subject_serial_number()));
        drop(certificate.authority_key_identifier());
    }
}

/// What a manufacturer signed.
pub(super) fn voucher(data: &[u8]) {
    if let Ok(voucher) = Voucher::decode(data) {
        let again = voucher.encode().expect("a voucher that was one");
        assert_eq!(Voucher::decode(&again).expect("our own"), voucher);
    }
}

/// What an owner signed.
pub(super) fn conveyed_information(data: &[u8]) {
    if let Ok(information) = Information::decode(data)
        && let Ok(again) = information.encode()
    {
        assert_eq!(Information::decode(&again).expect("our own"), information);
    }
    if let Ok(site) = Site::decode(data)
        && let Ok(again) = site.encode()
    {
        assert_eq!(Site::decode(&again).expect("our own"), site);
    }
}

/// The bodies of RESTCONF, of both ends.
pub(super) fn sztp_body(data: &[u8]) {
    if let Ok(question) = Question::decode(data) {
        assert_eq!(Question::decode(&question.encode()), Ok(question));
    }
    if let Ok(answer) = Answer::decode(data) {
        assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
    }
    if let Ok(progress) = Progress::decode(data) {
        assert_eq!(Progress::decode(&progress.encode()), Ok(progress));
    }
    if let Ok(tag) = restconf::decode(data) {
        assert_eq!(restconf::decode(&restconf::encode(tag)), Ok(tag));
    }
}

/// A message of enrolment, each in its one form.
pub(super) fn enrol_message(data: &[u8]) {
    if let Ok(hello) = Hello::decode(data) {
        assert_eq!(hello.encode(), data);
    }
    if let Ok(challenge) = Challenge::decode(data) {
        assert_eq!(challenge.encode().expect("one that was"), data);
    }
    if let Ok(evidence) = Evidence::decode(data) {
        assert_eq!(evidence.encode().expect("one that was"), data);
    }
    if let Ok(outcome) = Outcome::decode(data) {
        assert_eq!(outcome.encode().expect("one that was"), data);
    }
}

/// However a stream is cut, it holds the same messages; and they make the same stream.
pub(super) fn enrol_frames(data: &[u8]) {
    let whole = frames(data, data.len().max(1));
    for step in [1, 2, 7] {
        assert_eq!(frames(data, step), whole);
    }
    let (messages, _) = whole;
    let again: Vec<u8> = messages
        .iter()
        .flat_map(|message| frame(message).expect("some bytes"))
        .collect();
    assert!(data.starts_with(&again));
}

fn frames(data: &[u8], step: usize) -> (Vec<Vec<u8>>, Option<FrameError>) {
    let mut deframer = Deframer::new(64);
    let mut messages = Vec::new();
    for mut piece in data.chunks(step) {
        loop {
            match deframer.take(&mut piece) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
    }
    (messages, None)
}
