//! `top` on a real terminal: it draws, it ends, and the terminal is as it was before.

use std::{
    fs::File,
    io::{Read, Write},
    process::{Child, Stdio},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use nix::{
    pty::{OpenptyResult, Winsize, openpty},
    sys::{
        signal::{Signal, kill},
        termios::{LocalFlags, tcgetattr},
    },
    unistd::Pid,
};

use crate::node::{Node, Place, plan};

/// Nothing here takes as long, however busy the machine is.
const GENEROUS: Duration = Duration::from_secs(60);

/// A terminal with `devstack top` in it.
struct Top {
    child: Child,
    keys: File,
    slave: std::os::fd::OwnedFd,
    screen: Receiver<Vec<u8>>,
    seen: Vec<u8>,
}

impl Top {
    fn start(place: &Place) -> Self {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let OpenptyResult { master, slave } = openpty(&size, None).unwrap();
        let end = || Stdio::from(slave.try_clone().unwrap());
        let mut command = place.command(&["top"]);
        let child = command.env("TERM", "xterm").stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let keys = File::from(master);
        let mut reading = keys.try_clone().unwrap();
        let (send, screen) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = reading.read(&mut buffer) {
                if send.send(buffer[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child, keys, slave, screen, seen: Vec::new() }
    }

    fn until(&mut self, text: &str) {
        let deadline = Instant::now() + GENEROUS;
        while !self.seen.windows(text.len()).any(|window| window == text.as_bytes()) {
            let left = deadline.saturating_duration_since(Instant::now());
            let more = self.screen.recv_timeout(left);
            self.seen.extend(more.unwrap_or_else(|_| panic!("{text} in {}", String::from_utf8_lossy(&self.seen))));
        }
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.slave).unwrap().local_flags.contains(LocalFlags::ICANON)
    }

    fn ends(mut self) -> Option<i32> {
        let code = self.child.wait().unwrap().code();
        // The alternate screen is left, the cursor is there, and lines are lines again.
        self.until("\x1b[?1049l");
        self.until("\x1b[?25h");
        assert!(!self.is_raw());
        code
    }
}

fn place() -> (Place, Node) {
    let place = Place::new();
    let node = Node::serve(&place.socket(), 2);
    place.write("devstack.toml", &plan("shop", "[[task]]\nid = \"long\"\nrole = \"slow\"\ntitle = \"long\"\n"));
    place.run(&["plan", "submit", "devstack.toml"]);
    (place, node)
}

#[test]
fn it_draws_follows_what_happens_and_gives_the_terminal_back() {
    let (place, node) = place();
    let mut top = Top::start(&place);
    top.until("running (1)");
    top.until("shop/long/1");
    assert!(top.is_raw());
    node.fake.finish("shop/long", 1);
    // Only cells that changed are drawn.
    top.until("BLOCKED");
    top.keys.write_all(b"q").unwrap();
    assert_eq!(top.ends(), Some(0));
}

#[test]
fn a_signal_ends_it_as_a_key_does() {
    let (place, _node) = place();
    let mut top = Top::start(&place);
    top.until("running (1)");
    kill(Pid::from_raw(i32::try_from(top.child.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(top.ends(), Some(130));
}

#[test]
fn without_a_terminal_it_says_what_prints_the_same() {
    let (place, _node) = place();
    let ran = place.run(&["top"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""));
    assert!(ran.err.contains("needs a terminal [DS0422]") && ran.err.contains("devstack status"), "{ran:?}");
}
