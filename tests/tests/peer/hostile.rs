//! Peers with good certificates and bad manners: refused, counted, and nobody else notices.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use bartizan_model::message::{EngineToPeer, PeerMessage, PeerToEngine};
use bartizan_tests::pki::Certified;
use bartizan_tests::played::next;

use crate::gateway::{Gateway, Owner, heard, lease, node, switched};
use crate::rogue::{ADOPTED, Groups, HEARTBEAT, Rogue, RogueListener};

/// gw-b with an honest link from gw-a, and gw-x as which the test speaks.
struct Scene {
    owner: Owner,
    a: Gateway,
    b: Gateway,
    certified: Certified,
}

impl Scene {
    fn new() -> Self {
        let owner = Owner::new();
        let (mut a, mut b) = owner.pair();
        a.connected();
        b.connected();
        b.link("gw-x", "127.0.0.1:9".parse().unwrap(), false);
        let certified = owner.authority.issue(&["gw-x"]);
        Self {
            owner,
            a,
            b,
            certified,
        }
    }

    /// A connection of gw-x that gw-b has taken.
    fn rogue(&mut self) -> Rogue {
        let mut rogue = self.dial();
        assert_eq!(rogue.frame(), Some(ADOPTED.to_vec()));
        assert_eq!(self.b.connected().0, node("gw-x"));
        rogue
    }

    fn dial(&self) -> Rogue {
        let certified = Some(&self.certified);
        Rogue::connect(self.b.address, &self.owner, certified, Groups::Hybrid).unwrap()
    }

    /// The honest link works both ways, and nothing else reached an engine.
    fn honest_link_works(&mut self) {
        self.a.say("gw-b", switched(7));
        assert_eq!(self.b.heard(), heard("gw-a", switched(7)));
        self.b.say("gw-a", lease(5000));
        assert_eq!(self.a.heard(), heard("gw-b", lease(5000)));
        assert!(self.a.role.runs() && self.b.role.runs());
    }
}

/// A whole frame of a message.
fn framed(body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + 2).unwrap();
    [&length.to_be_bytes(), &[1, 2][..], body].concat()
}

#[test]
fn what_is_no_frame_ends_the_link_for_a_while() {
    for (bytes, what) in [
        (vec![0xff; 64], "longer than any frame"),
        (vec![0, 1, 1], "shorter than any frame"),
        (vec![0, 2, 9, 1], "another version"),
        (vec![0, 2, 1, 9], "another kind"),
        (vec![0, 2, 1, 0], "the listener's word"),
        (framed(&[]), "no message"),
        (framed(&[0xff; 40]), "no such message"),
        (framed(&[0, 1, 7, 7]), "bytes behind a message"),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "another protocol"),
    ] {
        let mut scene = Scene::new();
        let mut rogue = scene.rogue();
        rogue.send(&framed(&[0, 1, 7])).unwrap();
        assert_eq!(scene.b.heard(), heard("gw-x", PeerMessage::Lease(vec![7])));
        rogue.send(&bytes).unwrap();
        rogue.wait_closed();
        scene.b.disconnected("gw-x");
        scene.b.role.wait_count("peer-bad-frame", 1);
        let mut again = scene.dial();
        assert_eq!(again.frame(), None, "{what}: it must wait");
        scene.b.role.wait_count("peer-barred", 1);
        scene.honest_link_works();
    }
}

#[test]
fn what_a_dialled_node_says_before_it_takes_the_link_ends_it() {
    for first in [HEARTBEAT.to_vec(), framed(&[0, 1, 7]), vec![0xff; 8]] {
        let owner = Owner::new();
        let certified = owner.authority.issue(&["gw-x"]);
        let listener = RogueListener::bind(&owner, &certified, Groups::Hybrid);
        let mut a = owner.gateway("gw-a");
        a.link("gw-x", listener.address(), true);
        let mut rogue = listener.accept().unwrap();
        rogue.send(&first).unwrap();
        rogue.wait_closed();
        a.role.wait_count("peer-bad-frame", 1);
        assert!(a.hears_nothing());
    }
}

#[test]
fn a_second_connection_replaces_the_first_and_only_once_it_stands() {
    let mut scene = Scene::new();
    let mut first = scene.rogue();
    // One that begins and proves nothing replaces nothing.
    let _silent = TcpStream::connect(scene.b.address).unwrap();
    let foreign = scene.owner.authority.issue(&["gw-y"]);
    let foreign = Rogue::connect(
        scene.b.address,
        &scene.owner,
        Some(&foreign),
        Groups::Hybrid,
    );
    assert_eq!(foreign.unwrap().frame(), None);
    scene.b.role.wait_count("peer-unknown-node", 1);
    first.send(&framed(&[0, 1, 7])).unwrap();
    assert!(matches!(scene.b.heard(), PeerToEngine::Received { .. }));
    // The next event is the new link, with no end of the old one before it.
    let mut second = scene.rogue();
    first.wait_closed();
    second.send(&framed(&[0, 1, 7])).unwrap();
    assert!(matches!(scene.b.heard(), PeerToEngine::Received { .. }));
    scene.honest_link_works();
}

#[test]
fn a_node_that_replaces_itself_over_and_over_is_slowed_down() {
    let mut scene = Scene::new();
    let mut last = None;
    for _ in 0..8 {
        last = Some(scene.rogue());
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        assert!(Instant::now() < deadline, "never slowed down");
        if scene.dial().frame().is_none() {
            break;
        }
        scene.b.connected();
        last = None;
    }
    scene.b.role.wait_count("peer-too-often", 1);
    drop(last);
    assert!(scene.a.role.runs());
}

#[test]
fn a_peer_that_falls_silent_is_noticed_and_one_that_lives_is_not() {
    let mut scene = Scene::new();
    let begun = Instant::now();
    let mut rogue = scene.rogue();
    // It hears that the other end is alive meanwhile.
    assert_eq!(rogue.frame(), Some(HEARTBEAT[2..].to_vec()));
    scene.b.disconnected("gw-x");
    let silent = begun.elapsed();
    assert!(
        (14..25).contains(&silent.as_secs()),
        "noticed after {silent:?}"
    );
    scene.b.role.wait_count("peer-silent", 1);
    // The honest link had nothing to say either.
    scene.honest_link_works();
}

#[test]
fn a_flood_stands_before_nobody_elses_word() {
    let mut scene = Scene::new();
    let mut rogue = scene.rogue();
    let flood: Vec<u8> = framed(&[0, 1, 7]).repeat(4000);
    let before = scene.b.resident();
    let (waited, between) = std::thread::scope(|scope| {
        // Until its link is closed.
        scope.spawn(move || while rogue.send(&flood).is_ok() {});
        // The engine reads nothing for a while: the flood waits at its source.
        let pause = Instant::now() + Duration::from_secs(2);
        assert!(next(&mut scene.a.engine, pause).is_none());
        let grown = scene.b.resident().saturating_sub(before);
        assert!(grown < 24 * 1024 * 1024, "grew by {grown} bytes");

        let mut worst = (Duration::ZERO, 0);
        for epoch in 0..40 {
            let said = Instant::now();
            scene.a.say("gw-b", switched(epoch));
            let mut between = 0;
            while scene.b.heard() != heard("gw-a", switched(epoch)) {
                between += 1;
            }
            // What lay before the engine already comes first; from then on it is a matter of turns.
            if epoch >= 20 {
                worst = worst.max((said.elapsed(), between));
            }
        }
        scene.b.order(&EngineToPeer::Close(node("gw-x")));
        worst
    });
    assert!(waited < Duration::from_secs(5), "{waited:?}");
    assert!(between < 1000, "behind {between} others");
    assert!(scene.a.role.runs() && scene.b.role.runs());
}

#[test]
fn a_peer_that_takes_nothing_loses_its_link() {
    let mut scene = Scene::new();
    let rogue = scene.rogue();
    // More than the kernel and the queue hold for one peer.
    for _ in 0..4000 {
        scene.b.say("gw-x", lease(6000));
    }
    scene.b.disconnected("gw-x");
    scene.b.role.wait_count("peer-slow", 1);
    drop(rogue);
    scene.honest_link_works();
}

#[test]
fn connections_that_begin_and_say_nothing_keep_nobody_out() {
    let owner = Owner::new();
    let (mut a, mut b) = (owner.gateway("gw-a"), owner.gateway("gw-b"));
    let idle: Vec<_> = (0..50)
        .map(|_| TcpStream::connect(b.address).unwrap())
        .collect();
    b.role.wait_count("peer-turned-away", 40);
    // gw-a's connections come from the same address: there it must find a place at last.
    b.link_to("gw-a", &a, false);
    a.link_to("gw-b", &b, true);
    a.connected();
    b.connected();
    b.role.wait_count("peer-handshake-failed", 1);
    drop(idle);
}
