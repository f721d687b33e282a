//! The key behind the tpm edge: slow, refusing, confused, gone.

use core::time::Duration;
use std::sync::Arc;
use std::sync::mpsc::channel;

use crate::parties::{Answer, Ca, LIMIT, Tpm, signing, tcp};
use bartizan_model::identity::{Log, PcrSelection};
use bartizan_model::ids::{NodeId, OrderId};
use bartizan_model::message::{FromTpm, ToTpm};
use bartizan_tls::{Established, Identity, TlsError, TpmError, accept, client, connect, server};

/// The loop runs while the TPM thinks: the TPM answers only once the loop has said so.
#[tokio::test]
async fn a_slow_tpm_does_not_stop_the_loop() {
    let ca = Ca::new();
    let (near_id, near_tpm) = ca.issue(&["gw-a"]).identity();
    let slow = ca.issue(&["gw-b"]);
    let (release, held) = channel::<()>();
    let mut sign = signing(&slow.key);
    let (signer, far_tpm) = Tpm::ldevid(Box::new(move |request| {
        held.recv_timeout(LIMIT).unwrap();
        sign(request)
    }));
    let far_id = Identity::new(&slow.chain, Arc::new(signer)).unwrap();

    let (near, far) = tcp().await;
    let b = node("gw-b");
    let near_config = client(&near_id, &ca.anchors()).unwrap();
    let far_config = server(&far_id, &ca.anchors()).unwrap();
    let on_the_loop = async {
        tokio::task::spawn_blocking(move || {
            far_tpm.wait_until_asked();
            far_tpm
        })
        .await
        .unwrap();
        assert_eq!(near_tpm.signatures(), 0);
        release.send(()).unwrap();
    };
    let (near, far, ()) = tokio::join!(
        connect(near, near_config, &b, LIMIT),
        accept(far, far_config, LIMIT),
        on_the_loop,
    );
    assert_eq!(near.unwrap().node, b);
    assert_eq!(far.unwrap().node, node("gw-a"));
}

#[tokio::test]
async fn an_end_that_stays_silent_is_given_up() {
    let ca = Ca::new();
    let (id, tpm) = ca.issue(&["gw-a"]).identity();
    let (near, _silent) = tcp().await;
    let config = client(&id, &ca.anchors()).unwrap();
    let b = node("gw-b");
    let result = connect(near, config, &b, Duration::from_millis(50)).await;
    assert!(matches!(result, Err(TlsError::TimedOut)));
    assert_eq!(tpm.signatures(), 0);
}

#[tokio::test]
async fn a_refused_signature_ends_the_connection_alone() {
    let refusals: [fn(OrderId) -> FromTpm; 2] = [FromTpm::NotPermitted, |order| FromTpm::Failed {
        order,
        code: 0x0922,
    }];
    for refusal in refusals {
        let answer: Answer = Box::new(move |request| {
            let ToTpm::Sign { order, .. } = request else {
                panic!("not a signature: {request:?}")
            };
            Some(vec![refusal(order)])
        });
        assert!(matches!(
            accepted_with(answer).await,
            Err(TlsError::Handshake(_))
        ));
    }
}

#[tokio::test]
async fn a_broken_edge_is_told_apart() {
    let answer: Answer = Box::new(|_dies| None);
    assert!(matches!(
        accepted_with(answer).await,
        Err(TlsError::TpmEdge)
    ));
}

#[test]
fn an_answer_to_an_older_request_is_passed_over() {
    let ca = Ca::new();
    let certified = ca.issue(&["gw-a"]);
    let mut sign = signing(&certified.key);
    let (signer, _tpm) = Tpm::ldevid(Box::new(move |request| {
        let stale = FromTpm::Signature {
            order: OrderId(0),
            signature: b"stale".to_vec(),
        };
        let mut replies = vec![stale];
        replies.extend(sign(request)?);
        Some(replies)
    }));
    let signature = signer.sign(b"message").unwrap();
    assert_ne!(signature, b"stale");
}

#[test]
fn a_signer_whose_tpm_is_gone_says_so() {
    let (signer, _tpm) = Tpm::ldevid(Box::new(|_dies| None));
    assert!(matches!(signer.sign(b"first"), Err(TpmError::Edge(_))));
    assert!(matches!(signer.sign(b"second"), Err(TpmError::Edge(_))));
}

#[test]
fn an_answer_to_another_question_is_no_answer() {
    let (signer, _tpm) = Tpm::ldevid(Box::new(|request| {
        let ToTpm::Sign { order, .. } = request else {
            panic!("not a signature: {request:?}")
        };
        Some(vec![FromTpm::Done(order)])
    }));
    assert!(matches!(
        signer.sign(b"message"),
        Err(TpmError::OtherAnswer)
    ));
}

/// Signatures and questions share the edge; each gets its own answer, a refusal too.
#[test]
fn whoever_asks_the_tpm_gets_the_answer_to_its_question() {
    let (_tpm, edge) = Tpm::answering(Box::new(|request| {
        if let ToTpm::ReadLog { order, offset, .. } = request {
            return Some(vec![FromTpm::LogPart {
                order,
                bytes: offset.to_be_bytes().to_vec(),
                size: 9,
            }]);
        }
        if let ToTpm::Identity(order) = request {
            return Some(vec![FromTpm::Failed { order, code: 0x101 }]);
        }
        let ToTpm::Quote { order, .. } = request else {
            panic!("not asked: {request:?}")
        };
        Some(vec![FromTpm::NotPermitted(order)])
    }));
    let threads: Vec<_> = (0..8_u32)
        .map(|thread| {
            let edge = edge.clone();
            std::thread::spawn(move || {
                for round in 0..50 {
                    let asked = thread * 1000 + round;
                    let answer = edge.ask(LIMIT, |order| ToTpm::ReadLog {
                        order,
                        log: Log::Firmware,
                        offset: asked,
                    });
                    let FromTpm::LogPart { bytes, .. } = answer.unwrap() else {
                        panic!("another answer")
                    };
                    assert_eq!(bytes, asked.to_be_bytes());
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let quote = edge.ask(LIMIT, |order| ToTpm::Quote {
        order,
        qualifying: vec![7; 32],
        pcrs: PcrSelection(1),
    });
    assert!(matches!(quote, Err(TpmError::NotPermitted)));
    assert!(matches!(
        edge.ask(LIMIT, ToTpm::Identity),
        Err(TpmError::Refused { code: 0x101 })
    ));
}

#[test]
fn a_tpm_that_is_silent_is_given_up() {
    let (_tpm, edge) = Tpm::answering(Box::new(|_silent| Some(Vec::new())));
    let answer = edge.ask(Duration::from_millis(20), ToTpm::Identity);
    assert!(matches!(answer, Err(TpmError::TimedOut)));
}

/// What a server makes of a client while its TPM answers so.
async fn accepted_with(answer: Answer) -> Result<Established, TlsError> {
    let ca = Ca::new();
    let (near_id, _tpm) = ca.issue(&["gw-a"]).identity();
    let (signer, _tpm) = Tpm::ldevid(answer);
    let far_id = Identity::new(&ca.issue(&["gw-b"]).chain, Arc::new(signer)).unwrap();
    let near_config = client(&near_id, &ca.anchors()).unwrap();
    let far_config = server(&far_id, &ca.anchors()).unwrap();
    let (near, far) = tcp().await;
    let b = node("gw-b");
    let (near, far) = tokio::join!(
        connect(near, near_config, &b, LIMIT),
        accept(far, far_config, LIMIT)
    );
    assert!(near.is_err());
    far
}

fn node(name: &str) -> NodeId {
    NodeId::try_from(name).unwrap()
}
