//! The phases of boot in PCR 11, as `systemd-pcrphase(8)` measures them: those of the initrd are measured here.

use std::{
    fs::File,
    io::{Read as _, Write as _},
};

use sha2::{Digest as _, Sha256};

use crate::Fault;

/// The initrd is alone with the TPM; the resource manager is for those who share it.
const DEVICE: &str = "/dev/tpm0";

/// Extends the SHA-256 bank's PCR 11 with a phase.
pub(crate) fn measure(phase: &str) -> Result<(), Fault> {
    let digest: [u8; 32] = Sha256::digest(phase).into();
    let device = File::options().read(true).write(true).open(DEVICE);
    let io = |what| move |cause| Fault::Io { what, cause };
    let mut device = device.map_err(io("open the TPM"))?;
    let command = extend(11, digest);
    device.write_all(&command).map_err(io("order the TPM"))?;
    let mut reply = [0; 64];
    let length = device.read(&mut reply).map_err(io("hear the TPM"))?;
    match reply.get(..length).and_then(|reply| reply.get(6..10)) {
        Some([0, 0, 0, 0]) => Ok(()),
        Some(_) => Err(Fault::Tpm("it returned an error")),
        None => Err(Fault::Tpm("its reply is too short")),
    }
}

/// `TPM2_PCR_Extend` (TPM 2.0 Library, Part 3, 22.2) under the empty password.
fn extend(pcr: u8, digest: [u8; 32]) -> Vec<u8> {
    let mut command = Vec::with_capacity(65);
    command.extend(0x8002_u16.to_be_bytes()); // TPM_ST_SESSIONS
    command.extend(65_u32.to_be_bytes());
    command.extend(0x0182_u32.to_be_bytes()); // TPM_CC_PCR_Extend
    command.extend(u32::from(pcr).to_be_bytes());
    command.extend(9_u32.to_be_bytes());
    command.extend(0x4000_0009_u32.to_be_bytes()); // TPM_RS_PW
    command.extend([0; 5]);
    command.extend(1_u32.to_be_bytes());
    command.extend(0x000b_u16.to_be_bytes()); // TPM_ALG_SHA256
    command.extend(digest);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_as_long_as_it_says() {
        let command = extend(11, [7; 32]);
        assert_eq!(command[2..6], 65_u32.to_be_bytes());
        assert_eq!(command.len(), 65);
        assert_eq!(command[33..], [7; 32]);
    }
}
