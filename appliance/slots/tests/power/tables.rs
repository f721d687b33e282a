//! Partition tables as another implementation writes and reads them.

#![expect(clippy::arithmetic_side_effects, reason = "offsets of a small disk")]

use std::process::Command;

use bartizan_slots::gpt::{Guid, Partition, Replica, Table, protective_mbr};

const SECTORS: u64 = 8192;

fn parse(disk: &[u8], replica: Replica) -> Table {
    let (header, entries) = Table::places(512, SECTORS, replica).unwrap();
    let at = |offset: u64, len: usize| {
        let offset = usize::try_from(offset).unwrap();
        &disk[offset..offset + len]
    };
    Table::parse(
        at(header, 512),
        at(entries, Table::entries_len()),
        512,
        SECTORS,
        replica,
    )
    .unwrap()
}

fn run(program: &str, arguments: &[&str], input: &str) -> String {
    use std::io::Write as _;
    #[expect(clippy::disallowed_methods, reason = "the other implementation")]
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

fn scratch(name: &str) -> std::path::PathBuf {
    let file = format!("{}-{name}", std::process::id());
    std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(file)
}

#[test]
fn a_table_of_sfdisk_is_read() {
    let file = scratch("sfdisk.img");
    std::fs::write(&file, vec![0; 512 * 8192]).unwrap();
    let path = file.to_str().unwrap();
    let script = "label: gpt\n\
        start=2048, size=2048, type=uefi, name=esp\n\
        start=4096, size=2048, type=4f68bce3-e8cd-4db1-96e7-fbcaf984b709, \
        uuid=00112233-4455-6677-8899-aabbccddeeff, name=bartizan_1\n";
    run("/usr/sbin/sfdisk", &["-q", path], script);
    let disk = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let table = parse(&disk, Replica::Primary);
    assert_eq!(parse(&disk, Replica::Backup), table);
    let partitions: Vec<(usize, Partition)> = table.partitions().collect();
    assert_eq!(partitions.len(), 2);
    let (number, root) = &partitions[1];
    assert_eq!(*number, 2);
    assert_eq!(root.kind, Guid::ROOT_X86_64);
    assert_eq!(root.id.to_string(), "00112233-4455-6677-8899-aabbccddeeff");
    assert_eq!((root.first, root.last), (4096, 6143));
    assert_eq!(root.label, "bartizan_1");
    // And written again as it was.
    for replica in [Replica::Primary, Replica::Backup] {
        let image = table.image(replica).unwrap();
        let at = usize::try_from(image.header_offset).unwrap();
        assert_eq!(disk[at..at + 512], image.header);
    }
}

#[test]
fn a_table_of_ours_is_read_by_sfdisk() {
    let file = scratch("ours.img");
    let partition = |kind, id, first, last, label: &str| Partition {
        kind,
        id,
        first,
        last,
        label: label.to_owned(),
    };
    let [root, verity] = Guid::of_slot(&[0x5a; 32]);
    let partitions = [
        partition(Guid::ESP, Guid([1; 16]), 2048, 4095, "esp"),
        partition(Guid::ROOT_X86_64, root, 4096, 6143, "root-a"),
        partition(Guid::VERITY_X86_64, verity, 6144, 8100, "verity-a"),
    ];
    let table = Table::new(Guid([7; 16]), 512, SECTORS, &partitions).unwrap();
    let mut disk = vec![0; 512 * 8192];
    disk[..512].copy_from_slice(&protective_mbr(SECTORS));
    for replica in [Replica::Primary, Replica::Backup] {
        let image = table.image(replica).unwrap();
        for (at, bytes) in [
            (image.header_offset, &image.header),
            (image.entries_offset, &image.entries),
        ] {
            let at = usize::try_from(at).unwrap();
            disk[at..at + bytes.len()].copy_from_slice(bytes);
        }
    }
    std::fs::write(&file, disk).unwrap();
    let path = file.to_str().unwrap();
    let verified = run("/usr/sbin/sfdisk", &["--verify", path], "");
    assert!(verified.contains("No errors detected"), "{verified}");
    let dump = run("/usr/sbin/sfdisk", &["-d", path], "").to_lowercase();
    std::fs::remove_file(&file).unwrap();
    for expected in [
        "label-id: 07070707-0707-0707-0707-070707070707",
        "first-lba: 34",
        "start=        4096, size=        2048, type=4f68bce3-e8cd-4db1-96e7-fbcaf984b709, uuid=5a5a5a5a-5a5a-5a5a-5a5a-5a5a5a5a5a5a, name=\"root-a\"",
        "start=        6144, size=        1957, type=2c7357ed-ebd2-46d9-aec1-23d437ec2bf5",
    ] {
        assert!(dump.contains(expected), "{expected}\n{dump}");
    }
}

#[test]
fn partitions_that_do_not_fit_make_no_table() {
    let partition = |first, last| Partition {
        kind: Guid::ESP,
        id: Guid([1; 16]),
        first,
        last,
        label: String::new(),
    };
    for partitions in [
        vec![partition(33, 40)],
        vec![partition(50, 49)],
        vec![partition(50, 60), partition(60, 70)],
        vec![partition(50, SECTORS - 33)],
        vec![partition(40, 41); 2],
    ] {
        assert!(Table::new(Guid([7; 16]), 512, SECTORS, &partitions).is_err());
    }
    assert!(Table::new(Guid([7; 16]), 520, SECTORS, &[]).is_err());
    assert!(Table::new(Guid([7; 16]), 512, 60, &[]).is_err());
}
