//! The golden file: every sample's size and bytes, and the numbers of every plain enum.

use core::fmt::{Debug, Write};
use std::collections::BTreeSet;

use bartizan_model::config::{Groups, KmeInterface, KmeTransport};
use bartizan_model::identity::{Farewell, Floor, KeyName, LdevidFound, Log};
use bartizan_model::lifecycle::Lifecycle;
use bartizan_model::message::{Edge, EditRefusal, LeaseRefusal, Memory, Role, Side, Stage};
use bartizan_model::ownership::Port;
use bartizan_model::policy::{
    Combiner, Dial, Direction, DontFragment, Mode, Need, ParameterSet, Suite,
};
use bartizan_model::report::{
    Alarm, BudgetLevel, LinkReason, LinkState, NetworkState, QkdRefusal, TunnelState,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::samples;

#[test]
fn every_message_has_its_golden_bytes() {
    let mut found = String::new();
    messages(&mut found, &samples::supervisor_to_role());
    messages(&mut found, &samples::role_to_supervisor());
    messages(&mut found, &samples::control_to_engine());
    messages(&mut found, &samples::engine_to_control());
    messages(&mut found, &samples::engine_to_xfrm());
    messages(&mut found, &samples::xfrm_to_engine());
    messages(&mut found, &samples::engine_to_peer());
    messages(&mut found, &samples::peer_to_engine());
    messages(&mut found, &samples::peer_message());
    messages(&mut found, &samples::engine_to_qkd());
    messages(&mut found, &samples::qkd_to_engine());
    messages(&mut found, &samples::to_tpm());
    messages(&mut found, &samples::from_tpm());
    numbers::<Role>(&mut found);
    numbers::<Edge>(&mut found);
    numbers::<Memory>(&mut found);
    numbers::<Lifecycle>(&mut found);
    numbers::<EditRefusal>(&mut found);
    numbers::<LeaseRefusal>(&mut found);
    numbers::<QkdRefusal>(&mut found);
    numbers::<Alarm>(&mut found);
    numbers::<TunnelState>(&mut found);
    numbers::<Side>(&mut found);
    numbers::<Stage>(&mut found);
    numbers::<Direction>(&mut found);
    numbers::<Mode>(&mut found);
    numbers::<DontFragment>(&mut found);
    numbers::<Suite>(&mut found);
    numbers::<Dial>(&mut found);
    numbers::<Need>(&mut found);
    numbers::<ParameterSet>(&mut found);
    numbers::<Combiner>(&mut found);
    numbers::<KeyName>(&mut found);
    numbers::<Log>(&mut found);
    numbers::<Floor>(&mut found);
    numbers::<LdevidFound>(&mut found);
    numbers::<Farewell>(&mut found);
    numbers::<Port>(&mut found);
    numbers::<NetworkState>(&mut found);
    numbers::<Groups>(&mut found);
    numbers::<KmeInterface>(&mut found);
    numbers::<KmeTransport>(&mut found);
    numbers::<LinkState>(&mut found);
    numbers::<LinkReason>(&mut found);
    numbers::<BudgetLevel>(&mut found);

    let golden = include_str!("golden_bytes.txt");
    for (line, golden) in found.lines().zip(golden.lines()) {
        assert_eq!(line, golden, "the whole of what was found:\n{found}");
    }
    assert!(found == golden, "the whole of what was found:\n{found}");
}

/// Notes each sample, and checks that the samples leave no variant out.
fn messages<T>(found: &mut String, samples: &[T])
where
    T: Serialize + DeserializeOwned + Debug + PartialEq,
{
    let mut variants = BTreeSet::new();
    for sample in samples {
        let bytes = postcard::to_allocvec(sample).unwrap();
        let again: T = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(&again, sample);
        variants.insert(bytes[0]);

        write!(
            found,
            "{}::{}, {} bytes: ",
            name::<T>(),
            variant(sample),
            bytes.len()
        )
        .unwrap();
        for byte in bytes {
            write!(found, "{byte:02x}").unwrap();
        }
        found.push('\n');
    }
    let next = u8::try_from(variants.len()).unwrap();
    assert!(
        variants.into_iter().eq(0..next),
        "{} lacks a sample",
        name::<T>()
    );
    let unknown = [next; 64];
    let beyond = postcard::take_from_bytes::<T>(&unknown);
    assert_eq!(
        beyond.unwrap_err(),
        postcard::Error::SerdeDeCustom,
        "{} lacks a sample of its last variant",
        name::<T>()
    );
}

/// Notes which number stands for which value.
fn numbers<T: DeserializeOwned + Debug>(found: &mut String) {
    write!(found, "{}:", name::<T>()).unwrap();
    for number in 0..=u8::MAX {
        match postcard::take_from_bytes::<T>(&[number, 0]) {
            Ok((value, _)) => write!(found, " {number} {},", variant(&value)).unwrap(),
            Err(error) => {
                assert_eq!(error, postcard::Error::SerdeDeCustom);
                break;
            }
        }
    }
    found.pop();
    found.push('\n');
}

fn name<T>() -> &'static str {
    core::any::type_name::<T>().rsplit("::").next().unwrap()
}

/// The variant's name, with that of the variant inside where there is one in a message.
fn variant(value: &impl Debug) -> String {
    let text = format!("{value:?}");
    let mut words = text.split(|c: char| !c.is_alphanumeric());
    let outer = words.next().unwrap();
    match outer {
        "Start" | "Notice" => format!("{outer}({})", words.next().unwrap()),
        _ => outer.to_owned(),
    }
}
