//! The test PKI: an owner with a controller and gateways, whose keys sit in TPMs, KMEs, and who makes all of that.
//!
//! [`Pki::create`] and what follows it write this, everything PEM:
//! ```text
//! DIR/owner-ca.pem            who signs LDevIDs and the controller's certificate
//! DIR/kme-ca.pem              who signs the KMEs' certificates and those that they know SAEs by
//! DIR/CONTROLLER/certificate.pem, key.pem, owner-ca.pem
//! DIR/NODE/ldevid.pem         the LDevID certificate
//! DIR/NODE/sae.pem            a certificate over the same key, for the KME
//! DIR/NODE/owner-ca.pem, kme-ca.pem
//! DIR/NODE/tpm/               state of a swtpm with the LDevID key, as a boot of the approved image made it
//! DIR/NODE/measured/          what such a boot leaves for the tpm role
//! DIR/KME/certificate.pem, key.pem, kme-ca.pem
//! ```

mod authority;
mod maker;
mod party;
mod swtpm;

use std::fs;
use std::path::{Path, PathBuf};

use bartizan_tpm::{Ldevid, Measured, Tpm};

pub use authority::{Authority, Certified, Valid};
pub use maker::{Kind, Maker};
pub use party::Party;
pub use swtpm::LoopbackTpm;

use crate::testbed::measured::{Builder, Image};

/// Everybody who certifies or signs, and the directory that their work goes to.
#[derive(Debug)]
pub struct Pki {
    directory: PathBuf,
    owner: Authority,
    kme: Authority,
    maker: Maker,
    builder: Builder,
}

impl Pki {
    /// Makes all of them, and the directory if it is missing.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn create(directory: &Path) -> Self {
        let pki = Self {
            directory: directory.to_owned(),
            owner: Authority::new("Test owner"),
            kme: Authority::new("Test KME operator"),
            maker: Maker::new(),
            builder: Builder::new(),
        };
        fs::create_dir_all(directory).expect("the PKI's directory");
        write(&directory.join("owner-ca.pem"), &pki.owner.pem());
        write(&directory.join("kme-ca.pem"), &pki.kme.pem());
        pki
    }

    /// Who signs the nodes' certificates and the controller's.
    pub fn owner(&self) -> &Authority {
        &self.owner
    }

    /// Who signs the KMEs' certificates and those that they know SAEs by.
    pub fn kme_operator(&self) -> &Authority {
        &self.kme
    }

    /// Who makes the boxes.
    pub fn maker(&self) -> &Maker {
        &self.maker
    }

    /// Who builds the images.
    pub fn builder(&self) -> &Builder {
        &self.builder
    }

    /// Gives the controller its certificate and key.
    ///
    /// # Panics
    /// If its directory cannot be written.
    pub fn controller(&self, name: &str) -> PathBuf {
        let directory = self.party(name);
        self.owner.issue(&[name]).write(&directory);
        write(&directory.join("owner-ca.pem"), &self.owner.pem());
        directory
    }

    /// Gives a KME its certificate and key.
    ///
    /// # Panics
    /// If its directory cannot be written.
    pub fn kme(&self, name: &str) -> PathBuf {
        let directory = self.party(name);
        self.kme.issue(&[name]).write(&directory);
        write(&directory.join("kme-ca.pem"), &self.kme.pem());
        directory
    }

    /// Makes a box for `party`, with a TPM that nobody owns, and returns its serial number; a box of
    /// [`Kind::Idevid`] has its party's name.
    ///
    /// # Panics
    /// If its directory cannot be written or swtpm does not do its part.
    pub fn new_box(&self, party: &str, kind: Kind) -> String {
        let directory = self.party(party);
        let swtpm = LoopbackTpm::start(&directory.join("tpm"));
        let mut tpm = Tpm::open(&swtpm.tcti()).expect("open swtpm");
        self.maker.make_box(&mut tpm, kind, party)
    }

    /// Gives a gateway a box with an LDevID key in its TPM, usable after a boot of the approved image, and the
    /// certificates over that key; `sae` is its name at the KME.
    ///
    /// # Panics
    /// If its directory cannot be written or swtpm does not do its part.
    pub fn gateway(&self, node: &str, sae: &str) -> PathBuf {
        self.new_box(node, Kind::Idevid);
        let directory = self.party(node);
        let measured = directory.join("measured");
        let image = Image::approved();
        self.builder.leave(&image, &image, &measured);
        let swtpm = LoopbackTpm::start(&directory.join("tpm"));
        image.measured().extend_over(&mut swtpm.connect());
        let public_key = {
            let mut tpm = Tpm::open(&swtpm.tcti()).expect("open swtpm");
            let ldevid = Ldevid::create(&mut tpm, &Measured::open(&measured));
            let ldevid = ldevid.expect("make an LDevID key");
            ldevid.public_key().to_vec()
        };
        let certify = |authority: &Authority, name, file| {
            let certificate = authority.certify(&[name], Valid::Always, &public_key);
            write(&directory.join(file), &certificate);
        };
        certify(&self.owner, node, "ldevid.pem");
        certify(&self.kme, sae, "sae.pem");
        write(&directory.join("owner-ca.pem"), &self.owner.pem());
        write(&directory.join("kme-ca.pem"), &self.kme.pem());
        directory
    }

    fn party(&self, name: &str) -> PathBuf {
        let directory = self.directory.join(name);
        fs::create_dir_all(&directory).expect("a party's directory");
        directory
    }
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|cause| panic!("{}: {cause}", path.display()));
}
