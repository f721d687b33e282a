//! Everything that two gateways, their controller and their KMEs are configured with.
//!
//! ```text
//! DIR/pki/        certificates, TPM states; see `crate::pki`
//! DIR/verifier/   the verifier's keys, and beside it whom it believes
//! DIR/gw-a.example/appliance.toml and what it names; state/, where it keeps its ownership
//! DIR/controller.toml
//! ```

use core::net::SocketAddr;
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bartizan_bootstrap_protocol::{
    cms,
    conveyed::{self, Information, Onboarding},
    serial::Serial,
    site::Site as OwnersSite,
    voucher::{self, Assertion, Bound, Voucher},
};
use bartizan_evidence::lease::OwnerTime;
use bartizan_model::{config::KmeInterface, ids::NodeId, ownership::SiteNetwork};
use bartizan_signer::Signer;

use super::measured::Image;
use super::{
    boot::Kernel,
    topology::{Family, Side, controller},
};
use crate::pki::{Authority, Kind, Party, Pki};

/// The controller's name.
pub const CONTROLLER: &str = "controller.example";

/// Where gateways call home to.
pub const CALL_HOME: u16 = 4335;

/// Where gateways enrol.
pub const REGISTRAR: u16 = 9443;

/// Where KMEs listen for requests of 014.
pub const KME_PORT: u16 = 8443;

/// Where they listen for requests of 004, if they do.
pub const KME_STREAM_PORT: u16 = 25575;

/// Where peer roles listen.
pub const PEER_PORT: u16 = 9061;

/// How a site differs from the usual.
#[derive(Clone, Copy, Debug)]
pub struct Choices {
    /// What the gateways run on: it decides what a lock-down can achieve.
    pub kernel: Kernel,
    /// Which family the controller, the KMEs and the peers are reached by.
    pub family: Family,
    /// How long a lease lives.
    pub lease: Duration,
    /// How often it is renewed.
    pub cadence: Duration,
    /// What is spoken with the KMEs.
    pub interface: KmeInterface,
}

/// Two gateways as an owner set them up.
#[derive(Debug)]
pub struct Site {
    folder: PathBuf,
    pki: Pki,
    serials: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Side {
    /// The gateway's node id; A's is the lower.
    pub fn node(self) -> &'static str {
        match self {
            Self::A => "gw-a.example",
            Self::B => "gw-b.example",
        }
    }

    /// Its name at its KME.
    pub fn sae(self) -> &'static str {
        match self {
            Self::A => "sae-a",
            Self::B => "sae-b",
        }
    }

    /// Its KME's name.
    pub fn kme_name(self) -> &'static str {
        match self {
            Self::A => "kme-a.example",
            Self::B => "kme-b.example",
        }
    }
}

impl Choices {
    /// Leases of five minutes, renewed each minute, everything over IPv4, 014 with the KMEs.
    pub fn usual(kernel: Kernel) -> Self {
        Self {
            kernel,
            family: Family::V4,
            lease: Duration::from_mins(5),
            cadence: Duration::from_mins(1),
            interface: KmeInterface::Etsi014,
        }
    }

    /// Where a gateway finds its KME.
    pub fn kme(&self, side: Side) -> SocketAddr {
        let port = match self.interface {
            KmeInterface::Etsi014 => KME_PORT,
            KmeInterface::Etsi004Binary | KmeInterface::Etsi004Json => KME_STREAM_PORT,
        };
        SocketAddr::new(side.kme(self.family), port)
    }
}

impl Site {
    /// Writes a site whose gateways nobody owns yet: the owner expects them, and has what they must find.
    ///
    /// # Panics
    /// If it cannot be written, or swtpm does not do its part.
    pub fn from_factory(folder: &Path, choices: &Choices, kinds: [Kind; 2]) -> Self {
        let networks = [SiteNetwork::default(), SiteNetwork::default()];
        Self::with_networks(folder, choices, kinds, networks)
    }

    /// The same, with what the owner wants of each gateway's interfaces, A's first.
    ///
    /// # Panics
    /// As [`Site::from_factory`].
    pub fn with_networks(
        folder: &Path,
        choices: &Choices,
        kinds: [Kind; 2],
        networks: [SiteNetwork; 2],
    ) -> Self {
        let pki = Pki::create(&folder.join("pki"));
        let verifier = Signer::generate().expect("keys");
        for part in [
            "verifier",
            "tpm-makers",
            "box-makers",
            "references",
            "image-maker",
            "rendezvous",
        ] {
            fs::create_dir_all(folder.join(part)).expect("make a folder of the verifier");
        }
        verifier
            .save(&folder.join("verifier"))
            .expect("keep the verifier's keys");
        let write = |name: &str, bytes: &[u8]| {
            fs::write(folder.join(name), bytes).expect("write a file of the owner");
        };
        write("tpm-makers/maker.pem", pki.maker().tpms().pem().as_bytes());
        write("box-makers/maker.pem", pki.maker().boxes().pem().as_bytes());
        let image = Image::approved();
        write(
            "references/image.corim",
            &pki.builder().reference_values(&image),
        );
        let keys = pki.builder().reference_keys();
        write("image-maker/es384.pub", &keys.es384);
        write("image-maker/ml-dsa-65.pub", &keys.ml_dsa_65);
        write("ca-key.pem", pki.owner().key_pem().as_bytes());
        write("sae-key.pem", pki.kme_operator().key_pem().as_bytes());
        pki.controller(CONTROLLER);
        let voucher_root = Authority::new("Test voucher maker");
        let maker = Party::new(&voucher_root, "Test voucher signer");
        let owner = Party::new(pki.owner(), "Test owner's signer");
        let call_home = SocketAddr::new(controller(choices.family), CALL_HOME);
        let registrar = SocketAddr::new(controller(choices.family), REGISTRAR);
        let owners_site = OwnersSite {
            call_home,
            registrar,
            controller: NodeId::try_from(CONTROLLER).expect("a name"),
            anchors: vec![pki.owner().anchor()],
            verifier: verifier.public_keys(),
            network: SiteNetwork::default(),
        };
        let conveyed = networks.map(|network| {
            let information = Information::Onboarding(Box::new(Onboarding {
                boot_image: None,
                site: OwnersSite {
                    network,
                    ..owners_site.clone()
                },
            }));
            let information = information.encode().expect("conveyed information");
            owner.sign(&conveyed::draft(&information, None))
        });
        let certificates = cms::chain(&owner.chain()).expect("the owner's certificates");
        let mut site = Self {
            folder: folder.to_owned(),
            pki,
            serials: Vec::new(),
            environment: Vec::new(),
        };
        for ((side, kind), conveyed) in Side::BOTH.into_iter().zip(kinds).zip(conveyed) {
            site.pki.kme(side.kme_name());
            let serial = site.pki.new_box(side.node(), kind);
            site.pki
                .builder()
                .leave(&image, &image, &site.measured(side));
            let gateway = site.gateway(side);
            fs::create_dir_all(gateway.join("state")).expect("make a gateway's folder");
            fs::write(gateway.join("voucher-root.pem"), voucher_root.pem()).expect("write a root");
            fs::write(
                gateway.join("voucher-ml-dsa-65.pub"),
                maker.ml_dsa_65().as_bytes(),
            )
            .expect("write a key");
            let text =
                appliance(choices).replace("servers = []", &format!("servers = [\"{registrar}\"]"));
            fs::write(gateway.join("appliance.toml"), text).expect("write a configuration");
            let voucher = voucher(&maker, &owner, &serial);
            let artifacts = folder.join("artifacts").join(&serial);
            fs::create_dir_all(&artifacts).expect("make a box's folder");
            for (name, bytes) in [
                ("conveyed-information.cms", &conveyed),
                ("owner-certificate.cms", &certificates),
                ("ownership-voucher.cms", &voucher),
            ] {
                fs::write(artifacts.join(name), bytes).expect("write what a box finds");
            }
            site.serials.push(serial);
        }
        let text = attested_config(folder, choices);
        fs::write(site.controller_config(), text).expect("write the controller's configuration");
        site
    }

    /// Has the owner's programs, and the KMEs, started with these variables.
    pub fn start_owner_with(&mut self, environment: Vec<(String, String)>) {
        self.environment = environment;
    }

    /// What they are started with.
    pub fn environment(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.environment.iter();
        pairs.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The boxes' serial numbers, A's first.
    pub fn serials(&self) -> &[String] {
        &self.serials
    }

    /// What the owner wants of a box, for `device add`.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn wanted(&self, side: Side, choices: &Choices) -> PathBuf {
        let addresses: Vec<String> = [Family::V4, Family::V6]
            .into_iter()
            .flat_map(|family| {
                [
                    side.wan(family),
                    side.management(family),
                    side.kme_client(family),
                ]
            })
            .map(|address| format!("\"{address}\""))
            .collect();
        let interface = match choices.interface {
            KmeInterface::Etsi014 => "etsi014",
            KmeInterface::Etsi004Binary => "etsi004-binary",
            KmeInterface::Etsi004Json => "etsi004-json",
        };
        let text = format!(
            "addresses = [{}]\npeer-port = {PEER_PORT}\n\n[[kme]]\naddress = \"{}\"\nname = \"{}\"\n\
             anchors = \"pki/kme-ca.pem\"\nsae = \"{}\"\ninterface = \"{interface}\"\n",
            addresses.join(", "),
            choices.kme(side),
            side.kme_name(),
            side.sae(),
        );
        let path = self.folder.join(format!("{}.site.toml", side.node()));
        fs::write(&path, text).expect("write what the owner wants");
        path
    }

    /// The folder of a gateway's configuration, all that its supervisor reads.
    pub fn gateway(&self, side: Side) -> PathBuf {
        self.folder.join(side.node())
    }

    /// The state of a gateway's TPM.
    pub fn tpm(&self, side: Side) -> PathBuf {
        self.folder.join("pki").join(side.node()).join("tpm")
    }

    /// Where what the gateway's boot left for its tpm role is kept.
    pub fn measured(&self, side: Side) -> PathBuf {
        self.folder.join("pki").join(side.node()).join("measured")
    }

    /// The controller's configuration.
    pub fn controller_config(&self) -> PathBuf {
        self.folder.join("controller.toml")
    }

    /// The socket that `status` and `apply` use.
    pub fn controller_socket(&self) -> PathBuf {
        self.folder.join("controller.sock")
    }

    /// What the controller is to print to; a controller that is started again appends.
    ///
    /// # Panics
    /// If it cannot be opened.
    pub fn controller_log(&self) -> fs::File {
        let path = self.folder.join("controller.log");
        let file = fs::File::options().create(true).append(true).open(path);
        file.expect("open the controller's log")
    }

    /// What the controller has printed.
    pub fn read_controller_log(&self) -> String {
        fs::read_to_string(self.folder.join("controller.log")).unwrap_or_default()
    }

    /// The folder of a KME's certificate and key.
    pub fn kme(&self, side: Side) -> PathBuf {
        self.folder.join("pki").join(side.kme_name())
    }

    /// Where the KMEs see of each other which streams are open.
    pub fn rendezvous(&self) -> PathBuf {
        self.folder.join("rendezvous")
    }

    /// Who certified all of them; for a test that needs one more certificate.
    pub fn pki(&self) -> &Pki {
        &self.pki
    }
}

fn appliance(choices: &Choices) -> String {
    let (landlock, memory) = match choices.kernel {
        // Landlock needs a hook that UML's kernel has not, memfd_secret a direct map that it has not.
        Kernel::Uml => (0, "mlock"),
        // Debian's 6.1: the second version of Landlock.
        Kernel::Vm => (2, "memfd-secret"),
    };
    format!(
        r#"[platform]
hw-model = "testbed"
os-name = "bartizan"
os-version = "0.1"

[manufacturer]
es384 = "voucher-root.pem"
ml-dsa-65 = "voucher-ml-dsa-65.pub"

[discovery]
media = "/run/bartizan/media"
leases = "/run/bartizan/leases"
dhcp-option = 224
servers = []

[state]
folder = "/var/lib/bartizan"
applied-network = "/run/bartizan/network/applied"

[required]
landlock = {landlock}
seccomp = true
memory = "{memory}"
"#
    )
}

/// The maker's word, good for a day, that a box is the owner's.
fn voucher(maker: &Party, owner: &Party, serial: &str) -> Vec<u8> {
    const DAY: u64 = 24 * 60 * 60;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("a clock that was set").as_secs();
    let voucher = Voucher {
        created: OwnerTime(now),
        bound: Bound::Expires(OwnerTime(now + DAY)),
        assertion: Assertion::Verified,
        serial: Serial::try_from(serial).expect("a serial number"),
        idevid_issuer: None,
        pinned_domain_cert: owner.root().clone(),
        revocation_checks: None,
        epoch: 1,
        owner_ml_dsa_65: owner.ml_dsa_65(),
    };
    let voucher = voucher.encode().expect("a voucher");
    maker.sign(&voucher::draft(&voucher, Some(OwnerTime(now))))
}

/// The configuration of a controller that enrols and attests.
fn attested_config(folder: &Path, choices: &Choices) -> String {
    let text = controller_config(folder, choices);
    let registrar = SocketAddr::new(controller(choices.family), REGISTRAR);
    format!(
        r#"{text}
[verifier]
keys = "verifier"
tpm-makers = "tpm-makers"
box-makers = "box-makers"
references = "references"
reference-signers = ["image-maker"]

[ca]
certificate = "pki/owner-ca.pem"
key = "ca-key.pem"

[sae-ca]
certificate = "pki/kme-ca.pem"
key = "sae-key.pem"

[registrar]
listen = "{registrar}"
artifacts = "artifacts"
"#
    )
}

fn controller_config(folder: &Path, choices: &Choices) -> String {
    let folder = folder.display();
    let listen = core::net::SocketAddr::new(controller(choices.family), CALL_HOME);
    let nodes = Side::BOTH.map(|side| format!("\"{}\"", side.node()));
    format!(
        r#"listen = "{listen}"
socket = "{folder}/controller.sock"
state = "{folder}/controller.state"
certificate = "{folder}/pki/{CONTROLLER}/certificate.pem"
key = "{folder}/pki/{CONTROLLER}/key.pem"
owner-ca = "{folder}/pki/owner-ca.pem"
nodes = [{nodes}]
poll-seconds = 1

[lease]
cadence-seconds = {cadence}
seconds = {lease}
"#,
        nodes = nodes.join(", "),
        cadence = choices.cadence.as_secs(),
        lease = choices.lease.as_secs(),
    )
}
