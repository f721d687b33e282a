//! Programs that a test runs: always with a deadline, never left behind.

use std::{
    fmt,
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fd::AsFd,
    io::Errno,
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal},
};

/// A program that runs in a process group of its own; dropping it kills the group.
#[derive(Debug)]
pub struct Running {
    child: Child,
    name: String,
    ended: Option<ExitStatus>,
}

impl Running {
    /// Starts `command`.
    pub fn spawn(command: &mut Command) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command
            .process_group(0)
            .spawn()
            .unwrap_or_else(|cause| panic!("cannot run {name}: {cause}"));
        Self {
            child,
            name,
            ended: None,
        }
    }

    /// The process.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Its piped ends.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits for its end; `None` once `limit` has passed. What is left of its group ends with it.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        if self.ended.is_none() {
            let pidfd = pidfd_open(self.pid(), PidfdFlags::empty()).expect("pidfd of a child");
            if readable(&pidfd, Instant::now() + limit) {
                self.kill();
            }
        }
        self.ended
    }

    /// Kills the group, unless the process has ended before, and waits for its end.
    pub fn kill(&mut self) {
        if self.ended.is_some() {
            return;
        }
        // Not yet reaped, so the group's id is still ours; unless the caller did that, by `child`.
        match kill_process_group(self.pid(), Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(cause) => panic!("cannot kill {}: {cause}", self.name),
        }
        self.ended = Some(self.child.wait().expect("wait for a child"));
    }

    /// Sends a signal to the process alone.
    pub fn signal(&self, signal: Signal) {
        let pidfd = pidfd_open(self.pid(), PidfdFlags::empty()).expect("pidfd of a child");
        pidfd_send_signal(pidfd, signal).expect("signal a child");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs `command` to its end and returns what it printed.
///
/// # Panics
/// If it cannot be run or does not succeed; its error output is in the message.
pub fn run(command: &mut Command) -> String {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|cause| panic!("cannot run {}: {cause}", Line(command)));
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{} ended with {}\n{stdout}{}",
        Line(command),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    stdout
}

/// Waits until `fd` is readable (for a pidfd: until the process ended); false once `deadline` has passed.
pub fn readable(fd: impl AsFd, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).expect("a deadline within reach");
        let mut fds = [PollFd::new(&fd, PollFlags::IN)];
        match rustix::event::poll(&mut fds, Some(&timeout)) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(Errno::INTR) => {}
            Err(cause) => panic!("cannot poll: {cause}"),
        }
    }
}

/// A command as one would type it.
struct Line<'command>(&'command Command);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.get_program().to_string_lossy())?;
        for argument in self.0.get_args() {
            write!(f, " {}", argument.to_string_lossy())?;
        }
        Ok(())
    }
}
