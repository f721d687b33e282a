//! The smallest EFI image that is one, with sections.

#![expect(clippy::arithmetic_side_effects, reason = "offsets of a small file")]

const PAGE: usize = 0x1000;

pub(crate) fn image(sections: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0; PAGE];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    let number = |value: usize| u32::try_from(value).unwrap().to_le_bytes();
    let short = |value: usize| u16::try_from(value).unwrap().to_le_bytes();
    let pages = |len: usize| len.next_multiple_of(PAGE);
    let size: usize = sections.iter().map(|(_, bytes)| pages(bytes.len())).sum();
    put(0, b"MZ");
    put(0x3c, &number(0x40));
    put(0x40, b"PE\0\0");
    put(0x44, &short(0x8664));
    put(0x46, &short(sections.len()));
    put(0x54, &short(240));
    put(0x56, &short(0x206));
    put(0x58, &short(0x20b));
    put(0x58 + 16, &number(PAGE));
    put(0x58 + 20, &number(PAGE));
    put(0x58 + 32, &number(PAGE));
    put(0x58 + 36, &number(0x200));
    put(0x58 + 56, &number(PAGE + size));
    put(0x58 + 60, &number(PAGE));
    put(0x58 + 68, &short(10));
    put(0x58 + 108, &number(16));
    let mut begin = PAGE;
    for (at, (name, contents)) in sections.iter().enumerate() {
        let entry = 0x58 + 240 + 40 * at;
        put(entry, name.as_bytes());
        put(entry + 8, &number(contents.len()));
        put(entry + 12, &number(begin));
        put(entry + 16, &number(pages(contents.len())));
        put(entry + 20, &number(begin));
        put(entry + 36, &number(0x4000_0040));
        begin += pages(contents.len());
    }
    for (_, contents) in sections {
        bytes.extend_from_slice(contents);
        bytes.resize(bytes.len().next_multiple_of(PAGE), 0);
    }
    bytes
}
