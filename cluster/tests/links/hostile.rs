//! Hostile peers against one listener, while an honest peer is still served. Deliberately absent: peers without TLS
//! that know the protocol; without a certificate no peer reaches the protocol.

use std::time::Duration;

use devstack_cluster::{
    Limits, SendError,
    frame::{self, Class, Key},
};
use tokio::{io::AsyncReadExt, net::TcpStream};

use crate::{
    node::{ECHO, Node, Told, name, run},
    pki::Ca,
    raw::{Raw, descriptors, nested},
};

const PATIENT: Duration = Duration::from_secs(60);

struct World {
    ca: Ca,
    a: Node,
    honest: Node,
}

impl World {
    async fn new(limits: Limits) -> Self {
        let ca = Ca::new();
        let mut a = Node::listening("a", &ca.issue("a"), limits).await;
        let mut honest = Node::joining("honest", &ca.issue("honest"), Limits::default(), &a.address()).await;
        assert_eq!(*honest.connected().await.about, *b"a");
        assert_eq!(*a.connected().await.about, *b"honest");
        Self { ca, a, honest }
    }

    /// Checks that the honest peer is served, in its first session.
    async fn serves(&mut self) {
        let answer = self.honest.link.call(&name("a"), ECHO, b"still".to_vec(), PATIENT).await;
        assert_eq!(answer, Ok(b"still".to_vec()));
        assert!(self.honest.told.is_empty(), "its session lasts");
    }

    async fn evil(&mut self) -> Raw {
        let raw = Raw::connect(&self.a.address(), &self.ca.issue("evil"), "evil").await;
        let session = self.a.connected().await;
        // Its hello has frame version 1.0.
        assert_eq!((session.peer, session.about.len()), (name("evil"), 0));
        raw
    }

    /// The session with the evil peer ends for this reason, and its connection is closed.
    async fn ends(&mut self, raw: Raw, because: &str) {
        let (session, why) = self.a.disconnected().await;
        assert_eq!(session.peer, name("evil"));
        assert!(why.contains(because), "{why}");
        raw.closed().await;
        self.serves().await;
    }
}

#[test]
fn silent_clients_keep_nobody_out_and_leave_nothing() {
    run(async {
        let limits = Limits { handshakes: 64, handshake: Duration::from_secs(5), ..Limits::default() };
        let mut world = World::new(limits).await;
        let before = descriptors();
        let mut silent = Vec::new();
        for _ in 0..500 {
            silent.push(TcpStream::connect(world.a.address()).await.unwrap());
        }
        let late = Node::joining("late", &world.ca.issue("late"), Limits::default(), &world.a.address()).await;
        assert_eq!(world.a.connected().await.peer, name("late"));
        world.serves().await;
        // All are closed: most by later connections, the last ones by the deadline.
        for mut client in silent {
            assert!(client.read(&mut [0; 1]).await.map_or(true, |read| read == 0));
        }
        late.link.stop().await;
        world.a.disconnected().await;
        // The connections of `late` are closed in the background.
        while descriptors() > before {
            tokio::task::yield_now().await;
        }
        world.serves().await;
    });
}

#[test]
fn certificates_decide_who_enters() {
    run(async {
        let mut world = World::new(Limits::default()).await;
        for identity in [Ca::new().issue("evil"), world.ca.issue_expired("evil")] {
            // In TLS 1.3 a client learns of its refusal when it reads.
            if let Ok(mut tls) = Raw::tls(&world.a.address(), &identity).await {
                assert!(tls.read(&mut [0; 1]).await.is_err());
            }
        }
        let mut removed = Raw::tls(&world.a.address(), &world.ca.issue("removed")).await.unwrap();
        let mut told = Vec::new();
        removed.read_to_end(&mut told).await.unwrap();
        let (header, why) = frame::decode(&told).unwrap();
        assert_eq!((header.class, why), (Class::Refused, b"removed is not admitted: it was removed".as_slice()));
        // A client that dials like a link is told the reason.
        let (a, limits) = (world.a.address(), Limits::default());
        let mut removed = Node::joining("removed", &world.ca.issue("removed"), limits, &a).await;
        let Told::NotAdmitted(by, why) = removed.next().await else { panic!("it has a session") };
        assert_eq!((by, why.as_str()), (name("a"), "removed is not admitted: it was removed"));
        world.serves().await;
    });
}

#[test]
fn nobody_speaks_under_another_name() {
    run(async {
        let mut world = World::new(Limits::default()).await;
        let honest = world.a.link.peers().remove(0);
        let mut raw = Raw::hello(&world.a.address(), &world.ca.issue("evil")).await;
        raw.claim(&format!("honest@{}", honest.incarnation)).await;
        raw.closed().await;
        world.serves().await;
        let mut raw = world.evil().await;
        let stranger = frame::encode(Class::Message, 1, 0, Key([0; 16]), b"").unwrap();
        raw.cast(&stranger).await;
        world.ends(raw, "a key that was not issued to it").await;
    });
}

#[test]
fn what_is_no_frame_ends_its_session_by_name() {
    run(async {
        let mut world = World::new(Limits::default()).await;
        let mut raw = world.evil().await;
        let mut frame = frame::encode(Class::Message, 1, 0, raw.key, b"").unwrap();
        frame[4] = 9;
        raw.cast(&frame).await;
        world.ends(raw, "unknown frame version 9.").await;

        let mut raw = world.evil().await;
        raw.cast(b"garbage").await;
        world.ends(raw, "not a frame").await;

        let mut raw = world.evil().await;
        let trailing = [frame::encode(Class::Message, 1, 0, raw.key, b"").unwrap(), vec![0]].concat();
        raw.cast(&trailing).await;
        world.ends(raw, "1 extra bytes after a frame").await;

        let mut raw = world.evil().await;
        raw.message(&vec![0xFF; 2 << 20]).await;
        world.ends(raw, "the limit is").await;

        let mut raw = world.evil().await;
        raw.message(b"\xFF\xFF\xFF").await;
        world.ends(raw, "an unreadable message").await;

        let mut raw = world.evil().await;
        raw.message(&nested(&[3, 1, 1], b"\x08\x09")).await;
        world.ends(raw, "a second actor").await;
    });
}

/// Sends frames that stay unconsumed, and then more than its credit.
#[test]
fn a_flood_ends_at_the_credit() {
    run(async {
        let mut world = World::new(Limits::default()).await;
        let mut raw = world.evil().await;
        let frame = frame::encode(Class::Message, 1, 0, raw.key, &vec![0; 1 << 19]).unwrap();
        // Nothing is taken from `told` meanwhile, so nothing is consumed. Far more than 8 MiB would not fit.
        let mut sent = 0;
        while sent < 1000 && raw.cast(&frame).await {
            sent += 1;
        }
        assert!(sent < 1000);
        world.ends(raw, "beyond its credit").await;

        let mut raw = world.evil().await;
        while raw.message(&nested(&[3, 3], b"")).await {}
        world.ends(raw, "pings a second").await;
    });
}

/// Announces an endless window and reads nothing: this node's own limits bound what waits for it.
#[test]
fn who_never_reads_exhausts_its_credit_only() {
    run(async {
        let mut world = World::new(Limits::default()).await;
        let raw = world.evil().await;
        let mut sent = 0;
        let refused = loop {
            match world.a.link.send(&name("evil"), 1, vec![0; 1 << 19]) {
                Ok(()) => sent += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(refused, SendError::NoCredit);
        assert_eq!(sent, 15, "16 with their headers are more than 8 MiB");
        world.ends(raw, "no credit").await;
    });
}
