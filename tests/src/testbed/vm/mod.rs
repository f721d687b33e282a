//! The QEMU guest: Debian's own kernel, the host's files by 9p.
//!
//! KVM is never used: a guest must behave alike wherever it runs, also where there is none.

mod initramfs;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::{
    fs::{Mode, OFlags, open},
    mount::{MountFlags, mount, mount_move},
    process::{chdir, chroot},
    system::finit_module,
};

/// The 9p tag of the output folder.
pub(super) const OUTPUT_TAG: &str = "output";

const QEMU: &str = "/usr/bin/qemu-system-x86_64";

/// What the initramfs must bring to reach the host's files; they bring what they depend on.
const BOOT_MODULES: [&str; 3] = ["virtio_pci", "9pnet_virtio", "9p"];

/// What a gateway's kernel has built in or loads at boot.
const GATEWAY_MODULES: [&str; 23] = [
    "crc32c_generic",
    "drbg",
    "gcm",
    "aesni_intel",
    "seqiv",
    "echainiv",
    "esp4",
    "esp6",
    "xfrm_user",
    "veth",
    "dummy",
    "bridge",
    "tun",
    "virtio_net",
    "af_packet",
    "sch_netem",
    "nf_tables",
    "nft_ct",
    "nft_xfrm",
    "inet_diag",
    "unix_diag",
    "tpm_vtpm_proxy",
    "overlay",
];

/// What is missing to boot such a guest, if anything.
pub(super) fn missing() -> Option<String> {
    if !Path::new(QEMU).exists() {
        return Some(format!("{QEMU}: apt-get install qemu-system-x86"));
    }
    if newest_kernel().is_none() {
        return Some(
            "a kernel with modules in /boot: apt-get install linux-image-amd64".to_owned(),
        );
    }
    None
}

/// Appends QEMU and its arguments.
pub(super) fn append(command: &mut Command, init: &Path, folder: &Path, memory_mib: u32) {
    let kernel = newest_kernel().expect("a kernel that missing() has found");
    let initramfs = folder.join("initramfs");
    initramfs::write(&initramfs, init, &kernel, &BOOT_MODULES);
    let line = "console=ttyS0 quiet panic=-1 mitigations=off nokaslr tsc=reliable no_timer_check \
                cryptomgr.notests random.trust_cpu=on secretmem.enable=1 init_on_free=1";
    command
        .arg(QEMU)
        .args([
            "-machine",
            "q35",
            "-accel",
            "tcg,thread=multi",
            "-cpu",
            "max",
        ])
        .args(["-m", &memory_mib.to_string(), "-smp", "1"])
        .args([
            "-nographic",
            "-nodefaults",
            "-serial",
            "stdio",
            "-no-reboot",
        ])
        .args(["-net", "none"])
        .arg("-kernel")
        .arg(Path::new("/boot").join(format!("vmlinuz-{kernel}")))
        .arg("-initrd")
        .arg(&initramfs)
        .args(["-append", &format!("{line} bartizan.folder={OUTPUT_TAG}")]);
    for (tag, path, options) in [
        ("root", Path::new("/"), "readonly=on,multidevs=remap"),
        (OUTPUT_TAG, folder, "multidevs=remap"),
    ] {
        let path = path.display();
        command
            .args([
                "-fsdev",
                &format!("local,id={tag},path={path},security_model=none,{options}"),
            ])
            .args([
                "-device",
                &format!("virtio-9p-pci,fsdev={tag},mount_tag={tag}"),
            ]);
    }
}

/// Whether PID 1 still stands in the initramfs.
pub(super) fn in_initramfs() -> bool {
    Path::new(initramfs::ORDER).exists()
}

/// From the initramfs to the host's files.
pub(super) fn enter_root() {
    let order = fs::read_to_string(initramfs::ORDER).expect("read the order of the modules");
    for module in order.lines() {
        let file = open(module, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .unwrap_or_else(|cause| panic!("cannot open {module}: {cause}"));
        finit_module(file, c"", 0).unwrap_or_else(|cause| panic!("cannot load {module}: {cause}"));
    }
    mount_9p("root", "/root", true);
    chdir("/root").expect("enter the new root");
    mount_move(".", "/").expect("move the new root");
    chroot(".").expect("stay in the new root");
    chdir("/").expect("stand in the new root");
}

/// Mounts a folder of the host.
pub(super) fn mount_9p(tag: &str, target: &str, read_only: bool) {
    let (flags, cache) = if read_only {
        (MountFlags::RDONLY, "cache=loose,")
    } else {
        (MountFlags::empty(), "")
    };
    let options = format!("{cache}trans=virtio,version=9p2000.L,msize=512000");
    let options = std::ffi::CString::new(options).expect("options without NUL");
    mount(tag, target, "9p", flags, options.as_c_str())
        .unwrap_or_else(|cause| panic!("cannot mount {tag} on {target}: {cause}"));
}

/// Loads what a gateway needs; UML has it built in.
pub(super) fn load_gateway_modules() {
    super::process::run(
        Command::new("/sbin/modprobe")
            .arg("-a")
            .args(GATEWAY_MODULES),
    );
}

/// The release of the newest kernel in /boot whose modules are installed.
fn newest_kernel() -> Option<String> {
    let releases = fs::read_dir("/boot").ok()?.filter_map(|entry| {
        let name = entry.ok()?.file_name().into_string().ok()?;
        let release = name.strip_prefix("vmlinuz-")?.to_owned();
        modules_folder(&release)
            .join("modules.dep")
            .exists()
            .then_some(release)
    });
    releases.max_by_key(|release| numbers(release))
}

fn modules_folder(release: &str) -> PathBuf {
    Path::new("/lib/modules").join(release)
}

/// `6.1.0-56-amd64` as 6, 1, 0, 56, 64: so that 56 comes after 9.
fn numbers(release: &str) -> Vec<u32> {
    release
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|word| word.parse().ok())
        .collect()
}
