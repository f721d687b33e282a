//! The database, shared and lost.

use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bartizan_controller::device::{Class, State};
use bartizan_controller::store::Database;
use bartizan_controller::store::{Changed, DatabaseError, Store};
use tokio::time::timeout;

use crate::cluster::Cluster;
use crate::fleet::{NOW, attestation, enrolled, fail, failures, new, operator, serial};

/// Longer than anything takes on a loaded machine.
const LIMIT: Duration = Duration::from_mins(1);

#[tokio::test]
async fn controllers_that_begin_at_once_share_one_database() {
    let cluster = Cluster::start();
    let place = cluster.place();
    let (one, other) = tokio::join!(Store::open(&place), Store::open(&place));
    let (one, other) = (one.unwrap(), other.unwrap());
    let serial = enrolled(&one, 1).await;
    fail(&other, &serial, Class::State, "seen by the other").await;
    let device = one.device(&serial).await.unwrap().unwrap();
    assert_eq!(device.state(), State::Quarantined(Class::State));
}

/// None of the changes that two controllers make to one device at once is lost.
#[tokio::test]
async fn two_controllers_may_change_one_device_at_once() {
    let cluster = Cluster::start();
    let place = cluster.place();
    let one = Store::open(&place).await.unwrap();
    let other = Store::open(&place).await.unwrap();
    let serial = enrolled(&one, 1).await;
    let work = async |store: &Store| {
        for _round in 0..25 {
            store.demand(&serial, &operator(), NOW).await.unwrap();
        }
    };
    tokio::join!(work(&one), work(&other));
    let device = one.device(&serial).await.unwrap().unwrap();
    assert_eq!(device.demands(), 50);
    assert_eq!(one.audited().await.unwrap().len(), 51);
}

#[tokio::test]
async fn one_controller_hears_what_another_changes() {
    let cluster = Cluster::start();
    let one = Store::open(&cluster.place()).await.unwrap();
    let other = Store::open(&cluster.place()).await.unwrap();
    let serial = enrolled(&one, 1).await;
    let mut watched = other.watch(&serial);
    let mut changes = other.changes();
    fail(&one, &serial, Class::State, "elsewhere").await;
    timeout(LIMIT, watched.changed()).await.unwrap().unwrap();
    let heard = async { while changes.recv().await.unwrap() != Changed::Device(serial.clone()) {} };
    timeout(LIMIT, heard).await.unwrap();
}

/// The server is killed over and over while two controllers write: what was acknowledged is there, once.
#[tokio::test]
async fn a_database_that_is_killed_loses_no_device_and_no_verdict() {
    let mut cluster = Cluster::start();
    let place = cluster.place();
    let one = Store::open(&place).await.unwrap();
    let other = Store::open(&place).await.unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let write = async |store: &Store, first: u32| {
        let mut number = first;
        while !over.load(Ordering::SeqCst) {
            let serial = enrolled(store, number).await;
            store.attest(&serial, &attestation(1), NOW).await.unwrap();
            fail(store, &serial, Class::State, "a verdict").await;
            number += 1;
        }
        number
    };
    let kill = {
        let over = Arc::clone(&over);
        tokio::task::spawn_blocking(move || {
            for _round in 0..4 {
                cluster.restart();
            }
            over.store(true, Ordering::SeqCst);
            cluster
        })
    };
    let (ones, others) = tokio::join!(write(&one, 1), write(&other, 10_001));
    let cluster = kill.await.unwrap();
    drop((one, other));

    let store = Store::open(&cluster.place()).await.unwrap();
    assert!(ones > 1 && others > 10_001, "nothing was written");
    for number in (1..ones).chain(10_001..others) {
        let device = store.device(&serial(number)).await.unwrap().unwrap();
        assert_eq!(device.state(), State::Quarantined(Class::State));
        let totals = device.totals();
        // Done once, though the answer of some was lost.
        assert_eq!((totals.passed, totals.failed), (2, 1), "{number}");
        let verdicts = store.verdicts(&serial(number)).await.unwrap();
        assert_eq!(verdicts.len(), 3);
        assert_eq!(failures(&verdicts), ["a verdict"]);
    }
    let next = store.add(new(ones), &operator(), NOW).await;
    assert!(next.is_ok(), "{next:?}");
}

/// Only a socket of this machine needs no TLS.
#[test]
fn a_database_over_the_network_is_reached_by_tls_alone() {
    let plain = Database::new("host=192.0.2.1 user=bartizan", None);
    assert!(matches!(plain, Err(DatabaseError::Unprotected)));
    let nowhere = Database::new("user=bartizan", None);
    assert!(matches!(nowhere, Err(DatabaseError::NoHost)));
    let both = Database::new("host=/run/postgresql,192.0.2.1 port=5432,5432", None);
    assert!(matches!(both, Err(DatabaseError::Unprotected)));
    assert!(Database::new("host=/run/postgresql", None).is_ok());
}
