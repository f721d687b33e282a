//! The test PKI: an owner with a controller and gateways, whose keys sit in TPMs, and KMEs.
//!
//! [`Pki::create`] and what follows it write this, everything PEM:
//! ```text
//! DIR/owner-ca.pem            who signs LDevIDs and the controller's certificate
//! DIR/kme-ca.pem              who signs the KMEs' certificates and those that they know SAEs by
//! DIR/CONTROLLER/certificate.pem, key.pem, owner-ca.pem
//! DIR/NODE/ldevid.pem         the LDevID certificate
//! DIR/NODE/sae.pem            a certificate over the same key, for the KME
//! DIR/NODE/owner-ca.pem, kme-ca.pem
//! DIR/NODE/tpm/               state of a swtpm with the LDevID key
//! DIR/NODE/measured/          the signature over the PCR 11 under which that key may be used
//! DIR/KME/certificate.pem, key.pem, kme-ca.pem
//! ```

mod authority;
mod maker;
mod signer;
mod swtpm;

use std::fs;
use std::path::{Path, PathBuf};

use bartizan_tpm::{Ldevid, Measured, Tpm};

pub use authority::{Authority, Certified, Valid};
pub use maker::Maker;
pub use signer::Signer;
pub use swtpm::LoopbackTpm;

use crate::testbed::measured::{Pcrs, PolicyKey};

/// Two authorities and the directory that their work goes to.
#[derive(Debug)]
pub struct Pki {
    directory: PathBuf,
    owner: Authority,
    kme: Authority,
}

impl Pki {
    /// Makes both authorities, and the directory if it is missing.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn create(directory: &Path) -> Self {
        let pki = Self {
            directory: directory.to_owned(),
            owner: Authority::new("Test owner"),
            kme: Authority::new("Test KME operator"),
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

    /// Gives a gateway a TPM with an LDevID key in it, and the certificates over that key; `sae`
    /// is its name at the KME.
    ///
    /// # Panics
    /// If its directory cannot be written or swtpm does not do its part.
    pub fn gateway(&self, node: &str, sae: &str) -> PathBuf {
        let directory = self.party(node);
        let swtpm = LoopbackTpm::start(&directory.join("tpm"));
        let public_key = {
            let measured = directory.join("measured");
            fs::create_dir_all(&measured).expect("a folder for the policy");
            // Nothing has been measured yet.
            PolicyKey::generate().leave(&Pcrs::from([(11, [0; 32])]), &measured);
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
