//! Everything that two gateways, their controller and their KMEs are configured with.
//!
//! ```text
//! DIR/pki/        certificates, TPM states; see `crate::pki`
//! DIR/signer/     the keys of the signer of unattested leases
//! DIR/gw-a.example/appliance.toml and what it names; state/ownership.json
//! DIR/controller.toml
//! ```

use core::net::SocketAddr;
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use bartizan::{ownership::Owned, store::DOCUMENT};
use bartizan_dev_lease::Signer;
use bartizan_model::{
    config::{Der, Groups, KmeConfig, VerifierKeys},
    ids::{NodeId, SaeId},
    ownership::{Ownership, SiteNetwork},
};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P384_SHA384};
use x509_cert::{Certificate, der::Encode as _};

use super::{
    boot::Kernel,
    topology::{Family, Side, controller},
};
use crate::pki::Pki;

/// The controller's name.
pub const CONTROLLER: &str = "controller.example";

/// Where gateways call home to.
pub const CALL_HOME: u16 = 4335;

/// Where gateways enrol.
pub const REGISTRAR: u16 = 9443;

/// Where KMEs listen.
pub const KME_PORT: u16 = 8443;

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
}

/// Two gateways as an owner set them up.
#[derive(Debug)]
pub struct Site {
    folder: PathBuf,
    pki: Pki,
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
    /// Leases of five minutes, renewed each minute, everything over IPv4.
    pub fn usual(kernel: Kernel) -> Self {
        Self {
            kernel,
            family: Family::V4,
            lease: Duration::from_mins(5),
            cadence: Duration::from_mins(1),
        }
    }
}

impl Site {
    /// Writes a site into `folder`: keys, certificates, a TPM for each gateway, configurations.
    ///
    /// # Panics
    /// If it cannot be written, or swtpm does not do its part.
    pub fn create(folder: &Path, choices: &Choices) -> Self {
        let pki = Pki::create(&folder.join("pki"));
        let signer = Signer::generate().expect("make the signer's keys");
        let signer_folder = folder.join("signer");
        fs::create_dir_all(&signer_folder).expect("make the signer's folder");
        signer.save(&signer_folder).expect("keep the signer's keys");
        let verifier = signer.public_keys();

        pki.controller(CONTROLLER);
        let site = Self {
            folder: folder.to_owned(),
            pki,
        };
        for side in Side::BOTH {
            site.pki.kme(side.kme_name());
            let credentials = site.pki.gateway(side.node(), side.sae());
            let gateway = site.gateway(side);
            fs::create_dir_all(gateway.join("state")).expect("make a gateway's folder");
            let ownership = ownership(side, choices, &credentials, &verifier);
            let owned = Owned::new(ownership).expect("an ownership that counts");
            let document = owned.encode().expect("an ownership's document");
            fs::write(gateway.join("state").join(DOCUMENT), document)
                .expect("write a gateway's ownership");
            fs::write(gateway.join("voucher-root.pem"), voucher_root()).expect("write a root");
            fs::write(gateway.join("voucher-ml-dsa-65.pub"), [0; 1952]).expect("write a key");
            fs::write(gateway.join("appliance.toml"), appliance(choices))
                .expect("write a gateway's configuration");
        }
        fs::write(site.controller_config(), controller_config(folder, choices))
            .expect("write the controller's configuration");
        site
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

    /// Who certified all of them; for a test that needs one more certificate.
    pub fn pki(&self) -> &Pki {
        &self.pki
    }
}

/// What a gateway knows of its owner, as if it had enrolled.
fn ownership(
    side: Side,
    choices: &Choices,
    credentials: &Path,
    verifier: &VerifierKeys,
) -> Ownership {
    let family = choices.family;
    let certificates = |file| certificates(&credentials.join(file));
    let name = |text| NodeId::try_from(text).expect("a name");
    let mut addresses = Vec::new();
    for family in [Family::V4, Family::V6] {
        addresses.extend([
            side.wan(family),
            side.management(family),
            side.kme_client(family),
        ]);
    }
    Ownership {
        node: name(side.node()),
        epoch: 1,
        anchors: certificates("owner-ca.pem"),
        verifier: verifier.clone(),
        call_home: SocketAddr::new(controller(family), CALL_HOME),
        registrar: SocketAddr::new(controller(family), REGISTRAR),
        controller: name(CONTROLLER),
        ldevid: certificates("ldevid.pem"),
        addresses,
        peer_port: PEER_PORT,
        kmes: vec![KmeConfig {
            address: SocketAddr::new(side.kme(family), KME_PORT),
            name: name(side.kme_name()),
            anchors: certificates("kme-ca.pem"),
            sae: SaeId::try_from(side.sae()).expect("a name"),
            chain: certificates("sae.pem"),
            groups: Groups::HybridOnly,
        }],
        network: SiteNetwork::default(),
    }
}

/// The certificates of a PEM file.
fn certificates(path: &Path) -> Vec<Der> {
    let pem = fs::read(path).expect("read certificates");
    let chain = Certificate::load_pem_chain(&pem).expect("certificates");
    let der = |certificate: &Certificate| certificate.to_der().expect("a certificate");
    chain
        .iter()
        .map(|certificate| Der(der(certificate)))
        .collect()
}

/// A manufacturer who signs nothing.
fn voucher_root() -> String {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).expect("a key");
    let params = CertificateParams::new(["maker.example".to_owned()]).expect("a name");
    params.self_signed(&key).expect("a certificate").pem()
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
servers = []

[state]
folder = "/var/lib/bartizan"

[lease]
unattested = "accept"

[required]
landlock = {landlock}
seccomp = true
memory = "{memory}"
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
signer = "{folder}/signer"
"#,
        nodes = nodes.join(", "),
        cadence = choices.cadence.as_secs(),
        lease = choices.lease.as_secs(),
    )
}
