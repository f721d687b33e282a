//! The RPCs of RFC 9684, byte by byte.

use core::time::Duration;

use bartizan_model::identity::{Floors, PcrSelection, Quoted};
use bartizan_model::ids::Nonce;
use bartizan_model::message::EngineToControl;
use bartizan_netconf::server::{Finding, Inquiry, Unfound};

use crate::bench::{Bench, one, refused, rpc};

fn challenge(nonce: &str, rest: &str) -> String {
    rpc(&format!(
        "<tpm20-challenge-response-attestation \
         xmlns=\"urn:ietf:params:xml:ns:yang:ietf-tpm-remote-attestation\">\
         <tpm20-attestation-challenge><nonce-value>{nonce}</nonce-value>\
         <tpm20-pcr-selection><tpm20-hash-algo xmlns:t=\"urn:ietf:params:xml:ns:yang:ietf-tcg-algs\">\
         t:TPM_ALG_SHA256</tpm20-hash-algo><pcr-index>0</pcr-index><pcr-index>11</pcr-index>\
         </tpm20-pcr-selection>{rest}</tpm20-attestation-challenge>\
         </tpm20-challenge-response-attestation>"
    ))
}

const BOUND: &str = "<channel-binding xmlns=\"urn:bartizan:yang:bartizan-attestation\">tls-exporter\
                     </channel-binding>";

#[test]
fn a_challenge_is_answered_with_what_the_tpm_says() {
    let mut bench = Bench::new();
    bench.engine_says(EngineToControl::LeaseNonce(Nonce([9; 32])));
    bench.send(&challenge("AAAAAAAAAAAAAAAAAAAAAA==", BOUND));
    let asked = Inquiry::Quote {
        nonce: vec![0; 16],
        bound: Some(Nonce([9; 32])),
        pcrs: PcrSelection(0x801),
    };
    assert_eq!(bench.gateway.next_inquiry(), Some(asked));
    let quoted = Quoted {
        attest: vec![1, 2, 3],
        signature: vec![4],
        pcrs: vec![(0, [5; 32]), (11, [6; 32])],
    };
    let found = Ok(Finding::Quoted {
        quoted: Box::new(quoted),
        floors: Some(Floors {
            ownership: Some(2),
            rollback: None,
            time: Some(u64::MAX),
        }),
    });
    let heard = bench.gateway.found(found, Duration::from_secs(7));
    bench.session.answer(heard.verdict.unwrap());
    let reply = bench.messages().remove(0);
    assert_eq!(one(&reply, "quote-data").as_deref(), Some("AAMBAgM="));
    assert_eq!(one(&reply, "up-time").as_deref(), Some("7"));
    assert_eq!(one(&reply, "ownership").as_deref(), Some("2"));
    assert_eq!(one(&reply, "rollback"), None);
    assert_eq!(one(&reply, "time"), Some(u64::MAX.to_string()));
}

#[test]
fn a_short_nonce_and_a_tpm_that_refuses_are_told() {
    let mut bench = Bench::new();
    bench.send(&challenge("AAAAAAAAAAAAAAAAAAAA", ""));
    let short = refused(&bench.messages().remove(0));
    assert_eq!(short.app_tag.as_deref(), Some("nonce-length"));
    bench.send(&challenge("AAAAAAAAAAAAAAAAAAAAAA==", BOUND));
    let unbound = refused(&bench.messages().remove(0));
    assert_eq!(unbound.app_tag.as_deref(), Some("no-lease-nonce"));
    bench.send(&challenge("AAAAAAAAAAAAAAAAAAAAAA==", ""));
    let heard = bench
        .gateway
        .found(Err(Unfound::NotPermitted), Duration::ZERO);
    bench.session.answer(heard.verdict.unwrap());
    let denied = refused(&bench.messages().remove(0));
    assert_eq!(denied.tag, "access-denied");
}
