//! A live lease, got the only way there is.

use core::time::Duration;

use bartizan_core::lease::{Keeper, Lease};
use bartizan_evidence::lease::{Claims, OwnerTime, Status};
use bartizan_model::config::EngineConfig;
use bartizan_model::ids::{NodeId, Thumbprint};
use bartizan_model::time::BootTime;
use bartizan_signer::Signer;

thread_local! {
    static KEEPER: Keeper = keeper();
}

/// Calls `with` with a lease.
pub(crate) fn with_lease<T>(with: impl FnOnce(&Lease) -> T) -> T {
    KEEPER.with(|keeper| with(keeper.live(BootTime::default()).unwrap()))
}

fn keeper() -> Keeper {
    let signer = Signer::generate().unwrap();
    let config = EngineConfig {
        node: NodeId::try_from("gw-a.example").unwrap(),
        ldevid: Thumbprint([5; 32]),
        verifier: signer.public_keys(),
    };
    let mut entropy = |bytes: &mut [u8]| bytes.fill(9);
    let now = BootTime::default();
    let mut keeper = Keeper::new(&config, now, &mut entropy).unwrap();
    let issued = OwnerTime(1_800_000_000);
    let claims = Claims {
        node: config.node,
        ldevid: config.ldevid,
        nonce: keeper.nonce(),
        issued,
        expires: issued.after(Duration::from_mins(5)),
        status: Status::Affirming,
    };
    let bytes = signer.sign(&claims.encode()).unwrap();
    keeper.accept(bytes, now, &mut entropy).unwrap();
    keeper
}
