//! Network namespaces.

use std::{
    fs::File,
    io::Write,
    path::Path,
    process::{Command, Stdio},
    thread,
};

use rustix::{
    fd::AsFd,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use super::{guest::is_guest, process::run};

/// A named network namespace with its loopback up; dropping it removes the name.
#[derive(Debug)]
pub struct Netns {
    name: String,
    file: File,
}

impl Netns {
    /// Makes a namespace.
    ///
    /// # Panics
    /// If one of that name exists, or this process may not make one.
    pub fn new(name: &str) -> Self {
        run(Command::new("ip").args(["netns", "add", name]));
        let path = Path::new("/run/netns").join(name);
        let file = File::open(&path)
            .unwrap_or_else(|cause| panic!("cannot open {}: {cause}", path.display()));
        let namespace = Self {
            name: name.to_owned(),
            file,
        };
        namespace.ip(&["link set lo up"]);
        namespace
    }

    /// Its name, as `ip netns` knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Calls `body` on a thread inside; sockets made and programs started there stay inside.
    ///
    /// # Panics
    /// If `body` does.
    pub fn enter<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))
                .unwrap_or_else(|cause| panic!("cannot enter {}: {cause}", self.name));
            body()
        };
        thread::scope(|scope| scope.spawn(inside).join())
            .unwrap_or_else(|panicked| std::panic::resume_unwind(panicked))
    }

    /// Runs a program inside to its successful end and returns what it printed.
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        self.enter(|| run(Command::new(program).args(arguments)))
    }

    /// Runs lines of `ip` inside, all or the first that fails.
    ///
    /// # Panics
    /// If one fails.
    pub fn ip<L: AsRef<str>>(&self, lines: &[L]) {
        ip_batch(&["-n", &self.name], lines);
    }

    /// Sets a kernel parameter below `net`, such as `ipv4/ip_forward`.
    pub fn sysctl(&self, name: &str, value: &str) {
        let path = Path::new("/proc/sys/net").join(name);
        self.enter(|| std::fs::write(&path, value))
            .unwrap_or_else(|cause| panic!("cannot set {name}: {cause}"));
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        // A guest ends with all its namespaces.
        if !thread::panicking() && !is_guest() {
            run(Command::new("ip").args(["netns", "del", &self.name]));
        }
    }
}

/// Runs lines of `ip` in one process.
///
/// # Panics
/// If one fails.
pub fn ip_batch<L: AsRef<str>>(options: &[&str], lines: &[L]) {
    let lines: Vec<&str> = lines.iter().map(AsRef::as_ref).collect();
    let text = lines.join("\n") + "\n";
    let mut child = Command::new("ip")
        .args(options)
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|cause| panic!("cannot run ip: {cause}"));
    let written = child
        .stdin
        .take()
        .expect("a pipe to ip")
        .write_all(text.as_bytes());
    let output = child.wait_with_output().expect("wait for ip");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && written.is_ok(),
        "ip {options:?}: {said}\n{text}"
    );
}
