//! The parts of a measured boot that a guest without firmware lacks: firmware, boot stub and early userspace.
//!
//! They extend the PCRs of the gateway's TPM before the appliance starts, and leave the logs of it, and the signature
//! over the expected PCR 11, in the folder that the tpm role reads.

mod builder;
mod log;
mod policy;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read, Write},
    path::Path,
};

use aws_lc_rs::digest::{SHA256, digest};

pub use builder::{Builder, OS_VERSION};
pub use policy::PolicyKey;

/// The SHA-256 bank's values.
pub type Pcrs = BTreeMap<u8, [u8; 32]>;

/// The PCRs that firmware ends with a separator.
const FIRMWARE: core::ops::Range<u8> = 0..8;

/// The phases of a boot, as systemd measures them; the roles run in the last.
pub const PHASES: [&str; 4] = ["enter-initrd", "leave-initrd", "sysinit", "ready"];

/// Event types of the TCG PC Client Platform Firmware Profile, 10.4.1.
mod kind {
    pub(super) const SEPARATOR: u32 = 0x4;
    pub(super) const EVENT_TAG: u32 = 0x6;
    pub(super) const CRTM_VERSION: u32 = 0x8;
    pub(super) const IPL: u32 = 0xd;
    pub(super) const EFI_VARIABLE_DRIVER_CONFIG: u32 = 0x8000_0001;
    pub(super) const EFI_BOOT_SERVICES_APPLICATION: u32 = 0x8000_0003;
    pub(super) const EFI_BOOT_SERVICES_DRIVER: u32 = 0x8000_0004;
    pub(super) const EFI_ACTION: u32 = 0x8000_0007;
}

/// What is on a box and decides its measurements.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Image {
    /// The firmware's version.
    pub firmware: String,
    /// Whether Secure Boot is on.
    pub secure_boot: bool,
    /// The appliance's binaries, as they lie in the image.
    pub binaries: Vec<u8>,
    /// The appliance's configuration.
    pub configuration: Vec<u8>,
}

/// Everything that one boot measures.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Measured {
    events: Vec<Event>,
}

/// One measurement.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Event {
    pcr: u8,
    digest: [u8; 32],
    what: What,
}

/// Whose it is, and what its log says of it.
#[derive(Clone, Debug, Eq, PartialEq)]
enum What {
    Firmware { kind: u32, data: Vec<u8> },
    Userspace { kind: &'static str, text: String },
}

impl Image {
    /// What the owner knows as good.
    pub fn approved() -> Self {
        Self {
            firmware: "testbed firmware 1.0".to_owned(),
            secure_boot: true,
            binaries: b"binaries as they were built".to_vec(),
            configuration: b"configuration as it ships".to_vec(),
        }
    }

    /// The same with one binary changed.
    pub fn changed() -> Self {
        Self {
            binaries: b"binaries that somebody has touched".to_vec(),
            ..Self::approved()
        }
    }

    /// The sections of its kernel image, in the order in which the stub measures them.
    pub fn sections(&self) -> [(&'static str, &[u8]); 4] {
        [
            ("linux", b"a kernel"),
            ("osrel", b"ID=bartizan"),
            ("cmdline", b"ro"),
            ("initrd", &self.binaries),
        ]
    }

    /// What a boot of it measures, up to the moment in which the roles start.
    pub fn measured(&self) -> Measured {
        let mut events = Vec::new();
        let mut firmware = |pcr, kind, measured: &[u8], data: &[u8]| {
            events.push(Event {
                pcr,
                digest: sha256(measured),
                what: What::Firmware {
                    kind,
                    data: data.to_vec(),
                },
            });
        };
        let version = log::utf16(&self.firmware);
        firmware(0, kind::CRTM_VERSION, &version, &version);
        for (name, value) in [
            ("SecureBoot", &[u8::from(self.secure_boot)][..]),
            ("PK", b"the maker's platform key"),
            ("KEK", b"the maker's key exchange key"),
            ("db", b"the key that images are signed by"),
            ("dbx", b""),
        ] {
            let variable = log::efi_variable(name, value);
            firmware(7, kind::EFI_VARIABLE_DRIVER_CONFIG, &variable, &variable);
        }
        firmware(
            2,
            kind::EFI_BOOT_SERVICES_DRIVER,
            b"an option ROM",
            b"PciRoot(0x0)",
        );
        let action = b"Calling EFI Application from Boot Option";
        firmware(4, kind::EFI_ACTION, action, action);
        for pcr in FIRMWARE {
            firmware(pcr, kind::SEPARATOR, &[0; 4], &[0; 4]);
        }
        let uki = [&b"a unified kernel image of "[..], &self.binaries].concat();
        firmware(4, kind::EFI_BOOT_SERVICES_APPLICATION, &uki, b"File(uki)");
        for (section, content) in self.sections() {
            let name = format!(".{section}\0");
            let described = log::utf16(section);
            firmware(11, kind::IPL, name.as_bytes(), &described);
            firmware(11, kind::IPL, content, &described);
        }
        firmware(9, kind::EVENT_TAG, &self.binaries, b"Linux initrd");
        let mut userspace = |pcr, kind, measured: &[u8], text: &str| {
            events.push(Event {
                pcr,
                digest: sha256(measured),
                what: What::Userspace {
                    kind,
                    text: text.to_owned(),
                },
            });
        };
        userspace(14, "configuration", &self.configuration, "configuration");
        for phase in PHASES {
            userspace(11, "phase", phase.as_bytes(), phase);
        }
        Measured { events }
    }
}

impl Measured {
    /// The values of the PCRs that it extends.
    pub fn pcrs(&self) -> Pcrs {
        let mut pcrs = Pcrs::new();
        for event in &self.events {
            let value = pcrs.entry(event.pcr).or_default();
            *value = sha256(&[*value, event.digest].concat());
        }
        pcrs
    }

    /// Extends the PCRs of a TPM that was just started, behind this device.
    ///
    /// # Panics
    /// If the TPM refuses.
    pub fn extend(&self, device: &Path) {
        self.extend_over(&mut open(device));
    }

    /// The same over any line to the TPM.
    ///
    /// # Panics
    /// If the TPM refuses.
    pub fn extend_over(&self, tpm: &mut (impl Read + Write)) {
        for event in &self.events {
            extend(tpm, event.pcr, event.digest);
        }
    }

    /// Leaves the logs in `folder`, for the tpm role.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn leave(&self, folder: &Path) {
        for (name, log) in [
            ("firmware.log", log::firmware(&self.events)),
            ("userspace.log", log::userspace(&self.events)),
        ] {
            fs::write(folder.join(name), log).expect("write a log");
        }
    }
}

/// Extends a PCR of a TPM that runs, as any process may that reaches the device.
///
/// # Panics
/// If the TPM refuses.
pub fn tamper(device: &Path, pcr: u8) {
    extend(&mut open(device), pcr, sha256(b"somebody else"));
}

fn open(device: &Path) -> File {
    let opened = File::options().read(true).write(true).open(device);
    opened.unwrap_or_else(|cause| panic!("{}: {cause}", device.display()))
}

/// `TPM2_PCR_Extend` (TPM 2.0 Library, Part 3, 22.2), by the bytes: no library of the TPM is linked here.
fn extend(tpm: &mut (impl Read + Write), pcr: u8, digest: [u8; 32]) {
    const SUCCESS: &[u8] = &[0; 4];
    let mut command = Vec::new();
    command.extend(0x8002_u16.to_be_bytes()); // TPM_ST_SESSIONS
    command.extend(65_u32.to_be_bytes());
    command.extend(0x0182_u32.to_be_bytes()); // TPM_CC_PCR_Extend
    command.extend(u32::from(pcr).to_be_bytes());
    command.extend(9_u32.to_be_bytes());
    command.extend(0x4000_0009_u32.to_be_bytes()); // TPM_RS_PW, an empty password
    command.extend([0; 5]);
    command.extend(1_u32.to_be_bytes());
    command.extend(0x000b_u16.to_be_bytes()); // TPM_ALG_SHA256
    command.extend(digest);
    tpm.write_all(&command).expect("order the TPM");
    let mut reply = [0; 64];
    let length = tpm.read(&mut reply).expect("hear the TPM");
    assert_eq!(
        &reply[..length][6..10],
        SUCCESS,
        "PCR {pcr} is not extended"
    );
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes)
        .as_ref()
        .try_into()
        .expect("32 bytes")
}
