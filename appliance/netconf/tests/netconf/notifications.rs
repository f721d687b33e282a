//! Subscribers are told; slow ones lose their session.

use core::time::Duration;

use bartizan_model::ids::{EntryName, Spi};
use bartizan_model::report::{Alarm, Notice};
use bartizan_netconf::server::Ended;
use bartizan_netconf::{UnixTime, limits};

use crate::bench::{Bench, rpc};

const SUBSCRIBE: &str =
    "<create-subscription xmlns=\"urn:ietf:params:xml:ns:netconf:notification:1.0\"/>";
const NOW: UnixTime = UnixTime(Duration::from_millis(1_798_761_599_123));

fn expired() -> Notice {
    Notice::Expired {
        entry: EntryName::try_from("out/a/in/b").unwrap(),
        spi: Spi::try_from(4096).unwrap(),
        hard: false,
    }
}

fn alarm() -> Notice {
    Notice::Alarm {
        entry: EntryName::try_from("out/a/in/b").unwrap(),
        alarm: Alarm::TagMismatch,
    }
}

#[test]
fn who_has_not_subscribed_is_told_nothing() {
    let mut bench = Bench::new();
    bench.session.notify(&expired(), NOW);
    assert!(bench.messages().is_empty());
}

#[test]
fn an_expiry_is_told_in_the_words_of_rfc_9061() {
    let mut bench = Bench::new();
    bench.ok(SUBSCRIBE);
    bench.session.notify(&expired(), NOW);
    let message = bench.messages().remove(0);
    assert!(
        message.ends_with(
            "<notification xmlns=\"urn:ietf:params:xml:ns:netconf:notification:1.0\">\
         <eventTime>2026-12-31T23:59:59.123Z</eventTime>\
         <sadb-expire xmlns=\"urn:ietf:params:xml:ns:yang:ietf-i2nsf-ikeless\">\
         <ipsec-sa-name>out/a/in/b_4096</ipsec-sa-name>\
         <soft-lifetime-expire>true</soft-lifetime-expire></sadb-expire></notification>"
        ),
        "{message}"
    );
}

#[test]
fn a_subscription_may_name_the_stream_and_filter() {
    let with = |inner: &str| SUBSCRIBE.replace("/>", &format!(">{inner}</create-subscription>"));
    let mut bench = Bench::new();
    bench.ok(&with(
        "<stream>NETCONF</stream><filter type=\"subtree\">\
         <sadb-expire xmlns=\"urn:ietf:params:xml:ns:yang:ietf-i2nsf-ikeless\"/></filter>",
    ));
    bench.session.notify(&alarm(), NOW);
    bench.session.notify(&expired(), NOW);
    let messages = bench.messages();
    assert_eq!(messages.len(), 1);
    assert!(messages[0].contains("sadb-expire"));
    assert_eq!(
        bench.refused(SUBSCRIBE).tag,
        "operation-failed",
        "one a session"
    );

    let refused = Bench::new().refused(&with("<stream>SYSLOG</stream>"));
    assert_eq!(refused.tag, "invalid-value");
    let refused = Bench::new().refused(&with("<startTime>2026-01-01T00:00:00Z</startTime>"));
    assert_eq!(refused.tag, "operation-not-supported");
    assert_eq!(
        Bench::new().refused(&with("<colour/>")).tag,
        "unknown-namespace"
    );
}

#[test]
fn requests_are_answered_while_subscribed_and_nothing_is_mixed() {
    let mut bench = Bench::new();
    bench.ok(SUBSCRIBE);
    bench.send(&rpc("<get/>"));
    // A part of the reply is on its way when something happens.
    let len = bench.session.output().len();
    bench.session.sent(len / 2);
    bench.session.notify(&alarm(), NOW);
    assert_eq!(
        bench.session.output().len(),
        len - len / 2,
        "the reply goes on alone"
    );
    bench.session.sent(len - len / 2);
    let messages = bench.messages();
    assert_eq!(messages.len(), 1);
    assert!(messages[0].contains("<tunnel-alarm"));
}

#[test]
fn a_subscriber_that_does_not_read_loses_the_session() {
    let mut bench = Bench::new();
    bench.ok(SUBSCRIBE);
    bench.send(&rpc("<get/>"));
    let mut told = 0;
    while bench.session.ended().is_none() {
        bench.session.notify(&alarm(), NOW);
        told += 1;
        assert!(told < 100_000);
    }
    assert_eq!(bench.session.ended(), Some(Ended::Slow));
    assert!(
        told > 2 * limits::ENTRIES,
        "a burst of every tunnel fits: {told}"
    );
}
