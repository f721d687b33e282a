//! What a fleet costs one controller: `cargo bench -p bartizan-controller --bench fleet`. The gateways run beside it,
//! with TPMs that are a model; all else is what ships: TLS call home, quotes, logs, verification, leases, the store.
//!
//! A thousand gateways for a few minutes at the cadence that ships, then asked again as fast as the
//! controller gets round: `attestations/s` is that of the machine, gateways and all. `GATEWAYS` in
//! the environment asks for another number.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a bench, with a test's modules: small numbers, a process and its time, and what is not expected ends it"
)]

use core::time::Duration;

use fleet::{Fleet, Watched};
use owner::Pace;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[expect(dead_code, reason = "what only the tests ask")]
#[path = "../tests/attested/boxes.rs"]
mod boxes;
#[expect(dead_code, reason = "what only the tests ask")]
#[path = "../tests/attested/fleet.rs"]
mod fleet;
#[expect(dead_code, reason = "what only the tests ask")]
#[path = "../tests/attested/gateway.rs"]
mod gateway;
#[expect(dead_code, reason = "what only the tests ask")]
#[path = "../tests/attested/owner.rs"]
mod owner;
#[expect(dead_code, reason = "what only the tests ask")]
#[path = "../tests/attested/tpm.rs"]
mod tpm;

/// As shipped.
const SHIPPED: Pace = Pace {
    cadence: 60,
    lease: 300,
    poll: 30,
};

/// How often each gateway is attested at the shipped cadence, and without rest.
const ROUNDS: usize = 3;
const ROUNDS_WITHOUT_REST: usize = 20;

fn main() {
    // Each gateway has a few descriptors here, and one in the controller, which inherits the limit.
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, all).unwrap();
    let gateways = std::env::var("GATEWAYS").map_or(1000, |number| number.parse().unwrap());
    let processors = std::thread::available_parallelism().unwrap();

    println!("{gateways} gateways beside one controller, {processors} processors");
    let (mut fleet, enrolling) = Fleet::enrolled(gateways);
    tell("enrolments, 4 at once", &enrolling);
    fleet.call_home(SHIPPED);
    let shipped = fleet.watch(ROUNDS);
    tell("attestations at a cadence of 60 s", &shipped);
    println!(
        "    the controller takes {} of one processor and {} MiB, {} KiB a session",
        share(shipped.cpu, shipped.lasted),
        shipped.resident / 1024,
        (shipped.resident - enrolling.resident.min(shipped.resident))
            / u64::try_from(gateways).unwrap(),
    );
    fleet.call_home(Pace::FAST);
    let without_rest = fleet.watch(ROUNDS_WITHOUT_REST);
    tell("attestations without rest", &without_rest);
    let each = each(&without_rest);
    println!(
        "    by that, {gateways} gateways at a cadence of 60 s are {} of one processor",
        share(
            each * u32::try_from(gateways).unwrap(),
            Duration::from_mins(1)
        ),
    );
}

fn tell(what: &str, watched: &Watched) {
    let count = u128::try_from(watched.took.len()).unwrap();
    println!("{what}: {count} in {} s", watched.lasted.as_secs());
    println!(
        "    {} a second; one: p50 {:.1?}, p99 {:.1?}, longest {:.1?}; {:.2?} of the controller's processor time each",
        count * 1000 / watched.lasted.as_millis(),
        watched.percentile(50),
        watched.percentile(99),
        watched.percentile(100),
        each(watched),
    );
}

fn each(watched: &Watched) -> Duration {
    watched.cpu / u32::try_from(watched.took.len()).unwrap()
}

fn share(cpu: Duration, lasted: Duration) -> String {
    let thousandths = cpu.as_millis() * 1000 / lasted.as_millis();
    format!("{}.{} %", thousandths / 10, thousandths % 10)
}
