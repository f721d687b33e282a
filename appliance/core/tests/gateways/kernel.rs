//! One gateway's kernel, as far as SAs and policies are concerned.

use core::cell::Cell;
use core::time::Duration;
use std::collections::BTreeMap;
use std::net::IpAddr;

use bartizan_model::message::{SaId, SaInstall, SaListed};
use bartizan_model::policy::{Action, Direction, Policy, TrafficSelector};

/// `EEXIST`.
pub(crate) const EEXIST: i32 = 17;

/// `ESRCH`.
pub(crate) const ESRCH: i32 = 3;

#[derive(Debug, Default)]
pub(crate) struct Kernel {
    /// Where in its second `CLOCK_REALTIME` is when the world's clock begins one.
    pub(crate) fraction: Duration,
    pub(crate) sas: BTreeMap<SaId, Sa>,
    next: Cell<Next>,
    pub(crate) policies: BTreeMap<(Direction, TrafficSelector), Policy>,
    /// Whether a policy stands beneath all others that drops what none of them matches.
    pub(crate) blocks: bool,
}

/// The next end or soft end.
#[derive(Clone, Copy, Debug, Default)]
enum Next {
    #[default]
    Unknown,
    Never,
    At(Duration),
}

#[derive(Clone, Debug)]
pub(crate) struct Sa {
    pub(crate) install: SaInstall,
    pub(crate) key: Vec<u8>,
    /// Seconds of `CLOCK_REALTIME`.
    pub(crate) add_time: u64,
    /// The world's time at which it ends.
    pub(crate) end: Duration,
    /// The world's time at which its soft lifetime is reported.
    pub(crate) soft: Option<Duration>,
    pub(crate) dying: bool,
}

/// What becomes of a packet that is to leave.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Fate {
    /// ESP under this SA.
    Protected(SaId),
    Dropped,
    /// On the wire as it is.
    Clear,
}

impl Kernel {
    pub(crate) fn new(fraction: Duration) -> Self {
        Self {
            fraction,
            blocks: true,
            ..Self::default()
        }
    }

    fn real(&self, now: Duration) -> u64 {
        (now + self.fraction).as_secs()
    }

    fn world(&self, real: u64) -> Duration {
        Duration::from_secs(real).saturating_sub(self.fraction)
    }

    pub(crate) fn install(
        &mut self,
        now: Duration,
        install: SaInstall,
        key: Vec<u8>,
    ) -> Result<(), i32> {
        if self.sas.contains_key(&install.id) {
            return Err(EEXIST);
        }
        let add_time = self.real(now);
        let hard = install.hard.seconds.expect("an SA without an end");
        let sa = Sa {
            key,
            add_time,
            end: self.world(add_time + hard),
            soft: install.soft.seconds.map(|soft| self.world(add_time + soft)),
            dying: false,
            install,
        };
        self.sas.insert(sa.install.id, sa);
        self.touch();
        Ok(())
    }

    /// `XFRM_MSG_UPDSA` as xfrm uses it: never a key, time counts from the first `add_time`.
    pub(crate) fn extend(&mut self, now: Duration, install: &SaInstall) -> Result<(), i32> {
        self.touch();
        let real = self.real(now);
        let fraction = self.fraction;
        let sa = self.sas.get_mut(&install.id).ok_or(ESRCH)?;
        let hard = install.hard.seconds.expect("an SA without an end");
        let world = |real: u64| Duration::from_secs(real).saturating_sub(fraction);
        sa.end = world(real + hard);
        sa.soft = install.soft.seconds.map(|soft| world(sa.add_time + soft));
        sa.dying = false;
        sa.install.soft = install.soft;
        Ok(())
    }

    /// The SAs are others now.
    pub(crate) fn touch(&mut self) {
        self.next.set(Next::Unknown);
    }

    pub(crate) fn remove(&mut self, id: SaId) -> Result<(), i32> {
        self.touch();
        self.sas.remove(&id).map(|_| ()).ok_or(ESRCH)
    }

    pub(crate) fn list(&self, now: Duration) -> Vec<SaListed> {
        let real = self.real(now);
        self.sas
            .values()
            .map(|sa| SaListed {
                id: sa.install.id,
                source: sa.install.source,
                reqid: sa.install.reqid.into(),
                age: real - sa.add_time,
                remaining: Some((sa.end + self.fraction).as_secs().saturating_sub(real)),
            })
            .collect()
    }

    /// The SAs whose time is over leave; those whose soft lifetime is over are reported.
    pub(crate) fn expire(&mut self, now: Duration) -> Vec<(SaInstall, bool)> {
        self.touch();
        let over: Vec<SaId> = self
            .sas
            .values()
            .filter(|sa| sa.end <= now)
            .map(|sa| sa.install.id)
            .collect();
        let mut reports = Vec::new();
        for id in over {
            reports.push((self.sas.remove(&id).unwrap().install, true));
        }
        for sa in self.sas.values_mut() {
            if sa.soft.is_some_and(|soft| soft <= now) {
                sa.soft = None;
                sa.dying = true;
                reports.push((sa.install.clone(), false));
            }
        }
        reports
    }

    /// When [`Kernel::expire`] has something to do.
    pub(crate) fn next_expiry(&self) -> Option<Duration> {
        if let Next::Unknown = self.next.get() {
            let times = self.sas.values().flat_map(|sa| [Some(sa.end), sa.soft]);
            self.next
                .set(times.flatten().min().map_or(Next::Never, Next::At));
        }
        match self.next.get() {
            Next::At(next) => Some(next),
            Next::Never | Next::Unknown => None,
        }
    }

    /// `xfrm_policy_lookup` and `xfrm_state_find`: the best policy, then of the SAs that fit it one
    /// that is not dying, then the one with the youngest second.
    pub(crate) fn output(&self, source: IpAddr, destination: IpAddr) -> Fate {
        let policy = self
            .policies
            .values()
            .filter(|policy| {
                policy.direction == Direction::Outbound
                    && covers(policy.selector.local, source)
                    && covers(policy.selector.remote, destination)
            })
            .min_by_key(|policy| policy.priority);
        let Some(policy) = policy else {
            return if self.blocks {
                Fate::Dropped
            } else {
                Fate::Clear
            };
        };
        let Action::Protect(protect) = &policy.action else {
            return Fate::Dropped;
        };
        self.sas
            .values()
            .filter(|sa| {
                sa.install.reqid == policy.reqid
                    && sa.install.source == protect.local
                    && sa.install.id.destination == protect.remote
            })
            .max_by_key(|sa| (!sa.dying, sa.add_time))
            .map_or(Fate::Dropped, |sa| Fate::Protected(sa.install.id))
    }
}

fn covers(prefix: bartizan_model::policy::Prefix, address: IpAddr) -> bool {
    match (prefix.address(), address) {
        (IpAddr::V4(net), IpAddr::V4(address)) => {
            let shift = 32 - u32::from(prefix.length());
            shift == 32 || (net.to_bits() >> shift) == (address.to_bits() >> shift)
        }
        (IpAddr::V6(net), IpAddr::V6(address)) => {
            let shift = 128 - u32::from(prefix.length());
            shift == 128 || (net.to_bits() >> shift) == (address.to_bits() >> shift)
        }
        _ => false,
    }
}
