//! A box's TPM after an approved boot, and the tools of others beside it.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use aws_lc_rs::digest::{SHA256, digest};
use bartizan_tests::{
    pki::LoopbackTpm,
    testbed::{
        boot::scratch_folder,
        measured::{Pcrs, PolicyKey},
    },
};
use bartizan_tpm::{Measured, Tpm};

use crate::proxy::{Hidden, Proxy};

/// A TPM and the folder that its boot left.
#[derive(Debug)]
pub(crate) struct Boot {
    pub(crate) swtpm: LoopbackTpm,
    pub(crate) proxy: Proxy,
    pub(crate) folder: PathBuf,
}

impl Boot {
    /// A new TPM; the policy's key approves a PCR 11 in which nothing was measured.
    pub(crate) fn approved() -> Self {
        let boot = Self::unapproved();
        boot.approve(&PolicyKey::generate(), [0; 32]);
        boot
    }

    /// A new TPM of a boot that left nothing.
    pub(crate) fn unapproved() -> Self {
        Self::of(Hidden::Nothing)
    }

    /// Of a TPM without P-384.
    pub(crate) fn without_p384() -> Self {
        Self::of(Hidden::P384)
    }

    fn of(hidden: Hidden) -> Self {
        let swtpm = LoopbackTpm::fresh();
        let proxy = Proxy::before(&swtpm, hidden);
        Self {
            swtpm,
            proxy,
            folder: scratch_folder(),
        }
    }

    /// Leaves a signature over this value of PCR 11.
    pub(crate) fn approve(&self, key: &PolicyKey, pcr_11: [u8; 32]) {
        key.leave(&Pcrs::from([(11, pcr_11)]), &self.folder);
    }

    pub(crate) fn open(&self) -> Tpm {
        Tpm::open(&self.proxy.tcti()).unwrap()
    }

    pub(crate) fn measured(&self) -> Measured {
        Measured::open(&self.folder)
    }

    /// Runs one of tpm2-tools on the TPM, as a foreign process.
    pub(crate) fn tool(&self, tool: &str, arguments: &[&str]) -> Vec<u8> {
        let output = self.try_tool(tool, arguments);
        assert!(
            output.status.success(),
            "{tool} {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    }

    /// The same, for what may be refused.
    pub(crate) fn try_tool(&self, tool: &str, arguments: &[&str]) -> Output {
        Command::new(tool)
            .args(arguments)
            .env("TPM2TOOLS_TCTI", self.proxy.tcti())
            .env("TSS2_LOG", "all+NONE")
            .current_dir(&self.folder)
            .output()
            .unwrap()
    }

    /// Extends a PCR as a foreign process; returns its value.
    pub(crate) fn extend(&self, pcr: u8) -> [u8; 32] {
        let measured = "11".repeat(32);
        self.tool("tpm2_pcrextend", &[&format!("{pcr}:sha256={measured}")]);
        sha256(&[[0; 32], [0x11; 32]].concat())
    }

    /// Makes a signing key that is none of ours, as `other`.
    pub(crate) fn make_other(&self) {
        let attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign";
        let arguments = [
            "-G",
            "ecc256:ecdsa-sha256:null",
            "-a",
            attributes,
            "-c",
            "other",
        ];
        self.tool("tpm2_createprimary", &arguments);
    }

    /// Restarts the TPM under everybody's feet; nobody has started it up again.
    pub(crate) fn restart(&self) {
        let commands: u16 = self
            .swtpm
            .tcti()
            .rsplit_once('=')
            .unwrap()
            .1
            .parse()
            .unwrap();
        let status = Command::new("swtpm_ioctl")
            .args(["--tcp", &format!("127.0.0.1:{}", commands + 1), "-i"])
            .status()
            .unwrap();
        assert!(status.success());
    }
}

impl Drop for Boot {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.folder));
    }
}

pub(crate) fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap()
}

pub(crate) fn sha256(message: &[u8]) -> [u8; 32] {
    digest(&SHA256, message).as_ref().try_into().unwrap()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
