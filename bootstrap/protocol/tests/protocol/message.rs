//! CMS: no byte of a message is without effect, and none makes a reader panic.

use bartizan_bootstrap_protocol::certificate::{Certificate, CertificateError, check_path};
use bartizan_bootstrap_protocol::cms::{self, CMS_MAX, CmsError, ContentType, Draft, Signer};
use bartizan_evidence::cose::Algorithm;
use der::asn1::{Any, OctetString, SetOfVec};
use der::{Decode as _, Encode as _, Sequence, Tag};
use proptest::prelude::*;
use std::sync::LazyLock;

use crate::parties::{NOW, Party, Scene};

static SCENE: LazyLock<(Scene, Vec<u8>)> = LazyLock::new(|| {
    let scene = Scene::new();
    let voucher = scene.voucher();
    (scene, voucher)
});

fn opens(bytes: &[u8]) -> Result<Vec<u8>, CmsError> {
    let (scene, _) = &*SCENE;
    let root = scene.maker.root();
    let signer = Signer::Under {
        anchor: &root,
        floor: NOW,
    };
    cms::open(
        bytes,
        ContentType::Voucher,
        signer,
        &scene.maker.ml_dsa_key(),
    )
}

#[test]
fn a_voucher_opens() {
    let (scene, voucher) = &*SCENE;
    assert_eq!(opens(voucher).unwrap(), scene.voucher.encode().unwrap());
}

/// The bits in turn, and every 16th byte of the long signature, so that the test takes seconds; the
/// property below takes any.
#[test]
fn a_flip_in_any_byte_of_a_voucher_is_refused() {
    let (_, voucher) = &*SCENE;
    let half = cms::half(voucher, Algorithm::MlDsa65).unwrap();
    let signature = &half[half.len() - 3309..];
    let start = voucher
        .windows(signature.len())
        .position(|window| window == signature)
        .unwrap();
    let long = start..start + signature.len();
    for place in (0..voucher.len()).filter(|place| !long.contains(place) || place % 16 == 0) {
        let mut damaged = voucher.clone();
        damaged[place] ^= 1 << (place % 8);
        assert!(opens(&damaged).is_err(), "byte {place}");
    }
}

#[test]
fn a_voucher_that_is_cut_or_followed_is_refused() {
    let (_, voucher) = &*SCENE;
    for end in (0..voucher.len()).step_by(37) {
        assert!(opens(&voucher[..end]).is_err(), "{end} bytes");
    }
    assert!(opens(&[voucher.as_slice(), &[0]].concat()).is_err());
    assert!(matches!(
        opens(&vec![0x30; CMS_MAX + 1]),
        Err(CmsError::TooLong)
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_voucher_with_any_other_byte_is_refused(place in any::<prop::sample::Index>(), flip in 1_u8..) {
        let (_, voucher) = &*SCENE;
        let mut damaged = voucher.clone();
        *place.get_mut(&mut damaged) ^= flip;
        prop_assert!(opens(&damaged).is_err());
    }

    #[test]
    fn no_bytes_make_a_reader_of_messages_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        prop_assert!(opens(&bytes).is_err());
        prop_assert!(cms::certificates(&bytes).is_err());
        prop_assert!(Certificate::from_der(&bytes).is_err());
    }

    #[test]
    fn no_damage_makes_a_reader_of_messages_panic(
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let (scene, voucher) = &*SCENE;
        let mut damaged = [voucher.clone(), scene.owner_certificate()];
        for (place, byte) in places {
            for message in &mut damaged {
                *place.get_mut(message) = byte;
            }
        }
        // Either outcome is fine for a half: its signature is not looked at.
        drop(cms::half(&damaged[0], Algorithm::Es384));
        drop(cms::certificates(&damaged[1]));
    }
}

#[test]
fn halves_make_the_whole_again_and_no_other() {
    let (scene, voucher) = &*SCENE;
    let es384 = cms::half(voucher, Algorithm::Es384).unwrap();
    let ml_dsa_65 = cms::half(voucher, Algorithm::MlDsa65).unwrap();
    assert_eq!(&cms::join(&es384, &ml_dsa_65).unwrap(), voucher);
    let other = scene.maker.sign(&Draft {
        content_type: ContentType::Voucher,
        content: b"{}",
        signed: None,
    });
    assert!(matches!(
        cms::join(&es384, &other),
        Err(CmsError::ContentType)
    ));
    assert!(matches!(
        cms::join(&ml_dsa_65, &ml_dsa_65),
        Err(CmsError::Missing(Algorithm::Es384))
    ));
    // A half of one draft does not carry the other half of another.
    assert!(matches!(
        cms::half(&es384, Algorithm::MlDsa65),
        Err(CmsError::Missing(Algorithm::MlDsa65))
    ));
}

#[test]
fn a_wrong_signature_is_not_put_into_a_message() {
    let party = Party::new("maker", 1);
    let draft = Draft {
        content_type: ContentType::Voucher,
        content: b"{}",
        signed: Some(NOW),
    };
    let es384 = party.es384(&draft.to_be_signed(Algorithm::Es384).unwrap());
    let ml_dsa_65 = party.ml_dsa_65(&draft.to_be_signed(Algorithm::MlDsa65).unwrap());
    let assemble = |es384: &[u8], ml_dsa_65: &[u8]| {
        let certificates = [party.leaf.clone()];
        draft.assemble(&certificates, es384, &party.ml_dsa_key(), ml_dsa_65)
    };
    assert!(assemble(&es384, &ml_dsa_65).is_ok());
    assert!(matches!(
        assemble(&party.es384(b"else"), &ml_dsa_65),
        Err(CmsError::Signature(Algorithm::Es384))
    ));
    assert!(matches!(
        assemble(&es384, &party.ml_dsa_65(b"else")),
        Err(CmsError::Signature(Algorithm::MlDsa65))
    ));
}

/// RFC 5652, 5.1, loosely: enough to build messages that no tool of ours builds.
#[derive(Sequence)]
pub(crate) struct Outer {
    kind: Any,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    data: Data,
}

/// Its signers.
pub(crate) fn signers(outer: &Outer) -> Vec<Any> {
    outer.data.signers.clone().into_vec()
}

#[derive(Clone, Sequence)]
struct Data {
    version: u8,
    digests: SetOfVec<Any>,
    encapsulated: Any,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    certificates: Option<SetOfVec<Any>>,
    signers: SetOfVec<Any>,
}

fn rebuilt(change: impl FnOnce(&mut Data)) -> Vec<u8> {
    let (_, voucher) = &*SCENE;
    let mut outer = Outer::from_der(voucher).unwrap();
    change(&mut outer.data);
    outer.to_der().unwrap()
}

#[test]
fn a_third_signer_a_second_of_a_kind_and_foreign_items_are_refused() {
    assert!(opens(&rebuilt(|_| {})).is_ok());
    let form = |bytes: &[u8]| match opens(bytes) {
        Err(CmsError::Form | CmsError::Malformed(_)) => {}
        other => panic!("{other:?}"),
    };
    form(&rebuilt(|data| data.version = 1));
    form(&rebuilt(|data| {
        let mut items = data.digests.clone().into_vec();
        items.pop();
        data.digests = SetOfVec::try_from(items).unwrap();
    }));
    form(&rebuilt(|data| {
        // The ECDSA signer again, with another signature.
        let mut signers = data.signers.clone().into_vec();
        let es384 = signers
            .iter()
            .find(|signer| signer.value().len() < 1000)
            .unwrap();
        let mut value = es384.value().to_vec();
        *value.last_mut().unwrap() ^= 1;
        signers.push(Any::new(Tag::Sequence, value).unwrap());
        data.signers = SetOfVec::try_from(signers).unwrap();
    }));
    form(&rebuilt(|data| {
        let crl = OctetString::new([1, 2, 3]).unwrap();
        let mut signers = data.signers.clone().into_vec();
        signers.push(Any::encode_from(&crl).unwrap());
        data.signers = SetOfVec::try_from(signers).unwrap();
    }));
    // Without its certificate the signer is nobody.
    assert!(matches!(
        opens(&rebuilt(|data| data.certificates = None)),
        Err(CmsError::Signer(Algorithm::Es384))
    ));
}

#[test]
fn a_message_in_another_encoding_is_refused() {
    // The outermost length, in one byte more than it needs.
    let (_, voucher) = &*SCENE;
    let (head, rest) = voucher.split_at(4);
    assert_eq!(head[..2], [0x30, 0x82]);
    let longer = [&[0x30, 0x83, 0, head[2], head[3]], rest].concat();
    assert!(matches!(opens(&longer), Err(CmsError::Malformed(_))));
    // And an indefinite one.
    let indefinite = [&[0x30, 0x80], rest, &[0, 0]].concat();
    assert!(matches!(opens(&indefinite), Err(CmsError::Malformed(_))));
}

#[test]
fn certificates_alone_come_back_and_nothing_else_does() {
    let (scene, voucher) = &*SCENE;
    let chain = [scene.owner.leaf.clone(), scene.owner.root()];
    let bytes = cms::chain(&chain).unwrap();
    let mut back = cms::certificates(&bytes).unwrap();
    back.sort_by_key(|certificate| *certificate != chain[0]);
    assert_eq!(back, chain);
    assert!(matches!(cms::chain(&[]), Err(CmsError::Form)));
    assert!(matches!(cms::certificates(voucher), Err(CmsError::Form)));
    assert!(check_path(&chain[0], &chain, &chain[1], NOW).is_ok());
    assert!(matches!(
        check_path(&chain[0], &chain, &scene.maker.root(), NOW),
        Err(CertificateError::NoPath)
    ));
}
