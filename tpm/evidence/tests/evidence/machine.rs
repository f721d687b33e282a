//! A box of our own making: its TPM's key, its logs and the quote over them.

use std::collections::BTreeMap;

use bartizan_evidence::appraisal::{APPRAISED, Evidence, Record, Verdict, appraise};
use bartizan_evidence::pcr_key::PcrSigningKey;
use bartizan_evidence::quote::{AttestationKey, Digest, Quote};
use bartizan_evidence::reference::{Phase, ReferenceValues, UserspaceLogging};
use bartizan_evidence::replay::Bank;
use bartizan_evidence::structures::{
    Attributes, Curve, EccScheme, EcdsaSignature, Hash, Key, Name, Public, Symmetric,
};
use bartizan_model::identity::{Floors, PcrSelection, Quoted};
use p256::ecdsa::SigningKey;
use p256::ecdsa::signature::hazmat::PrehashSigner as _;
use sha2::{Digest as _, Sha256};

use crate::logs::{BOOT, USERSPACE, agile_log, by_hand, userspace_log};

/// What the verifier sent.
pub(crate) const QUALIFYING: [u8; 32] = [0x71; 32];

/// An RSA-2048 public key, made for these tests.
pub(crate) const PEM: &str = include_str!("pcr-public-key.pem");

/// userWithAuth and adminWithPolicy beside what an AK must have: the TCG template's.
pub(crate) const AK_ATTRIBUTES: u32 = 0x0005_00f2;

/// The key that signs for a TPM, and what it says of itself.
pub(crate) struct Tpm {
    key: SigningKey,
    pub(crate) public: Public,
}

impl Tpm {
    pub(crate) fn new() -> Self {
        Self::with_attributes(AK_ATTRIBUTES)
    }

    pub(crate) fn with_attributes(attributes: u32) -> Self {
        let key = SigningKey::from_slice(&[0x5a; 32]).unwrap();
        let point = key.verifying_key().to_sec1_point(false);
        let public = Public {
            name_hash: Hash::Sha256,
            attributes: Attributes(attributes),
            auth_policy: Vec::new(),
            key: Key::Ecc {
                symmetric: Symmetric::Null,
                scheme: EccScheme::Ecdsa(Hash::Sha256),
                curve: Curve::P256,
                x: point.x().unwrap().to_vec(),
                y: point.y().unwrap().to_vec(),
            },
        };
        Self { key, public }
    }

    pub(crate) fn ak(&self) -> AttestationKey {
        AttestationKey::parse(&self.public.encode()).unwrap()
    }

    /// A `TPMT_SIGNATURE` over any bytes.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let digest = Sha256::digest(message);
        let signature: p256::ecdsa::Signature = self.key.sign_prehash(&digest).unwrap();
        let (r, s) = signature.split_bytes();
        EcdsaSignature {
            hash: Hash::Sha256,
            r: r.to_vec(),
            s: s.to_vec(),
        }
        .encode()
    }

    /// A quote, signed after `edit`.
    pub(crate) fn quote(
        &self,
        pcrs: &BTreeMap<u8, Digest>,
        edit: impl FnOnce(&mut Statement),
    ) -> Quoted {
        let mut statement =
            Statement::of(&self.public.name().under_endorsement(Hash::Sha256), pcrs);
        edit(&mut statement);
        let attest = statement.encode();
        Quoted {
            signature: self.sign(&attest),
            attest,
            pcrs: pcrs.iter().map(|(pcr, value)| (*pcr, *value)).collect(),
        }
    }
}

/// A `TPMS_ATTEST`, field by field, so that each can be wrong.
pub(crate) struct Statement {
    pub(crate) magic: u32,
    pub(crate) kind: u16,
    pub(crate) signer: Vec<u8>,
    pub(crate) extra: Vec<u8>,
    pub(crate) clock: u64,
    pub(crate) resets: u32,
    pub(crate) restarts: u32,
    pub(crate) safe: u8,
    pub(crate) body: Vec<u8>,
}

impl Statement {
    fn of(signer: &Name, pcrs: &BTreeMap<u8, Digest>) -> Self {
        let selected = pcrs.keys().fold(0_u32, |bits, pcr| bits | 1 << pcr);
        let values: Vec<u8> = pcrs.values().flatten().copied().collect();
        Self {
            magic: 0xff54_4347,
            kind: 0x8018,
            signer: signer.0.clone(),
            extra: QUALIFYING.to_vec(),
            clock: 1_000_000,
            resets: 7,
            restarts: 1,
            safe: 1,
            body: quote_body(&[(0x000b, selected)], &Sha256::digest(values)),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = self.magic.to_be_bytes().to_vec();
        out.extend(self.kind.to_be_bytes());
        out.extend(sized(&self.signer));
        out.extend(sized(&self.extra));
        out.extend(self.clock.to_be_bytes());
        out.extend(self.resets.to_be_bytes());
        out.extend(self.restarts.to_be_bytes());
        out.push(self.safe);
        out.extend(0x2021_0622_0000_0000_u64.to_be_bytes());
        out.extend(&self.body);
        out
    }
}

/// `TPMS_QUOTE_INFO`.
pub(crate) fn quote_body(selections: &[(u16, u32)], digest: &[u8]) -> Vec<u8> {
    let mut body = u32::try_from(selections.len())
        .unwrap()
        .to_be_bytes()
        .to_vec();
    for (bank, pcrs) in selections {
        body.extend(bank.to_be_bytes());
        body.push(3);
        body.extend(&pcrs.to_le_bytes()[..3]);
    }
    body.extend(sized(digest));
    body
}

pub(crate) fn sized(bytes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(bytes.len()).unwrap();
    [&len.to_be_bytes()[..], bytes].concat()
}

/// A box: what it sends and what is known of it.
pub(crate) struct Machine {
    pub(crate) tpm: Tpm,
    pub(crate) firmware_log: Vec<u8>,
    pub(crate) userspace_log: Vec<u8>,
    pub(crate) pcrs: BTreeMap<u8, Digest>,
    pub(crate) reference: ReferenceValues,
    pub(crate) record: Record,
    /// What it shows.
    pub(crate) floors: Option<Floors>,
}

impl Machine {
    /// One that is as it should be.
    pub(crate) fn clean() -> Self {
        let firmware_log = agile_log(&[Bank::Sha1, Bank::Sha256], &BOOT);
        let userspace_log = userspace_log(&USERSPACE).into_bytes();
        let pcrs = by_hand(&BOOT, &USERSPACE);
        let quoted = |pcr: u8| Digest::try_from(pcrs.value(pcr)).unwrap();
        let selected = (0..16).filter(|pcr| *pcr != 10);
        let pcrs: BTreeMap<u8, Digest> = selected.map(|pcr| (pcr, quoted(pcr))).collect();
        let pinned = [0, 2, 15].map(|pcr| (pcr, pcrs[&pcr])).into();
        Self {
            tpm: Tpm::new(),
            firmware_log,
            userspace_log,
            reference: reference(&pcrs),
            pcrs,
            floors: None,
            record: Record {
                clock: None,
                pinned,
                floors: Floors {
                    ownership: Some(2),
                    rollback: Some(3),
                    time: None,
                },
            },
        }
    }

    pub(crate) fn quote(&self) -> Quote {
        self.quote_after(|_| {})
    }

    pub(crate) fn quote_after(&self, edit: impl FnOnce(&mut Statement)) -> Quote {
        let quoted = self.tpm.quote(&self.pcrs, edit);
        let selected = self.pcrs.keys().fold(0_u32, |bits, pcr| bits | 1 << pcr);
        Quote::verify(&quoted, &self.tpm.ak(), &QUALIFYING, PcrSelection(selected)).unwrap()
    }

    pub(crate) fn verdict(&self) -> Verdict {
        self.verdict_of(&self.quote())
    }

    pub(crate) fn verdict_of(&self, quote: &Quote) -> Verdict {
        let evidence = Evidence {
            quote,
            firmware_log: &self.firmware_log,
            userspace_log: &self.userspace_log,
            ima_log: &[],
            floors: self.floors,
        };
        appraise(
            &evidence,
            std::slice::from_ref(&self.reference),
            &self.record,
        )
    }
}

fn reference(pcrs: &BTreeMap<u8, Digest>) -> ReferenceValues {
    let exact = [4, 7, 9, 12, 13, 14].map(|pcr| (pcr, vec![pcrs[&pcr]]));
    ReferenceValues {
        image: "bartizan-1.4.0".to_owned(),
        os_version: "1.4.0".to_owned(),
        rollback_epoch: 3,
        signing_key: PcrSigningKey::from_pem(PEM.as_bytes()).unwrap(),
        userspace_log: UserspaceLogging::Logged,
        exact: exact.into(),
        phases: vec![
            Phase {
                name: "enter-initrd".to_owned(),
                pcr11: [0x11; 32],
            },
            Phase {
                name: "enter-initrd:leave-initrd".to_owned(),
                pcr11: pcrs[&11],
            },
        ],
        hardware: Vec::new(),
    }
}

#[test]
fn what_is_appraised_is_what_our_box_quotes() {
    let machine = Machine::clean();
    let selected = machine.pcrs.keys().fold(0_u32, |bits, pcr| bits | 1 << pcr);
    assert_eq!(PcrSelection(selected), APPRAISED);
}
