//! Two links talk: in both directions, in order, with calls that get every kind of answer, and with messages that are
//! too large. Deliberately absent: faults.

use std::time::Duration;

use devstack_cluster::{CallError, Limits, SendError, frame::BODY_MAX};

use crate::{
    node::{ECHO, Node, REFUSE, SILENCE, name, run},
    pki::Ca,
};

const PATIENT: Duration = Duration::from_secs(60);

async fn pair() -> (Node, Node) {
    let ca = Ca::new();
    let mut a = Node::listening("a", &ca.issue("a"), Limits::default()).await;
    let mut b = Node::joining("b", &ca.issue("b"), Limits::default(), &a.address()).await;
    assert_eq!(a.connected().await.peer, name("b"));
    assert_eq!(b.connected().await.peer, name("a"));
    (a, b)
}

#[test]
fn messages_arrive_in_order_both_ways() {
    run(async {
        let (mut a, mut b) = pair().await;
        // More than a window: the credit returns.
        for n in 0..10_000_u32 {
            let (to_a, to_b) = (n.to_be_bytes().to_vec(), (n + 1).to_be_bytes().to_vec());
            b.link.send(&name("a"), 7, to_a.clone()).unwrap();
            a.link.send(&name("b"), 8, to_b.clone()).unwrap();
            let (at_a, at_b) = (a.received().await, b.received().await);
            assert_eq!((at_a.kind, &at_a.body, at_b.kind, &at_b.body), (7, &to_a, 8, &to_b));
        }
        assert_eq!(a.link.peers().len(), 1);
    });
}

#[test]
fn calls_are_answered_refused_or_given_up() {
    run(async {
        let (a, b) = pair().await;
        let to = name("a");
        let call = |kind, limit| b.link.call(&to, kind, b"question".to_vec(), limit);
        assert_eq!(call(ECHO, PATIENT).await, Ok(b"question".to_vec()));
        assert_eq!(call(REFUSE, PATIENT).await, Err(CallError::Refused("no".to_owned())));
        assert_eq!(call(99, PATIENT).await, Err(CallError::Refused("nobody answered".to_owned())), "a dropped reply");
        assert_eq!(call(SILENCE, Duration::from_millis(20)).await, Err(CallError::TimedOut));
        assert_eq!(a.link.call(&name("b"), ECHO, vec![1], PATIENT).await, Ok(vec![1]));
        let nobody = b.link.call(&name("c"), ECHO, vec![], PATIENT).await;
        assert_eq!(nobody, Err(CallError::NotSent(SendError::NotConnected)));
        let (ended, ()) = tokio::join!(call(SILENCE, PATIENT), async { b.link.disconnect(&name("a"), "enough") });
        assert_eq!(ended, Err(CallError::Disconnected));
    });
}

#[test]
fn large_frames_arrive_and_larger_ones_are_refused() {
    run(async {
        let (mut a, b) = pair().await;
        b.link.send(&name("a"), 1, vec![5; BODY_MAX]).unwrap();
        assert_eq!(a.received().await.body.len(), BODY_MAX);
        let over = BODY_MAX + 1;
        assert_eq!(b.link.send(&name("a"), 1, vec![5; over]), Err(SendError::TooLarge(over)));
        assert_eq!(b.link.call(&name("a"), ECHO, vec![6; BODY_MAX], PATIENT).await.unwrap().len(), BODY_MAX);
    });
}

#[test]
fn a_stopped_link_is_seen_at_once() {
    run(async {
        let (mut a, b) = pair().await;
        b.link.stop().await;
        assert_eq!(a.disconnected().await.1, "the peer closed the connection");
        assert_eq!(a.link.send(&name("b"), 1, vec![]), Err(SendError::NotConnected));
    });
}

/// A receiver that consumes nothing: its sender runs out of credit, ends the session and starts a new one.
#[test]
fn without_credit_the_session_ends_and_begins_anew() {
    run(async {
        let (mut a, mut b) = pair().await;
        let limits = Limits::default();
        for _ in 0..limits.frames {
            b.link.send(&name("a"), 1, vec![0; 8]).unwrap();
        }
        assert_eq!(b.link.send(&name("a"), 1, vec![0; 8]), Err(SendError::NoCredit));
        let (_, why) = b.disconnected().await;
        assert!(why.contains("no credit"), "{why}");
        b.connected().await;
        b.link.send(&name("a"), 2, b"again".to_vec()).unwrap();
        while a.received().await.body != b"again" {}
    });
}
