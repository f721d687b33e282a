//! Two ends that want to speak: a CA, certificates, and a TPM's end of the edge with a key in
//! software behind it.

use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use aws_lc_rs::digest::{Digest, SHA256, SHA384};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair,
};
use bartizan_model::config::Der;
use bartizan_model::identity::KeyName;
use bartizan_model::message::{FromTpm, ToTpm};
use bartizan_process::Channel;
use bartizan_tls::{Anchors, Clock, Curve, Identity, Signer, Tpm as Edge};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustix::event::{PollFd, PollFlags, poll};
use rustls::pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};

/// Longer than anything takes on a loaded machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// A certificate authority.
pub(crate) struct Ca(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub(crate) struct Certified {
    pub(crate) chain: Vec<Der>,
    pub(crate) key: KeyPair,
}

/// When a certificate is valid.
#[derive(Clone, Copy)]
pub(crate) enum Valid {
    Always,
    InThePast,
    InTheFuture,
}

impl Ca {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn anchors(&self) -> Anchors {
        self.anchors_by(&Clock::system())
    }

    pub(crate) fn anchors_by(&self, clock: &Clock) -> Anchors {
        Anchors::new(&[Der(self.0.der().to_vec())], clock).unwrap()
    }

    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    pub(crate) fn issue(&self, names: &[&str]) -> Certified {
        self.issue_valid(names, Valid::Always)
    }

    pub(crate) fn issue_valid(&self, names: &[&str], valid: Valid) -> Certified {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        match valid {
            Valid::Always => {}
            Valid::InThePast => params.not_after = rcgen::date_time_ymd(2001, 1, 1),
            Valid::InTheFuture => params.not_before = rcgen::date_time_ymd(4000, 1, 1),
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Certified {
            chain: vec![Der(certificate.der().to_vec())],
            key,
        }
    }

    /// A certificate of one year.
    pub(crate) fn issue_for(&self, names: &[&str], year: i32) -> Certified {
        issue_for(names, year, &self.0)
    }

    /// A certificate of one year, by an intermediate CA that ended with it.
    pub(crate) fn issue_under_an_ended_ca(&self, names: &[&str], year: i32) -> Certified {
        let mut params = params_for(&[], year);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "between");
        let key = KeyPair::generate().unwrap();
        let between = CertifiedIssuer::signed_by(params, key, &self.0).unwrap();
        let mut certified = issue_for(names, year, &between);
        certified.chain.push(Der(between.der().to_vec()));
        certified
    }

    /// A later certificate over a key that has one.
    pub(crate) fn renew(&self, names: &[&str], key: &KeyPair) -> Vec<Der> {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let params = CertificateParams::new(names).unwrap();
        vec![Der(params.signed_by(key, &self.0).unwrap().der().to_vec())]
    }
}

fn params_for(names: &[&str], year: i32) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = rcgen::date_time_ymd(year, 1, 1);
    params.not_after = rcgen::date_time_ymd(year.saturating_add(1), 1, 1);
    params
}

fn issue_for(names: &[&str], year: i32, by: &CertifiedIssuer<'_, KeyPair>) -> Certified {
    let key = KeyPair::generate().unwrap();
    let certificate = params_for(names, year).signed_by(&key, by).unwrap();
    Certified {
        chain: vec![Der(certificate.der().to_vec())],
        key,
    }
}

impl Certified {
    /// An identity whose key sits behind a tpm edge.
    pub(crate) fn identity(&self) -> (Identity, Tpm) {
        let (signer, tpm) = Tpm::with(&self.key);
        (Identity::new(&self.chain, Arc::new(signer)).unwrap(), tpm)
    }
}

/// The other end of a tpm edge, as a thread.
pub(crate) struct Tpm {
    signatures: Arc<AtomicUsize>,
    asked: Receiver<()>,
}

/// What the tpm role makes of a request; `None` is its death.
pub(crate) type Answer = Box<dyn FnMut(ToTpm) -> Option<Vec<FromTpm>> + Send>;

impl Tpm {
    pub(crate) fn with(key: &KeyPair) -> (Signer, Self) {
        Self::ldevid(signing(key))
    }

    pub(crate) fn answering(mut answer: Answer) -> (Self, Edge) {
        let (near, mut far) = Channel::<FromTpm, ToTpm>::pair().unwrap();
        let signatures = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&signatures);
        let (tell, asked) = channel();
        std::thread::spawn(move || {
            loop {
                let ends = [PollFd::from_borrowed_fd(far.as_fd(), PollFlags::IN)];
                poll(&mut { ends }, None).unwrap();
                let Ok(received) = far.recv() else { return };
                let Some(received) = received else { continue };
                let _nobody_asks = tell.send(());
                let Some(replies) = answer(received.message) else {
                    return;
                };
                for reply in replies {
                    if matches!(reply, FromTpm::Signature { .. }) {
                        counted.fetch_add(1, Ordering::SeqCst);
                    }
                    if far.send(&reply).is_err() {
                        return;
                    }
                }
            }
        });
        let edge = Edge::new(near);
        (Self { signatures, asked }, edge)
    }

    /// The owner's key.
    pub(crate) fn ldevid(answer: Answer) -> (Signer, Self) {
        let (tpm, edge) = Self::answering(answer);
        (Signer::ldevid(edge), tpm)
    }

    /// The maker's key, of this curve.
    pub(crate) fn idevid(key: &KeyPair, curve: Curve) -> (Signer, Self) {
        let (tpm, edge) = Self::answering(signing_as(KeyName::Idevid, key, curve));
        (Signer::idevid(edge, curve), tpm)
    }

    /// How many signatures it gave.
    pub(crate) fn signatures(&self) -> usize {
        self.signatures.load(Ordering::SeqCst)
    }

    /// Waits until it is asked for one.
    pub(crate) fn wait_until_asked(&self) {
        self.asked.recv_timeout(LIMIT).unwrap();
    }
}

/// Signs with the owner's key in software.
pub(crate) fn signing(key: &KeyPair) -> Answer {
    signing_as(KeyName::Ldevid, key, Curve::P256)
}

fn signing_as(name: KeyName, key: &KeyPair, curve: Curve) -> Answer {
    let (algorithm, hash) = match curve {
        Curve::P256 => (&ECDSA_P256_SHA256_ASN1_SIGNING, &SHA256),
        Curve::P384 => (&ECDSA_P384_SHA384_ASN1_SIGNING, &SHA384),
    };
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, key.serialized_der()).unwrap();
    Box::new(move |request| {
        let ToTpm::Sign { order, key, digest } = request else {
            panic!("not a signature: {request:?}")
        };
        assert_eq!(key, name);
        // The digest is signed as it is: what the signer hashed is what the peer must check.
        let digest = Digest::import_less_safe(&digest, hash).unwrap();
        let signature = pair.sign_digest(&digest).unwrap().as_ref().to_vec();
        Some(vec![FromTpm::Signature { order, signature }])
    })
}

/// Both ends of a TCP connection over loopback.
pub(crate) async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    (near.unwrap(), far.unwrap().0)
}
