//! The two clocks: the kernel's SA timers go by the one that can be set, leases by the one that
//! cannot.

use core::time::Duration;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bartizan_model::time::BootTime;
use bartizan_process::boot_time;
use rustix::io::{Errno, read};
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};

use crate::kernel::XfrmError;

/// One moment on both clocks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Moment {
    /// Whole seconds of `CLOCK_REALTIME` since 1970, in two's complement.
    pub real: u64,
    /// `CLOCK_BOOTTIME`.
    pub boot: BootTime,
}

impl Moment {
    /// Reads both clocks. What passes between the two readings makes an end that is reckoned over
    /// from the second to the first come earlier, never later.
    pub fn now() -> Self {
        let real = clock_gettime(ClockId::Realtime).tv_sec.cast_unsigned();
        let boot = boot_time();
        Self { real, boot }
    }

    /// The limit, in seconds since `added`, at which the kernel's timer strikes when `left` has
    /// passed from now, or up to a second before.
    ///
    /// The kernel adds `added` to the limit and subtracts its present time, in 64 bits that wrap,
    /// and takes the result for a signed one. So a limit that is negative after the clock went
    /// back is right in two's complement. Only 0 would be no limit, and `u64::MAX` is left out
    /// because tools print it as none.
    pub fn limit_in(self, left: Duration, added: u64) -> u64 {
        let limit = self.real.wrapping_sub(added).wrapping_add(left.as_secs());
        if matches!(limit, 0 | u64::MAX) {
            u64::MAX.wrapping_sub(1)
        } else {
            limit
        }
    }

    /// When the kernel's timer strikes that has this limit; `None` if it has none.
    pub fn end_of(self, limit: u64, added: u64) -> Option<BootTime> {
        let left = limit.wrapping_add(added).wrapping_sub(self.real);
        let left = u64::try_from(left.cast_signed()).unwrap_or(0);
        (limit != 0).then(|| self.boot.after(Duration::from_secs(left)))
    }

    /// When an SA was added, by the boot clock; wrong by as much as the other clock was set since.
    pub fn since(self, added: u64) -> BootTime {
        let age = u64::try_from(self.real.wrapping_sub(added).cast_signed()).unwrap_or(0);
        BootTime(self.boot.0.saturating_sub(Duration::from_secs(age)))
    }
}

/// Tells when `CLOCK_REALTIME` has been set.
#[derive(Debug)]
pub struct ClockWatch(OwnedFd);

impl ClockWatch {
    /// Begins to watch.
    ///
    /// # Errors
    ///
    /// [`XfrmError::Clock`].
    pub fn begin() -> Result<Self, XfrmError> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Realtime, flags).map_err(XfrmError::Clock)?;
        let mut watch = Self(timer);
        watch.arm()?;
        Ok(watch)
    }

    /// Says whether the clock was set since the last call. It watches on before this returns, so
    /// what is reckoned afterwards with a clock that is set meanwhile is told by the next call.
    ///
    /// # Errors
    ///
    /// [`XfrmError::Clock`].
    pub fn stepped(&mut self) -> Result<bool, XfrmError> {
        match read(&self.0, &mut [0; 8]) {
            Err(Errno::AGAIN | Errno::INTR) => Ok(false),
            Err(Errno::CANCELED) | Ok(_) => self.arm().map(|()| true),
            Err(errno) => Err(XfrmError::Clock(errno)),
        }
    }

    /// Sets the timer to the end of time; setting the clock cancels it.
    fn arm(&mut self) -> Result<(), XfrmError> {
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        let never = Timespec {
            tv_sec: i64::MAX,
            tv_nsec: 0,
        };
        let timer = Itimerspec {
            it_interval: Timespec::default(),
            it_value: never,
        };
        loop {
            match timerfd_settime(&self.0, flags, &timer) {
                Ok(_before) => return Ok(()),
                // Set once more at this very moment; the timer is armed all the same, but only
                // another call says that nothing was missed.
                Err(Errno::CANCELED) => {}
                Err(errno) => return Err(XfrmError::Clock(errno)),
            }
        }
    }
}

impl AsFd for ClockWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;

    fn at(real: u64) -> Moment {
        Moment {
            real,
            boot: BootTime(Duration::from_secs(10_000)),
        }
    }

    #[test]
    fn a_limit_and_its_end_are_inverse_however_the_clock_was_set() {
        let added = 1_700_000_000;
        for real in [added + 60, added + HOUR, added - HOUR, 5, u64::MAX - 5] {
            for left in [1, 300, 1_000_000] {
                let now = at(real);
                let limit = now.limit_in(Duration::from_secs(left), added);
                let end = now.end_of(limit, added).unwrap();
                assert_eq!(end.since(now.boot), Duration::from_secs(left));
            }
        }
    }

    #[test]
    fn no_limit_comes_out_as_unlimited() {
        let added = 1_700_000_000;
        for (left, early) in [(300, 2), (299, 1)] {
            let now = at(added - 300);
            let limit = now.limit_in(Duration::from_secs(left), added);
            assert_eq!(limit, u64::MAX - 1);
            let end = now.end_of(limit, added).unwrap();
            assert_eq!(end.since(now.boot), Duration::from_secs(left - early));
        }
        assert_eq!(at(added).end_of(0, added), None);
    }

    #[test]
    fn what_is_left_is_rounded_down() {
        let limit = at(1060).limit_in(Duration::from_millis(2999), 1000);
        assert_eq!(limit, 62);
    }

    #[test]
    fn an_age_is_reckoned_over_to_the_boot_clock() {
        let now = at(1060);
        assert_eq!(now.boot.since(now.since(1000)), Duration::from_mins(1));
        assert_eq!(
            now.since(2000),
            now.boot,
            "an SA from the future is new-born"
        );
    }
}
