//! The owner: a CA, a verifier's keys, a store with devices, and the controller's process.

use core::net::SocketAddr;
use core::time::Duration;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use bartizan_controller::device::{Actor, Device, Kind, Kme, NewDevice, Serial, Site};
use bartizan_controller::plan::Plan;
use bartizan_controller::store::{Kept, Place, Store, StoreError};
use bartizan_evidence::cose::VerifierKeys;
use bartizan_evidence::lease::OwnerTime;
use bartizan_evidence::pcr_key::PcrSigningKey;
use bartizan_model::config::Der;
use bartizan_model::ids::NodeId;
use bartizan_signer::Signer;
use bartizan_tls::{Anchors, Clock};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::tpm::{Boot, Maker, Tpm, pcr_signing_key};

/// Longer than anything takes on a loaded machine.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);

/// An owner with a folder of files; everything goes when it does.
pub(crate) struct Owner {
    folder: PathBuf,
    pub(crate) ca: CertifiedIssuer<'static, KeyPair>,
    pub(crate) maker: Maker,
    /// Of boxes, not of TPMs.
    pub(crate) box_maker: Maker,
    keys: bartizan_model::config::VerifierKeys,
    pub(crate) signing: PcrSigningKey,
    process: Option<Child>,
    pub(crate) registrar: Option<SocketAddr>,
    pub(crate) home: Option<SocketAddr>,
}

/// How often the controller asks a gateway for what, in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// From an attestation to the next.
    pub(crate) cadence: u64,
    /// A lease's life.
    pub(crate) lease: u64,
    /// From a look at its state to the next.
    pub(crate) poll: u64,
}

impl Pace {
    /// As fast as can be configured.
    pub(crate) const FAST: Self = Self {
        cadence: 1,
        lease: 5,
        poll: 60,
    };
}

/// The image that the owner lets run.
pub(crate) const IMAGE: &str = "an image";

impl Owner {
    /// One whose reference values are those of [`IMAGE`].
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("bartizan-attested-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        for part in [
            "verifier",
            "image-maker",
            "tpm-makers",
            "box-makers",
            "references",
        ] {
            fs::create_dir_all(folder.join(part)).unwrap();
        }
        let signer = Signer::generate().unwrap();
        signer.save(&folder.join("verifier")).unwrap();
        let keys = signer.public_keys();
        let image_maker = Signer::generate().unwrap();
        image_maker.save(&folder.join("image-maker")).unwrap();
        let signing = pcr_signing_key();
        let values = Boot::of(IMAGE).reference(IMAGE, &signing).encode().unwrap();
        let reference = image_maker.sign(&values).unwrap();
        fs::write(folder.join("references/image.corim"), reference).unwrap();
        let maker = Maker::new();
        fs::write(folder.join("tpm-makers/maker.pem"), maker.pem()).unwrap();
        let box_maker = Maker::new();
        fs::write(folder.join("box-makers/maker.pem"), box_maker.pem()).unwrap();

        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "an owner");
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(folder.join("ca.pem"), ca.pem()).unwrap();
        fs::write(folder.join("ca-key.pem"), ca.key().serialize_pem()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["controller".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &ca).unwrap();
        fs::write(folder.join("certificate.pem"), certificate.pem()).unwrap();
        fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
        let owner = Self {
            folder,
            ca,
            maker,
            box_maker,
            keys,
            signing,
            process: None,
            registrar: None,
            home: None,
        };
        owner.configure(Pace::FAST);
        owner
    }

    /// Holds from the next start on.
    pub(crate) fn configure(&self, pace: Pace) {
        let Pace {
            cadence,
            lease,
            poll,
        } = pace;
        let text = format!(
            "listen = \"127.0.0.1:0\"\nsocket = \"socket\"\nstate = \"store\"\n\
             certificate = \"certificate.pem\"\nkey = \"key.pem\"\nowner-ca = \"ca.pem\"\n\
             poll-seconds = {poll}\n[lease]\ncadence-seconds = {cadence}\nseconds = {lease}\n\
             [registrar]\nlisten = \"127.0.0.1:0\"\nartifacts = \"artifacts\"\n\
             [ca]\ncertificate = \"ca.pem\"\nkey = \"ca-key.pem\"\n\
             [sae-ca]\ncertificate = \"ca.pem\"\nkey = \"ca-key.pem\"\n\
             [verifier]\nkeys = \"verifier\"\ntpm-makers = \"tpm-makers\"\n\
             box-makers = \"box-makers\"\n\
             references = \"references\"\nreference-signers = [\"image-maker\"]\n"
        );
        fs::write(self.folder.join("controller.toml"), text).unwrap();
    }

    /// A TPM of the maker that the owner trusts, in a box that runs the approved image.
    pub(crate) fn tpm(&self) -> Tpm {
        Tpm::new(&self.maker, Boot::of(IMAGE))
    }

    /// Who the controller is certified by.
    pub(crate) fn anchors(&self) -> Anchors {
        Anchors::new(&[self.anchor()], &Clock::system()).unwrap()
    }

    pub(crate) fn anchor(&self) -> Der {
        Der(self.ca.der().to_vec())
    }

    /// What a gateway pins.
    pub(crate) fn verifier_keys(&self) -> VerifierKeys {
        VerifierKeys::new(&self.keys.es384, &self.keys.ml_dsa_65).unwrap()
    }

    /// Does something with the store while no controller runs.
    pub(crate) fn in_store<T>(&self, work: impl AsyncFnOnce(&Store) -> T) -> T {
        assert!(self.process.is_none(), "the controller has the store");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let place = Place::File(self.folder.join("store"));
            let store = Store::open(&place).await.unwrap();
            work(&store).await
        })
    }

    /// Adds a box without an IDevID certificate.
    pub(crate) fn add(&self, serial: &str, node: &str) {
        self.add_all(&[(serial.to_owned(), node.to_owned())]);
    }

    /// Adds such boxes, by serial number and node.
    pub(crate) fn add_all(&self, boxes: &[(String, String)]) {
        add_each(
            self,
            boxes.iter().map(|(serial, node)| NewDevice {
                serial: Serial::try_from(serial.as_str()).unwrap(),
                node: NodeId::try_from(node.as_str()).unwrap(),
                kind: Kind::Ek,
                site: site(),
            }),
        );
    }

    /// Adds a box that its maker certified.
    pub(crate) fn add_certified(&self, serial: &str, node: &str, kmes: Vec<Kme>) {
        add_each(
            self,
            [NewDevice {
                serial: Serial::try_from(serial).unwrap(),
                node: NodeId::try_from(node).unwrap(),
                kind: Kind::Idevid,
                site: Site { kmes, ..site() },
            }],
        );
    }

    /// Where what boxes are told lies.
    pub(crate) fn artifacts(&self) -> PathBuf {
        self.folder.join("artifacts")
    }

    /// Gives the running controller an order of an operator's.
    pub(crate) fn order(&self, words: &[&str]) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_bartizan-controller"))
            .args(words)
            .arg("--socket")
            .arg(self.folder.join("socket"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{words:?}: {said}");
        said
    }

    /// Makes this the plan.
    pub(crate) fn plan(&self, text: &str) {
        let (document, plan) = Plan::parse(text).unwrap();
        let actor = Actor::new("a test");
        self.in_store(async |store| {
            let decide = |standing: &Kept| {
                let reqids = standing.reqids.for_plan(&plan);
                let document = document.clone();
                Ok::<_, StoreError>(Kept { document, reqids })
            };
            store
                .replace_plan(&actor, OwnerTime(1), decide)
                .await
                .unwrap();
        });
    }

    /// The record of a device; the controller must not run.
    pub(crate) fn device(&self, serial: &str) -> Device {
        let serial = Serial::try_from(serial).unwrap();
        self.in_store(async |store| store.device(&serial).await.unwrap().unwrap())
    }

    /// Starts the controller and learns where it listens.
    pub(crate) fn start(&mut self) {
        let mut process = Command::new(env!("CARGO_BIN_EXE_bartizan-controller"))
            .arg("serve")
            .arg("--config")
            .arg(self.folder.join("controller.toml"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        self.process = Some(process);
        (self.home, self.registrar) = (None, None);
        while self.home.is_none() || self.registrar.is_none() {
            let line = lines.next().expect("the controller ended").unwrap();
            let end = |words: &str| {
                let (_, address) = line.split_once(words)?;
                Some(address.trim().parse().unwrap())
            };
            self.registrar = self.registrar.or_else(|| end("registrar on "));
            self.home = self.home.or_else(|| end("listening on "));
        }
        let log = self.folder.join("log");
        std::thread::spawn(move || {
            use std::io::Write as _;
            let mut log = fs::File::create(log).unwrap();
            for line in lines.map_while(Result::ok) {
                writeln!(log, "{line}").unwrap();
            }
        });
    }

    /// The controller's process.
    pub(crate) fn process(&self) -> u32 {
        self.process.as_ref().expect("the controller runs").id()
    }

    /// Kills the controller, as a loss of power does.
    pub(crate) fn stop(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Waits until the controller has logged these words.
    pub(crate) fn logged(&self, words: &str) {
        let begun = std::time::Instant::now();
        loop {
            let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            if log.contains(words) {
                return;
            }
            assert!(begun.elapsed() < LIMIT, "{words:?} is not in:\n{log}");
            std::thread::yield_now();
        }
    }
}

fn add_each(owner: &Owner, devices: impl IntoIterator<Item = NewDevice>) {
    let actor = Actor::new("a test");
    owner.in_store(async |store| {
        for device in devices {
            store.add(device, &actor, OwnerTime(1)).await.unwrap();
        }
    });
}

fn site() -> Site {
    Site {
        addresses: vec!["192.0.2.1".parse().unwrap()],
        ..Site::default()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.stop();
        }
        let _nobody_minds = fs::remove_dir_all(&self.folder);
    }
}
