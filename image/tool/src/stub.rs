//! What systemd 252's boot stub makes of a unified kernel image's sections.

/// The initrd that the kernel gets and measures: the image's own, then what the stub wraps, each
/// on a boundary of four bytes.
pub fn initrd(initrd: &[u8], pcrsig: Option<&[u8]>, pcrpkey: Option<&[u8]>) -> Vec<u8> {
    let mut combined = initrd.to_vec();
    for (name, contents) in [
        ("tpm2-pcr-signature.json", pcrsig),
        ("tpm2-pcr-public-key.pem", pcrpkey),
    ] {
        if let Some(contents) = contents {
            pad(&mut combined);
            combined.extend_from_slice(&archive(name, contents));
        }
    }
    if pcrsig.or(pcrpkey).is_some() {
        pad(&mut combined);
    }
    combined
}

/// A cpio archive (newc) with `.extra` and one file in it.
fn archive(name: &str, contents: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    member(&mut out, 1, 0o40_555, ".extra", &[]);
    member(&mut out, 2, 0o100_444, &format!(".extra/{name}"), contents);
    out.extend_from_slice(TRAILER);
    out
}

fn member(out: &mut Vec<u8>, inode: u32, mode: u32, name: &str, contents: &[u8]) {
    let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(b"070701");
    for field in [
        inode,
        mode,
        0,
        0,
        1,
        0,
        len(contents),
        0,
        0,
        0,
        0,
        len(name.as_bytes()).saturating_add(1),
        0,
    ] {
        out.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    out.extend_from_slice(name.as_bytes());
    out.push(0);
    pad(out);
    out.extend_from_slice(contents);
    pad(out);
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

/// An empty member that ends an archive, as the stub has it.
const TRAILER: &[u8] = b"07070100000000000000000000000000000000\
00000001000000000000000000000000000000000000000000000000\
0000000B00000000TRAILER!!!\0\0\0\0";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_without_more_hands_its_initrd_on() {
        assert_eq!(initrd(b"12345", None, None), b"12345");
    }

    #[test]
    fn what_is_wrapped_stands_on_boundaries() {
        let made = initrd(b"12345", Some(b"{}"), Some(b"key"));
        assert_eq!(made[..8], *b"12345\0\0\0");
        assert_eq!(made.len() % 4, 0);
        assert_eq!(TRAILER.len(), 6 + 13 * 8 + 14);
        let text = String::from_utf8_lossy(&made);
        let signature = text.find("tpm2-pcr-signature.json").unwrap();
        let key = text.find("tpm2-pcr-public-key.pem").unwrap();
        assert!(signature < key);
        assert_eq!(text.matches("TRAILER!!!").count(), 2);
    }
}
