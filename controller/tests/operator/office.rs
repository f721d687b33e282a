//! An owner's controller with a maker that it knows, in a folder of files.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use aws_lc_rs::signature::{KeyPair as _, ML_DSA_65_SIGNING, PqdsaKeyPair};
use bartizan_controller::status::DeviceStatus;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P384_SHA384,
};

pub(crate) struct Office {
    pub(crate) folder: PathBuf,
    pub(crate) owner: CertifiedIssuer<'static, KeyPair>,
    process: Option<Child>,
    /// Where each of its servers listens, by the word of its journal.
    addresses: Vec<(String, SocketAddr)>,
}

impl Office {
    pub(crate) fn open() -> Self {
        Self::open_with("")
    }

    /// The same, with more lines of configuration.
    pub(crate) fn open_with(lines: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("bartizan-operator-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        let owner = authority();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["controller.example".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &owner).unwrap();
        let write = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
        write("certificate.pem", certificate.pem().as_bytes());
        write("key.pem", key.serialize_pem().as_bytes());
        write("owner-ca.pem", owner.pem().as_bytes());

        let maker = authority();
        let signer = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        let mut params = CertificateParams::new(vec!["vouchers.example".to_owned()]).unwrap();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&signer, &maker).unwrap();
        write("maker.pem", maker.pem().as_bytes());
        write("signer.pem", certificate.pem().as_bytes());
        write("signer-key.pem", signer.serialize_pem().as_bytes());
        for name in ["maker", "owner"] {
            let key = PqdsaKeyPair::generate(&ML_DSA_65_SIGNING).unwrap();
            write(&format!("{name}.pub"), key.public_key().as_ref());
            write(&format!("{name}.p8"), key.to_pkcs8v1().unwrap().as_ref());
        }
        let configuration = format!(
            "listen = \"127.0.0.1:0\"\nsocket = \"socket\"\nstate = \"store\"\n\
             certificate = \"certificate.pem\"\nkey = \"key.pem\"\nowner-ca = \"owner-ca.pem\"\n\
             {lines}\n\
             [[maker]]\nes384 = \"maker.pem\"\nml-dsa-65 = \"maker.pub\"\n"
        );
        write("controller.toml", configuration.as_bytes());
        let mut office = Self {
            folder,
            owner,
            process: None,
            addresses: Vec::new(),
        };
        office.restart();
        office
    }

    /// Ends the controller as a power cut would, if it runs, and starts it again.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let mut process = self
            .command(["serve", "--config", "controller.toml"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut journal = BufReader::new(process.stderr.take().unwrap()).lines();
        self.process = Some(process);
        self.addresses.clear();
        for line in journal.by_ref() {
            let line = line.unwrap();
            eprintln!("{line}");
            let Some((before, address)) = line.split_once("listening on ") else {
                continue;
            };
            let address = address.split(' ').next().unwrap().parse().unwrap();
            self.addresses.push((before.to_owned(), address));
            // The call-home port is the last to be opened.
            if !before.contains("REST") {
                break;
            }
        }
        std::thread::spawn(move || {
            for line in journal.map_while(Result::ok) {
                eprintln!("{line}");
            }
        });
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    fn command<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Command {
        #[expect(
            clippy::disallowed_methods,
            reason = "the controller under test is a program"
        )]
        let mut command = Command::new(env!("CARGO_BIN_EXE_bartizan-controller"));
        command
            .args(words)
            .current_dir(&self.folder)
            .stdin(Stdio::null());
        command
    }

    /// Where REST is served.
    pub(crate) fn rest(&self) -> SocketAddr {
        let mut servers = self.addresses.iter();
        servers.find(|(words, _)| words.contains("REST")).unwrap().1
    }

    /// A command in the folder.
    pub(crate) fn run(&self, line: &str) -> Output {
        self.command(line.split(' ')).output().unwrap()
    }

    /// A command to the controller that succeeds; what it printed.
    pub(crate) fn device(&self, line: &str) -> String {
        let output = self.run(&format!("device {line} --socket socket"));
        assert!(output.status.success(), "{line}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// A command to the controller that it refuses; why.
    pub(crate) fn refused(&self, line: &str) -> String {
        let output = self.run(&format!("device {line} --socket socket"));
        assert!(!output.status.success(), "{line}: {}", text(&output));
        String::from_utf8(output.stderr).unwrap()
    }

    pub(crate) fn shown(&self, serial: &str) -> DeviceStatus {
        serde_json::from_str(&self.device(&format!("show {serial} --json"))).unwrap()
    }

    /// Makes a voucher; returns the name of its file.
    pub(crate) fn voucher(&self, serial: &str, epoch: u32) -> String {
        let file = format!("{serial}-{epoch}.voucher");
        let output = self.run(&format!(
            "voucher make --serial {serial} --epoch {epoch} --days 30 \
             --owner-ca owner-ca.pem --owner-ml-dsa-65 owner.pub --certificates signer.pem \
             --key signer-key.pem --ml-dsa-65-key maker.p8 --output {file}"
        ));
        assert!(output.status.success(), "{}", text(&output));
        file
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        self.kill();
        fs::remove_dir_all(&self.folder).unwrap();
    }
}

/// A certificate authority on P-384.
pub(crate) fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    CertifiedIssuer::self_signed(params, key).unwrap()
}

/// What a command printed, all of it.
pub(crate) fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    String::from_utf8_lossy(out).into_owned() + &String::from_utf8_lossy(err)
}
