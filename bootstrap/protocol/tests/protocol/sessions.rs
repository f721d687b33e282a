//! Enrolment: both machines against each other, and everything that must not pass between them.

use core::time::Duration;

use bartizan_bootstrap_protocol::certificate::CertificateError;
use bartizan_bootstrap_protocol::enrol::gateway::{Ended, Greeted, ownership};
use bartizan_bootstrap_protocol::enrol::registrar::{
    Appraised, Awaiting, Listening, Refused, ToAppraise,
};
use bartizan_bootstrap_protocol::enrol::{
    Challenge, DEADLINE_MAX, EnrolError, Enrolment, Evidence, Hello, OUTCOME_WAIT, Outcome, Reason,
    Request, SessionId, Software,
};
use bartizan_bootstrap_protocol::serial::Serial;
use bartizan_evidence::binding::{self, ChannelBinding};
use bartizan_evidence::verdict::{Failure, Rule};
use bartizan_model::config::{Der, Groups, KmeConfig, KmeInterface, KmeTransport};
use bartizan_model::identity::{Credential, Log, PcrSelection};
use bartizan_model::ids::{LinkName, NodeId, Nonce, SaeId};
use bartizan_model::time::BootTime;
use rcgen::{SanType, date_time_ymd};

use crate::parties::{NOW, Party, SERIAL, params, site};
use crate::tpm::Tpm;

pub(crate) const CHANNEL: ChannelBinding = [0x11; 32];
const OTHER: ChannelBinding = [0x22; 32];
const SECRET: [u8; 32] = [0x33; 32];
const PCRS: PcrSelection = PcrSelection(0b1000_1011_1111);

pub(crate) const fn at(seconds: u64) -> BootTime {
    BootTime(Duration::from_secs(seconds))
}

pub(crate) fn hello(tpm: &Tpm, channel: &ChannelBinding) -> Hello {
    Hello {
        serial: Serial::try_from(SERIAL).unwrap(),
        software: Software {
            hw_model: "bartizan-1".into(),
            os_name: "bartizan".into(),
            os_version: "1.4.2".into(),
        },
        identity: tpm.identity(),
        logs: vec![Log::Firmware, Log::Userspace],
        request: Request::Enrol {
            epoch: 3,
            ldevid: Box::new(tpm.certify(&binding::certify(channel))),
        },
    }
}

fn in_quarantine(tpm: &Tpm) -> Hello {
    Hello {
        request: Request::Quarantine,
        ..hello(tpm, &CHANNEL)
    }
}

pub(crate) fn challenge() -> Challenge {
    Challenge {
        session: SessionId([0x44; 16]),
        nonce: Nonce([0x55; 32]),
        credential: Credential {
            endorsement: 0,
            blob: SECRET.to_vec(),
            secret: vec![0x66; 256],
        },
        pcrs: PCRS,
        policy: "reference values 7".into(),
        deadline: Duration::from_secs(30),
    }
}

pub(crate) fn logs() -> Vec<(Log, Vec<u8>)> {
    vec![
        (Log::Firmware, vec![1; 3000]),
        (Log::Userspace, vec![2; 10]),
    ]
}

pub(crate) fn enrolment(tpm: &Tpm, owner: &Party) -> Enrolment {
    let certificate = || {
        let mut params = params("gw-a");
        params.subject_alt_names = vec![SanType::DnsName("gw-a.example".try_into().unwrap())];
        Der(params.signed_by(tpm, &owner.ca).unwrap().der().to_vec())
    };
    Enrolment {
        node: NodeId::try_from("gw-a.example").unwrap(),
        ldevid: vec![certificate()],
        addresses: vec!["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()],
        peer_port: 9061,
        kmes: vec![KmeConfig {
            address: "10.9.0.1:8443".parse().unwrap(),
            name: NodeId::try_from("kme-a.example").unwrap(),
            anchors: vec![Der(owner.root().as_der().to_vec())],
            sae: SaeId::try_from("sae-a").unwrap(),
            chain: vec![certificate()],
            groups: Groups::HybridOnly,
            interface: KmeInterface::Etsi004Binary,
            transport: KmeTransport::Plain,
            link: Some(LinkName::try_from("north").unwrap()),
            least_rate: 256,
        }],
    }
}

/// The registrar's end up to the challenge.
fn asked(hello: &[u8], channel: ChannelBinding) -> Result<(Vec<u8>, Awaiting), Refused> {
    Listening::new(channel, at(100))
        .hello(hello, at(101))?
        .identified(Ok(()))?
        .challenge(challenge(), &SECRET, at(102))
}

/// Everything up to the evidence; the channel of each end is as given.
fn shown(
    hello: &Hello,
    tpm: &Tpm,
    gateway: ChannelBinding,
    registrar: ChannelBinding,
) -> Result<ToAppraise, Refused> {
    let (message, greeted) = Greeted::greet(hello, gateway, at(0)).unwrap();
    let (message, awaiting) = asked(&message, registrar)?;
    let challenged = greeted.challenged(&message, at(2)).unwrap();
    let proof = Tpm::activate(challenged.credential(), &challenged.proof_context());
    let quoted = tpm.quote(&challenged.qualifying(), challenged.pcrs());
    let (message, _) = challenged.prove(proof, quoted, logs(), at(3)).unwrap();
    awaiting.shown(&message, at(103))
}

fn rule(result: Result<ToAppraise, Refused>) -> Rule {
    match result {
        Err(Refused {
            cause: EnrolError::Tpm(Failure { rule, .. }),
            ..
        }) => rule,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_gateway_enrols() {
    let (tpm, owner) = (Tpm::new(1), Party::new("owner", 2));
    let (message, greeted) = Greeted::greet(&hello(&tpm, &CHANNEL), CHANNEL, at(0)).unwrap();

    let identify = Listening::new(CHANNEL, at(100))
        .hello(&message, at(101))
        .unwrap();
    assert_eq!(identify.hello(), &hello(&tpm, &CHANNEL));
    assert_eq!(identify.ldevid(), Some(&tpm.ldevid_public()));
    let (message, awaiting) = identify
        .identified(Ok(()))
        .unwrap()
        .challenge(challenge(), &SECRET, at(102))
        .unwrap();
    assert_eq!(awaiting.deadline(), at(132));

    let challenged = greeted.challenged(&message, at(2)).unwrap();
    assert_eq!(challenged.deadline(), at(32));
    assert_eq!(
        (challenged.session(), challenged.policy()),
        (SessionId([0x44; 16]), "reference values 7")
    );
    let proof = Tpm::activate(challenged.credential(), &challenged.proof_context());
    let quoted = tpm.quote(&challenged.qualifying(), challenged.pcrs());
    let (message, proven) = challenged.prove(proof, quoted, logs(), at(3)).unwrap();

    let appraise = awaiting.shown(&message, at(103)).unwrap();
    assert_eq!(appraise.evidence().logs, logs());
    assert_eq!(appraise.quote().pcrs()[&7], [7; 32]);
    let Ok(Appraised::Enrol(issue)) = appraise.appraised(Ok(())) else {
        panic!("a certificate is due");
    };
    let enrolment = enrolment(&tpm, &owner);
    let message = issue.enrolled(enrolment.clone()).unwrap();

    let anchors = site(&owner).anchors;
    let ended = proven.ended(&message, &anchors, NOW, at(4)).unwrap();
    assert_eq!(ended, Ended::Enrolled(Box::new(enrolment.clone())));
    let owner = bartizan_bootstrap_protocol::bootstrap::Owner {
        epoch: 3,
        since: NOW,
        site: site(&owner),
    };
    ownership(owner, enrolment).check().unwrap();
}

#[test]
fn a_gateway_in_quarantine_is_heard_and_gets_no_certificate() {
    let (tpm, owner) = (Tpm::new(1), Party::new("owner", 2));
    let appraise = shown(&in_quarantine(&tpm), &tpm, CHANNEL, CHANNEL).unwrap();
    let Ok(Appraised::Quarantine(report)) = appraise.appraised(Ok(())) else {
        panic!("no certificate is due");
    };
    let reported = report.reported().unwrap();
    let proven = || {
        let hello = in_quarantine(&tpm);
        let (message, greeted) = Greeted::greet(&hello, CHANNEL, at(0)).unwrap();
        let (message, _) = asked(&message, CHANNEL).unwrap();
        let challenged = greeted.challenged(&message, at(2)).unwrap();
        let quoted = tpm.quote(&challenged.qualifying(), challenged.pcrs());
        challenged.prove([0; 32], quoted, logs(), at(3)).unwrap().1
    };
    let anchors = site(&owner).anchors;
    let ended = proven().ended(&reported, &anchors, NOW, at(4)).unwrap();
    assert_eq!(ended, Ended::Reported);
    let enrolled = Outcome::Enrolled(Box::new(enrolment(&tpm, &owner)));
    let ended = proven().ended(&enrolled.encode().unwrap(), &anchors, NOW, at(4));
    assert!(matches!(ended, Err(EnrolError::Unasked)));
}

/// The middle box has a session with each end and passes everything on.
#[test]
fn relayed_evidence_is_refused_and_would_pass_without_the_binding() {
    let tpm = Tpm::new(1);
    let relayed = shown(&hello(&tpm, &CHANNEL), &tpm, CHANNEL, OTHER);
    assert_eq!(
        rule(relayed),
        Rule::V7,
        "the key is certified for another session"
    );
    let relayed = shown(&in_quarantine(&tpm), &tpm, CHANNEL, OTHER);
    assert!(matches!(
        relayed,
        Err(Refused {
            reason: Reason::Identity,
            cause: EnrolError::Proof
        })
    ));

    // The same two sessions, and ends that take their binding for a constant.
    let no_binding = [0; 32];
    for hello in [hello(&tpm, &no_binding), in_quarantine(&tpm)] {
        let relayed = shown(&hello, &tpm, no_binding, no_binding);
        assert!(relayed.unwrap().appraised(Ok(())).is_ok());
    }
}

#[test]
fn the_proof_and_the_quote_are_each_bound_to_the_session() {
    let tpm = Tpm::new(1);
    let (message, greeted) = Greeted::greet(&in_quarantine(&tpm), CHANNEL, at(0)).unwrap();
    let hello = message.clone();
    let (message, awaiting) = asked(&message, CHANNEL).unwrap();
    let challenged = greeted.challenged(&message, at(2)).unwrap();
    let proof = Tpm::activate(challenged.credential(), &challenged.proof_context());
    // The proof of this session, and a quote for another.
    let context = binding::enrolment_context(&hello, &message);
    let qualifying = binding::attest(&challenge().nonce.0, &OTHER, &context);
    let quoted = tpm.quote(&qualifying, PCRS);
    let (message, _) = challenged.prove(proof, quoted, logs(), at(3)).unwrap();
    assert_eq!(rule(awaiting.shown(&message, at(103))), Rule::V7);
}

#[test]
fn another_tpm_s_word_does_not_count() {
    let (tpm, other) = (Tpm::new(1), Tpm::new(5));
    // Its certification of the key,
    let mut forged = hello(&tpm, &CHANNEL);
    forged.request = hello(&other, &CHANNEL).request;
    assert_eq!(rule(shown(&forged, &tpm, CHANNEL, CHANNEL)), Rule::V4);
    // its quote,
    let result = shown(&in_quarantine(&tpm), &other, CHANNEL, CHANNEL);
    assert_eq!(rule(result), Rule::V4);
    // a certification for another key.
    let mut forged = hello(&tpm, &CHANNEL);
    if let Request::Enrol { ldevid, .. } = &mut forged.request {
        ldevid.public = other.ldevid_public().encode();
    }
    assert_eq!(rule(shown(&forged, &tpm, CHANNEL, CHANNEL)), Rule::V5);
}

#[test]
fn what_the_caller_found_ends_the_session_at_once() {
    let tpm = Tpm::new(1);
    let (message, _) = Greeted::greet(&hello(&tpm, &CHANNEL), CHANNEL, at(0)).unwrap();
    let identify = Listening::new(CHANNEL, at(0))
        .hello(&message, at(0))
        .unwrap();
    let refused = identify.identified(Err(Reason::Identity)).unwrap_err();
    assert_eq!(
        refused.message(),
        Outcome::Refused(Reason::Identity).encode().unwrap()
    );
    let appraise = shown(&hello(&tpm, &CHANNEL), &tpm, CHANNEL, CHANNEL).unwrap();
    let refused = appraise.appraised(Err(Reason::State)).unwrap_err();
    assert_eq!(
        refused.message(),
        Outcome::Refused(Reason::State).encode().unwrap()
    );
    // Quarantine does not soften it.
    let appraise = shown(&in_quarantine(&tpm), &tpm, CHANNEL, CHANNEL).unwrap();
    assert!(appraise.appraised(Err(Reason::State)).is_err());
}

#[test]
fn a_refusal_reaches_the_gateway_in_place_of_a_challenge() {
    let tpm = Tpm::new(1);
    let refusal = Outcome::Refused(Reason::Busy).encode().unwrap();
    let (_, greeted) = Greeted::greet(&hello(&tpm, &CHANNEL), CHANNEL, at(0)).unwrap();
    assert!(matches!(
        greeted.challenged(&refusal, at(1)),
        Err(EnrolError::Refused(Reason::Busy))
    ));
}

#[test]
fn each_message_has_its_deadline() {
    let tpm = Tpm::new(1);
    let hello = in_quarantine(&tpm);
    let (first, greeted) = Greeted::greet(&hello, CHANNEL, at(0)).unwrap();
    assert!(matches!(
        Listening::new(CHANNEL, at(100)).hello(&first, at(131)),
        Err(Refused {
            cause: EnrolError::Late,
            ..
        })
    ));
    let (second, awaiting) = asked(&first, CHANNEL).unwrap();
    assert!(matches!(
        greeted.challenged(&second, at(31)),
        Err(EnrolError::Late)
    ));

    let (_, greeted) = Greeted::greet(&hello, CHANNEL, at(0)).unwrap();
    let challenged = greeted.challenged(&second, at(30)).unwrap();
    let quoted = tpm.quote(&challenged.qualifying(), PCRS);
    let late = challenged.prove([0; 32], quoted.clone(), logs(), at(61));
    assert!(matches!(late, Err(EnrolError::Late)));

    let (_, greeted) = Greeted::greet(&hello, CHANNEL, at(0)).unwrap();
    let challenged = greeted.challenged(&second, at(30)).unwrap();
    let proof = Tpm::activate(challenged.credential(), &challenged.proof_context());
    let (third, proven) = challenged.prove(proof, quoted, logs(), at(60)).unwrap();
    assert!(matches!(
        awaiting.shown(&third, at(133)),
        Err(Refused {
            reason: Reason::Evidence,
            cause: EnrolError::Late
        })
    ));
    let last = Outcome::Reported.encode().unwrap();
    let over = at(61).after(OUTCOME_WAIT);
    assert!(matches!(
        proven.ended(&last, &[], NOW, over),
        Err(EnrolError::Late)
    ));
}

#[test]
fn a_challenge_keeps_its_limits_at_both_ends() {
    let refused = |change: fn(&mut Challenge)| {
        let mut challenge = challenge();
        change(&mut challenge);
        let error = challenge.encode().unwrap_err();
        assert!(
            matches!(error, EnrolError::Deadline | EnrolError::Selection),
            "{error}"
        );
    };
    refused(|challenge| challenge.deadline = Duration::ZERO);
    refused(|challenge| challenge.deadline = DEADLINE_MAX + Duration::from_secs(1));
    refused(|challenge| challenge.deadline = Duration::from_millis(1500));
    refused(|challenge| challenge.pcrs = PcrSelection(0));
    refused(|challenge| challenge.pcrs = PcrSelection(1 << 24));

    // What a registrar of ours would not say, a gateway does not hear: the deadline is last.
    let mut bytes = challenge().encode().unwrap();
    assert_eq!(bytes[bytes.len() - 2..], [0x18, 30]);
    *bytes.last_mut().unwrap() = 31;
    assert!(matches!(
        Challenge::decode(&bytes),
        Err(EnrolError::Deadline)
    ));

    let tpm = Tpm::new(1);
    let mut foreign = challenge();
    foreign.credential.endorsement = 1;
    let (message, greeted) = Greeted::greet(&in_quarantine(&tpm), CHANNEL, at(0)).unwrap();
    let to_challenge = Listening::new(CHANNEL, at(0))
        .hello(&message, at(0))
        .and_then(|identify| identify.identified(Ok(())))
        .unwrap();
    assert!(
        to_challenge
            .challenge(foreign.clone(), &SECRET, at(0))
            .is_err()
    );
    assert!(matches!(
        greeted.challenged(&foreign.encode().unwrap(), at(1)),
        Err(EnrolError::Endorsement)
    ));
}

#[test]
fn evidence_of_another_session_is_refused() {
    let tpm = Tpm::new(1);
    let (first, greeted) = Greeted::greet(&in_quarantine(&tpm), CHANNEL, at(0)).unwrap();
    let (second, awaiting) = asked(&first, CHANNEL).unwrap();
    let challenged = greeted.challenged(&second, at(2)).unwrap();
    let proof = Tpm::activate(challenged.credential(), &challenged.proof_context());
    let evidence = Evidence {
        session: SessionId([0x45; 16]),
        proof,
        quoted: tpm.quote(&challenged.qualifying(), PCRS),
        logs: logs(),
    };
    assert!(matches!(
        awaiting.shown(&evidence.encode().unwrap(), at(103)),
        Err(Refused {
            reason: Reason::Evidence,
            cause: EnrolError::Session
        })
    ));
}

#[test]
fn a_certificate_that_is_not_for_this_gateway_is_neither_given_nor_taken() {
    let (tpm, owner) = (Tpm::new(1), Party::new("owner", 2));
    let good = enrolment(&tpm, &owner);
    let issue = || {
        let appraise = shown(&hello(&tpm, &CHANNEL), &tpm, CHANNEL, CHANNEL).unwrap();
        match appraise.appraised(Ok(())) {
            Ok(Appraised::Enrol(issue)) => issue,
            other => panic!("{other:?}"),
        }
    };
    let taken = |enrolment: &Enrolment, anchors: &[Der]| {
        let (first, greeted) = Greeted::greet(&hello(&tpm, &CHANNEL), CHANNEL, at(0)).unwrap();
        let (second, _) = asked(&first, CHANNEL).unwrap();
        let challenged = greeted.challenged(&second, at(2)).unwrap();
        let quoted = tpm.quote(&challenged.qualifying(), PCRS);
        let (_, proven) = challenged.prove([0; 32], quoted, logs(), at(3)).unwrap();
        let outcome = Outcome::Enrolled(Box::new(enrolment.clone()));
        proven.ended(&outcome.encode().unwrap(), anchors, NOW, at(4))
    };
    let anchors = site(&owner).anchors;
    assert!(issue().enrolled(good.clone()).is_ok());
    assert!(taken(&good, &anchors).is_ok());

    let another_name = Enrolment {
        node: NodeId::try_from("gw-b.example").unwrap(),
        ..good.clone()
    };
    let another_key = Enrolment {
        ldevid: enrolment(&Tpm::new(5), &owner).ldevid,
        ..good.clone()
    };
    for wrong in [&another_name, &another_key] {
        assert!(issue().enrolled(wrong.clone()).is_err());
        assert!(matches!(taken(wrong, &anchors), Err(EnrolError::Foreign)));
    }
    let mut kme = good.clone();
    kme.kmes[0].chain = enrolment(&Tpm::new(5), &owner).kmes[0].chain.clone();
    assert!(matches!(taken(&kme, &anchors), Err(EnrolError::Foreign)));

    let foreign = Party::new("owner", 2);
    assert!(matches!(
        taken(&good, &site(&foreign).anchors),
        Err(EnrolError::Certificate(CertificateError::NoPath))
    ));
    assert!(taken(&good, &[]).is_err());
    let mut ended = params("gw-a");
    ended.not_after = date_time_ymd(2026, 1, 1);
    ended.subject_alt_names = vec![SanType::DnsName("gw-a.example".try_into().unwrap())];
    let ended = Enrolment {
        ldevid: vec![Der(ended
            .signed_by(&tpm, &owner.ca)
            .unwrap()
            .der()
            .to_vec())],
        ..good
    };
    assert!(matches!(
        taken(&ended, &anchors),
        Err(EnrolError::Certificate(CertificateError::Expired))
    ));
}
