//! CRC-32 as GPT has it (ISO 3309): it finds damage and keeps nobody out.

pub(super) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            let halved = crc.wrapping_shr(1);
            if crc & 1 == 1 {
                halved ^ 0xedb8_8320
            } else {
                halved
            }
        })
    })
}

#[cfg(test)]
mod tests {
    /// The check value of the catalogue of CRCs.
    #[test]
    fn the_check_value_comes_out() {
        assert_eq!(super::crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(super::crc32(b""), 0);
    }
}
