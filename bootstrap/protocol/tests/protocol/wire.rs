//! Both machines over a wire that cuts, repeats, swaps and changes what it carries.

use std::collections::VecDeque;

use bartizan_bootstrap_protocol::enrol::frame::{Deframer, frame};
use bartizan_bootstrap_protocol::enrol::gateway::{Challenged, Ended, Greeted, Proven};
use bartizan_bootstrap_protocol::enrol::registrar::{Appraised, Awaiting, Listening, Refused};
use bartizan_bootstrap_protocol::enrol::{
    Challenge, EVIDENCE_MAX, EnrolError, Evidence, Hello, MESSAGE_MAX, Outcome, Reason,
};
use bartizan_evidence::binding::ChannelBinding;
use bartizan_model::config::Der;
use proptest::prelude::*;

use crate::parties::{NOW, Party, site};
use crate::sessions::{CHANNEL, at, challenge, enrolment, hello, logs};
use crate::tpm::Tpm;

const EARLIER: ChannelBinding = [0x99; 32];

/// What a wire does to the message of this number, of four.
#[derive(Clone, Debug)]
enum Wire {
    Honest,
    Cut(usize, usize),
    Twice(usize),
    Instead(usize, Vec<u8>),
}

impl Wire {
    /// The bytes that arrive in place of a framed message.
    fn carry(&self, number: usize, message: &[u8]) -> Vec<u8> {
        let framed = frame(message).unwrap();
        match self {
            Self::Cut(at, length) if *at == number => framed[..*length % framed.len()].to_vec(),
            Self::Twice(at) if *at == number => framed.repeat(2),
            Self::Instead(at, other) if *at == number => frame(other).unwrap(),
            Self::Honest | Self::Cut(..) | Self::Twice(_) | Self::Instead(..) => framed,
        }
    }
}

enum Gateway {
    Greeted(Greeted),
    Proven(Proven),
    Over(Option<Ended>),
}

enum Registrar {
    Listening(Listening),
    Awaiting(Box<Awaiting>),
    Over,
}

/// How a session went.
#[derive(Debug)]
struct Went {
    gateway: Option<Ended>,
    /// Whether the registrar gave a certificate.
    issued: bool,
    /// What was said, in order.
    said: Vec<Vec<u8>>,
}

struct World {
    tpm: Tpm,
    owner: Party,
    anchors: Vec<Der>,
}

impl World {
    fn new() -> Self {
        let owner = Party::new("owner", 2);
        Self {
            tpm: Tpm::new(1),
            anchors: site(&owner).anchors,
            owner,
        }
    }

    fn run(&self, channel: ChannelBinding, wire: &Wire) -> Went {
        let mut went = Went {
            gateway: None,
            issued: false,
            said: Vec::new(),
        };
        let (first, greeted) = Greeted::greet(&hello(&self.tpm, &channel), channel, at(0)).unwrap();
        let mut gateway = Gateway::Greeted(greeted);
        let mut registrar = Registrar::Listening(Listening::new(channel, at(0)));
        let mut to_registrar = Deframer::new(MESSAGE_MAX);
        let mut to_gateway = Deframer::new(MESSAGE_MAX);
        let mut outbox = VecDeque::from([(true, first)]);
        while let Some((upwards, message)) = outbox.pop_front() {
            let bytes = wire.carry(went.said.len(), &message);
            went.said.push(message);
            let mut piece = bytes.as_slice();
            if upwards {
                while let Ok(Some(message)) = to_registrar.take(&mut piece) {
                    let (next, reply) = self.registrar(registrar, &message, &mut went.issued);
                    registrar = next;
                    outbox.extend(reply.map(|reply| (false, reply)));
                    to_registrar.expect(EVIDENCE_MAX);
                }
            } else {
                while let Ok(Some(message)) = to_gateway.take(&mut piece) {
                    let (next, reply) = self.gateway(gateway, &message);
                    gateway = next;
                    outbox.extend(reply.map(|reply| (true, reply)));
                }
            }
        }
        if let Gateway::Over(ended) = gateway {
            went.gateway = ended;
        }
        went
    }

    fn gateway(&self, state: Gateway, message: &[u8]) -> (Gateway, Option<Vec<u8>>) {
        match state {
            Gateway::Greeted(greeted) => match greeted
                .challenged(message, at(1))
                .and_then(|challenged| self.prove(challenged))
            {
                Ok((message, proven)) => (Gateway::Proven(proven), Some(message)),
                Err(_) => (Gateway::Over(None), None),
            },
            Gateway::Proven(proven) => {
                let ended = proven.ended(message, &self.anchors, NOW, at(2));
                (Gateway::Over(ended.ok()), None)
            }
            // Nobody reads on after the end.
            Gateway::Over(ended) => (Gateway::Over(ended), None),
        }
    }

    fn prove(&self, challenged: Challenged) -> Result<(Vec<u8>, Proven), EnrolError> {
        let proof = Tpm::activate(challenged.credential(), &challenged.proof_context());
        let quoted = self.tpm.quote(&challenged.qualifying(), challenged.pcrs());
        challenged.prove(proof, quoted, logs(), at(1))
    }

    fn registrar(
        &self,
        state: Registrar,
        message: &[u8],
        issued: &mut bool,
    ) -> (Registrar, Option<Vec<u8>>) {
        let stepped = match state {
            Registrar::Listening(listening) => challenge_to(listening, message)
                .map(|(message, awaiting)| (Registrar::Awaiting(Box::new(awaiting)), message)),
            Registrar::Awaiting(awaiting) => self.issue(*awaiting, message).map(|message| {
                *issued = true;
                (Registrar::Over, message)
            }),
            Registrar::Over => return (Registrar::Over, None),
        };
        match stepped {
            Ok((next, message)) => (next, Some(message)),
            Err(refused) => (Registrar::Over, Some(refused.message())),
        }
    }

    fn issue(&self, awaiting: Awaiting, message: &[u8]) -> Result<Vec<u8>, Refused> {
        match awaiting.shown(message, at(1))?.appraised(Ok(()))? {
            Appraised::Enrol(issue) => issue.enrolled(enrolment(&self.tpm, &self.owner)),
            Appraised::Quarantine(report) => report.reported(),
        }
    }
}

fn challenge_to(listening: Listening, message: &[u8]) -> Result<(Vec<u8>, Awaiting), Refused> {
    let mut challenge = challenge();
    // Another one in each session, and the same in a repetition of it.
    challenge.nonce.0[0] = message.iter().fold(0, |sum, byte| sum ^ byte);
    let secret = challenge.credential.blob.clone();
    listening
        .hello(message, at(1))?
        .identified(Ok(()))?
        .challenge(challenge, &secret, at(1))
}

#[test]
fn an_honest_wire_enrols_a_gateway_in_four_messages() {
    let went = World::new().run(CHANNEL, &Wire::Honest);
    assert!(matches!(went.gateway, Some(Ended::Enrolled(_))), "{went:?}");
    assert_eq!((went.issued, went.said.len()), (true, 4));
}

#[test]
fn a_cut_message_enrols_nobody() {
    let world = World::new();
    for number in 0..4 {
        for length in [0, 1, 3, 4, 5, 17, 300, usize::MAX] {
            let went = world.run(CHANNEL, &Wire::Cut(number, length));
            assert!(
                !matches!(went.gateway, Some(Ended::Enrolled(_))),
                "{number} {length}"
            );
            assert_eq!(went.issued, number == 3, "{number} {length}");
        }
    }
}

#[test]
fn a_message_that_comes_twice_is_no_other_message() {
    let world = World::new();
    // The second hello comes where evidence is due, the second challenge where an outcome is.
    for number in [0, 1] {
        let went = world.run(CHANNEL, &Wire::Twice(number));
        assert!(
            !matches!(went.gateway, Some(Ended::Enrolled(_))),
            "{number}"
        );
    }
    // After the end nobody listens.
    for number in [2, 3] {
        let went = world.run(CHANNEL, &Wire::Twice(number));
        assert!(matches!(went.gateway, Some(Ended::Enrolled(_))), "{number}");
    }
}

#[test]
fn no_message_stands_for_another_not_even_of_an_earlier_session() {
    let world = World::new();
    let this = world.run(CHANNEL, &Wire::Honest).said;
    let earlier = world.run(EARLIER, &Wire::Honest).said;
    for number in 0..4 {
        for (other, message) in this.iter().chain(&earlier).enumerate() {
            let went = world.run(CHANNEL, &Wire::Instead(number, message.clone()));
            let enrolled = matches!(went.gateway, Some(Ended::Enrolled(_)));
            // A hello repeats itself, and so may what follows from it alone; the outcome is the
            // same for the same key, and only TLS says whose it is.
            let same = *message == this[number] || number == 3 && other % 4 == 3;
            assert!(!enrolled || same, "{other} in place of {number}");
        }
    }
    // The earlier evidence in its own place, in particular.
    let went = world.run(CHANNEL, &Wire::Instead(2, earlier[2].clone()));
    assert_eq!(went.gateway, Some(Ended::Refused(Reason::Identity)));
    assert!(!went.issued);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// TLS keeps the outcome; the others are bound to each other by the proof.
    #[test]
    fn a_changed_message_enrols_nobody(
        number in 0..3_usize,
        place in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let world = World::new();
        let mut changed = world.run(CHANNEL, &Wire::Honest).said[number].clone();
        let place = place.index(changed.len());
        // The logs are the appraisal's to judge: everything in front of them is not.
        let logs = if number == 2 { 3000 + 20 } else { 0 };
        prop_assume!(place < changed.len() - logs);
        changed[place] ^= flip;
        let went = world.run(CHANNEL, &Wire::Instead(number, changed));
        prop_assert!(!went.issued, "byte {} of message {}", place, number);
    }

    #[test]
    fn no_bytes_make_a_reader_of_messages_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Hello::decode(&bytes).is_err());
        prop_assert!(Challenge::decode(&bytes).is_err());
        prop_assert!(Evidence::decode(&bytes).is_err());
        let outcome = Outcome::decode(&bytes);
        prop_assert!(outcome.is_err() || bytes.len() < 8);
    }

    #[test]
    fn what_is_read_is_written_the_same(
        number in 0..4_usize,
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = SAID[number].clone();
        for (place, byte) in places {
            *place.get_mut(&mut bytes) = byte;
        }
        if let Ok(hello) = Hello::decode(&bytes) {
            prop_assert_eq!(&hello.encode(), &bytes);
        }
        if let Ok(challenge) = Challenge::decode(&bytes) {
            prop_assert_eq!(&challenge.encode().unwrap(), &bytes);
        }
        if let Ok(evidence) = Evidence::decode(&bytes) {
            prop_assert_eq!(&evidence.encode().unwrap(), &bytes);
        }
        if let Ok(outcome) = Outcome::decode(&bytes) {
            prop_assert_eq!(&outcome.encode().unwrap(), &bytes);
        }
    }
}

static SAID: std::sync::LazyLock<Vec<Vec<u8>>> =
    std::sync::LazyLock::new(|| World::new().run(CHANNEL, &Wire::Honest).said);
