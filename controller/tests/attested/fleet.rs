//! Many gateways on one controller, and what they cost it.

use core::time::Duration;
use std::fs;
use std::time::Instant;

use bartizan_model::config::Der;

use crate::boxes::{Ways as Enrolling, enrol};
use crate::gateway::{Done, Played, Ways};
use crate::owner::{Owner, Pace};
use crate::tpm::Tpm;

/// How many enrol or call home at once: half of what the controller lets in from one address, for it
/// may not yet have seen the one before go.
const AT_ONCE: usize = 4;

/// Longer than any cadence.
const LIMIT: Duration = Duration::from_mins(5);

/// An owner with a running controller and its enrolled boxes.
pub(crate) struct Fleet {
    pub(crate) owner: Owner,
    boxes: Vec<Enrolled>,
}

/// An enrolled box: at rest, or calling home.
struct Enrolled {
    tpm: Option<Tpm>,
    ldevid: Vec<Der>,
    played: Option<Played>,
}

/// What the controller did for the whole fleet in some time.
#[derive(Debug)]
pub(crate) struct Watched {
    /// From the challenge to the lease, of each attestation, the shortest first.
    pub(crate) took: Vec<Duration>,
    /// How long it was watched.
    pub(crate) lasted: Duration,
    /// The controller's processor time in it.
    pub(crate) cpu: Duration,
    /// The controller's memory at its end, in KiB.
    pub(crate) resident: u64,
}

impl Fleet {
    /// Enrols this many boxes, each with a TPM of its own; also tells what that took.
    pub(crate) fn enrolled(size: usize) -> (Self, Watched) {
        let mut owner = Owner::new();
        let tpms: Vec<Tpm> = (0..size).map(|_| owner.tpm()).collect();
        let named = tpms.iter().enumerate();
        let named = named.map(|(number, tpm)| (tpm.serial(), format!("gw-{number}.example")));
        owner.add_all(&named.collect::<Vec<_>>());
        owner.start();
        let meter = Meter::start(&owner);
        let mut boxes: Vec<Enrolled> = tpms.into_iter().map(Enrolled::fresh).collect();
        let took = in_lanes(&mut boxes, |enrolled| {
            let begun = Instant::now();
            let tpm = enrolled.tpm.as_mut().unwrap();
            enrolled.ldevid = enrol(&owner, tpm, &Enrolling::default()).enrolment().ldevid;
            begun.elapsed()
        });
        let watched = meter.stop(&owner, took);
        (Self { owner, boxes }, watched)
    }

    /// Lets all call home to a controller that starts anew with this pace; returns when each has a
    /// lease.
    pub(crate) fn call_home(&mut self, pace: Pace) {
        self.owner.stop();
        self.owner.configure(pace);
        self.owner.start();
        let owner = &self.owner;
        in_lanes(&mut self.boxes, |enrolled| {
            let played = match (enrolled.played.take(), enrolled.tpm.take()) {
                (Some(before), _) => Played::again(owner, before.tpm, &enrolled.ldevid, WAYS),
                (None, tpm) => Played::call_home(owner, tpm.unwrap(), &enrolled.ldevid, WAYS),
            };
            let took = proved(&played);
            enrolled.played = Some(played);
            took
        });
    }

    /// Watches until each gateway was attested this often.
    pub(crate) fn watch(&self, rounds: usize) -> Watched {
        let gateways = || self.boxes.iter().filter_map(|found| found.played.as_ref());
        let mut took = Vec::new();
        for gateway in gateways() {
            gateway.done.try_iter().for_each(drop);
        }
        let meter = Meter::start(&self.owner);
        for gateway in gateways() {
            took.extend((0..rounds).map(|_| proved(gateway)));
        }
        // Some were asked more often by then.
        for gateway in gateways() {
            took.extend(gateway.done.try_iter().filter_map(|done| match done {
                Done::Proved(took) => Some(took),
                _ => None,
            }));
        }
        meter.stop(&self.owner, took)
    }

    pub(crate) fn serials(&self) -> Vec<String> {
        let played = self.boxes.iter().filter_map(|found| found.played.as_ref());
        played
            .map(|played| played.tpm.lock().unwrap().serial())
            .collect()
    }
}

const WAYS: Ways = Ways {
    replays: false,
    unbound: false,
    flatters: false,
    quotes_in: Duration::ZERO,
};

impl Enrolled {
    fn fresh(tpm: Tpm) -> Self {
        Self {
            tpm: Some(tpm),
            ldevid: Vec::new(),
            played: None,
        }
    }
}

impl Watched {
    /// So many of a hundred took at most this long.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let last = self.took.len().checked_sub(1).expect("something was done");
        self.took[last * percent / 100]
    }
}

/// How long the next attestation takes.
fn proved(gateway: &Played) -> Duration {
    loop {
        match gateway.done.recv_timeout(LIMIT).unwrap() {
            Done::Proved(took) => return took,
            Done::Ended => panic!("the session ended"),
            _ => {}
        }
    }
}

/// Does something with every box, a few at once; how long each took.
fn in_lanes(
    boxes: &mut [Enrolled],
    work: impl Fn(&mut Enrolled) -> Duration + Sync,
) -> Vec<Duration> {
    let lane = boxes.len().div_ceil(AT_ONCE);
    let work = &work;
    std::thread::scope(|scope| {
        let lanes: Vec<_> = boxes
            .chunks_mut(lane)
            .map(|lane| scope.spawn(move || lane.iter_mut().map(work).collect::<Vec<_>>()))
            .collect();
        let lanes = lanes.into_iter().flat_map(|lane| lane.join().unwrap());
        lanes.collect()
    })
}

/// Measures the controller's process.
struct Meter {
    begun: Instant,
    cpu: Duration,
}

impl Meter {
    fn start(owner: &Owner) -> Self {
        Self {
            begun: Instant::now(),
            cpu: cpu(owner.process()),
        }
    }

    fn stop(self, owner: &Owner, mut took: Vec<Duration>) -> Watched {
        took.sort_unstable();
        Watched {
            took,
            lasted: self.begun.elapsed(),
            cpu: cpu(owner.process()).checked_sub(self.cpu).unwrap(),
            resident: resident(owner.process()),
        }
    }
}

/// The processor time of a process (`proc_pid_stat(5)`, fields 14 and 15), counted in hundredths of a
/// second.
fn cpu(process: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The name in front of the other fields may have blanks.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

/// The memory of a process (`proc_pid_status(5)`), in KiB.
fn resident(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.unwrap().trim().strip_suffix(" kB").unwrap();
    number.parse().unwrap()
}
