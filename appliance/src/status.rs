//! The status socket: whoever connects gets one snapshot as JSON, and is closed. Nothing is read.

use core::time::Duration;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bartizan_model::time::BootTime;
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

/// Where the status is read.
pub const SOCKET: &str = "/run/bartizan/status.sock";

/// The most readers at a time.
const READERS_MAX: usize = 8;

/// How long a reader may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who is being told.
#[derive(Debug, Default)]
pub struct Readers(Vec<Reader>);

#[derive(Debug)]
struct Reader {
    socket: OwnedFd,
    text: Vec<u8>,
    told: usize,
    until: BootTime,
}

impl Readers {
    /// Says whether one more can be told; if not, the listener waits.
    pub fn has_room(&self) -> bool {
        self.0.len() < READERS_MAX
    }

    /// Tells one more.
    pub fn tell(&mut self, now: BootTime, socket: OwnedFd, text: Vec<u8>) {
        self.0.push(Reader {
            socket,
            text,
            told: 0,
            until: now.after(PATIENCE),
        });
    }

    /// Goes on with everyone who can take more; closes who has it all, is gone, or is too slow.
    pub fn go_on(&mut self, now: BootTime) {
        self.0
            .retain_mut(|reader| now < reader.until && reader.go_on());
    }

    /// Who waits to become writable.
    pub fn waiting(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.iter().map(|reader| reader.socket.as_fd())
    }
}

impl Reader {
    /// Sends what the socket takes; false at the end.
    fn go_on(&mut self) -> bool {
        while let Some(rest) = self.text.get(self.told..)
            && !rest.is_empty()
        {
            match send(
                &self.socket,
                rest,
                SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
            ) {
                Ok(sent) => self.told = self.told.saturating_add(sent),
                Err(Errno::AGAIN | Errno::INTR) => return true,
                Err(_gone) => return false,
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_reader_gets_the_whole_text_and_the_end() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let text = vec![b'x'; 3 << 20];
        let mut readers = Readers::default();
        readers.tell(BootTime::default(), near.into(), text.clone());
        let whole = std::thread::spawn(move || {
            let mut whole = Vec::new();
            far.read_to_end(&mut whole).map(|_| whole)
        });
        while readers.waiting().next().is_some() {
            readers.go_on(BootTime::default());
            std::thread::yield_now();
        }
        assert_eq!(whole.join().unwrap().unwrap(), text);
    }

    #[test]
    fn a_reader_that_takes_nothing_is_closed_in_time() {
        let (near, _far) = UnixStream::pair().unwrap();
        let mut readers = Readers::default();
        readers.tell(BootTime::default(), near.into(), vec![b'x'; 3 << 20]);
        readers.go_on(BootTime(PATIENCE / 2));
        assert_eq!(readers.waiting().count(), 1);
        readers.go_on(BootTime(PATIENCE));
        assert_eq!(readers.waiting().count(), 0);
    }

    #[test]
    fn there_is_room_for_a_few() {
        let mut readers = Readers::default();
        let mut ends = Vec::new();
        while readers.has_room() {
            let (near, far) = UnixStream::pair().unwrap();
            readers.tell(BootTime::default(), near.into(), vec![b'x'; 3 << 20]);
            ends.push(far);
        }
        assert_eq!(ends.len(), READERS_MAX);
        drop(ends);
        readers.go_on(BootTime::default());
        assert!(readers.has_room());
    }
}
