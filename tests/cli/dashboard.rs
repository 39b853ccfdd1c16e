//! `dashboard open`: whom its port lets in, and what it passes on. With plain requests; `tests/browser` has a browser.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::node::{Node, Place, Ran, plan};

/// The command, running; ended at the latest when it is dropped.
struct Open {
    child: Option<Child>,
    port: u16,
    key: String,
}

/// An answer: status, head, body.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Open {
    fn start(place: &Place) -> Self {
        let mut child = place.command(&["dashboard", "open", "--no-browser"]).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let rest = line.trim().strip_prefix("http://127.0.0.1:").unwrap_or_else(|| panic!("{line}"));
        let (port, key) = rest.split_once("/?key=").unwrap();
        Self { port: port.parse().unwrap(), key: key.to_owned(), child: Some(child) }
    }

    fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Sends a request and gives its connection.
    fn ask(&self, request: &str, headers: &[(&str, &str)]) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let mut text = format!("{request} HTTP/1.1\r\nconnection: close\r\n");
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{text}\r\n").as_bytes()).unwrap();
        stream
    }

    fn answer(&self, request: &str, headers: &[(&str, &str)]) -> Answer {
        let mut text = String::new();
        self.ask(request, headers).read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{request}: {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    /// Comes in with the key; gives the cookie.
    fn enter(&self) -> String {
        let entered = self.answer(&format!("GET /?key={}", self.key), &[("host", &self.host())]);
        assert_eq!(entered.status, 303, "{}", entered.body);
        assert!(entered.head.contains("\r\nlocation: /\r\n"), "{}", entered.head);
        let set = entered.head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
        assert!(set.ends_with("; httponly; samesite=strict; path=/"), "{set}");
        set.split(';').next().unwrap().to_owned()
    }

    fn get(&self, path: &str, cookie: &str) -> Answer {
        self.answer(&format!("GET {path}"), &[("host", &self.host()), ("cookie", cookie)])
    }

    fn end(mut self) -> Ran {
        let child = self.child.take().unwrap();
        kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
        Ran::from(child.wait_with_output().unwrap())
    }
}

#[test]
fn the_address_lets_one_browser_in_and_nothing_else_does() {
    let place = Place::new();
    let _node = Node::serve(&place.socket(), 0);
    let open = Open::start(&place);
    let host = open.host();
    assert_eq!(open.get("/", "").status, 403);
    assert_eq!(open.answer("GET /?key=0", &[("host", &host)]).status, 403);
    let cookie = open.enter();
    assert_eq!(open.answer(&format!("GET /?key={}", open.key), &[("host", &host)]).status, 403, "it is good once");

    let page = open.get("/", &cookie);
    assert_eq!(page.status, 200);
    assert!(page.body.contains("<!doctype html>"), "{}", page.body);
    assert!(page.head.contains("content-security-policy: default-src 'none'"), "{}", page.head);
    assert!(!page.body.contains(cookie.split_once('=').unwrap().1));

    let with = |request: &str, headers: &[(&str, &str)]| {
        open.answer(request, &[&[("cookie", cookie.as_str())], headers].concat()).status
    };
    assert_eq!(with("GET /", &[("host", "evil.example")]), 421);
    assert_eq!(with("GET /v1/tasks", &[("host", &host), ("origin", "http://evil.example")]), 403);
    assert_eq!(with("POST /v1/plans", &[("host", &host)]), 403, "a cookie is no proof");
    let own = format!("http://{host}");
    assert_eq!(with("POST /v1/plans", &[("host", &host), ("origin", &own)]), 403, "that is for programs");
    let ended = open.end();
    assert_eq!(ended.code, Some(130), "{ended:?}");
    assert!(ended.err.contains("press Ctrl-C to stop"), "{ended:?}");
}

/// An agent without a sandbox may reach the port, and a server of its own may be sent the cookie.
#[test]
fn another_user_of_the_machine_is_not_let_in_even_with_the_cookie() {
    if !nix::unistd::geteuid().is_root() {
        return println!("SKIPPED: a port of another user's: only root can be another user");
    }
    let place = Place::new();
    let _node = Node::serve(&place.socket(), 0);
    let open = Open::start(&place);
    let cookie = open.enter();
    // bash speaks TCP by itself.
    let script = format!(
        "exec 3<>/dev/tcp/127.0.0.1/{}; printf 'GET / HTTP/1.1\\r\\nhost: {}\\r\\ncookie: {cookie}\\r\\nconnection: close\\r\\n\\r\\n' >&3; cat <&3",
        open.port,
        open.host()
    );
    let said = |uid: u32| {
        let mut command = Command::new("bash");
        // Root does not change its user to what it is already; a daemon is root all the same.
        let output = command.args(["-c", &script]).uid(uid).stdin(Stdio::null()).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(said(0).starts_with("HTTP/1.1 200"), "{}", said(0));
    assert_eq!(said(10_001), "");
}

#[test]
fn events_pass_as_they_come() {
    let place = Place::new();
    let _node = Node::serve(&place.socket(), 0);
    let open = Open::start(&place);
    place.write("devstack.toml", &plan("shop", "[[task]]\nid = \"a\"\ntitle = \"a\"\n"));
    assert_eq!(place.run(&["plan", "submit", "devstack.toml"]).code, Some(0));
    let cookie = open.enter();
    let events = open.ask("GET /v1/facts?after=0", &[("host", &open.host()), ("cookie", &cookie)]);
    let mut lines = BufReader::new(events).lines().map_while(Result::ok);
    assert!(lines.next().unwrap().starts_with("HTTP/1.1 200"));
    // The stream never ends: who waits for all of it passes nothing on.
    assert!(lines.any(|line| line.starts_with("data:") && line.contains("\"shop\"")));
}

#[test]
fn without_a_node_there_is_one_for_moments_and_whoever_comes_finds_the_directory_free() {
    let place = Place::new();
    let open = Open::start(&place);
    let cookie = open.enter();
    assert_eq!(open.get("/", &cookie).status, 200);
    let live =
        open.answer("GET /live", &[("host", &open.host()), ("cookie", &cookie), ("accept", "text/event-stream")]);
    assert!(live.status == 200 && live.body.contains("retry: "), "{}", live.body);
    // Another node gets the lock although the dashboard stays open, and the same address then shows what it has.
    place.write(
        "devstack.toml",
        "[project]\nname = \"shop\"\n[[task]]\nid = \"mine\"\nexecutor = \"human\"\nprompt = \"by hand\"\n",
    );
    let run = place.run(&["run", "devstack.toml", "--runtime", "process", "--sandbox", "off"]);
    assert_eq!(run.code, Some(7), "{run:?}");
    let tasks = open.get("/v1/tasks", &cookie);
    assert!(tasks.status == 200 && tasks.body.contains("\"mine\""), "{}", tasks.body);
    assert_eq!(open.end().code, Some(130));
    assert_eq!(place.run(&["status"]).code, Some(0), "the lock is free");
}

#[test]
fn what_cannot_be_shown_is_said_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let command = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_devstack"));
        command.args(args).current_dir(dir.path()).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        Ran::from(command.stdin(Stdio::null()).output().unwrap())
    };
    let nowhere = command(&["dashboard", "open", "--no-browser", "-o", "json"]);
    assert_eq!((nowhere.code, nowhere.error()["code"].as_str()), (Some(6), Some("DS0402")));
    let place = Place::new();
    let _node = Node::serve(&place.socket(), 0);
    let first = Open::start(&place);
    let taken = place.run(&["dashboard", "open", "--no-browser", "--port", &first.port.to_string(), "-o", "json"]);
    assert_eq!(taken.code, Some(1), "{taken:?}");
    assert!(taken.error()["hint"].as_str().unwrap().contains("--port"));
}

#[test]
fn the_export_is_one_file_that_needs_nothing() {
    let place = Place::new();
    let _node = Node::serve(&place.socket(), 1);
    place.write(
        "devstack.toml",
        &plan("shop", "[[task]]\nid = \"a\"\ntitle = \"<b>bold</b>\"\n[[task]]\nid = \"b\"\ndependencies = [\"a\"]\ntitle = \"b\"\n"),
    );
    assert_eq!(place.run(&["run", "devstack.toml"]).code, Some(0));
    let file = place.write("board.html", "an old one");
    let ran = place.run(&["dashboard", "export", "board.html"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), ""), "{ran:?}");
    let page = std::fs::read_to_string(&file).unwrap();
    for there in [
        "<!doctype html>",
        "id=\"overview\"",
        "id=\"board\"",
        "id=\"graph-shop\"",
        "<svg class=\"dag",
        "&#60;b&#62;bold",
    ] {
        assert!(page.contains(there), "{there} is not in:\n{page}");
    }
    // The name of a language is no address that is asked for.
    let page = page.replace("http://www.w3.org/2000/svg", "");
    for absent in ["<script", "<form", "href=\"/", "href=\"?", "http://", "https://", "src=", "<b>bold"] {
        assert!(!page.contains(absent), "{absent} is in:\n{page}");
    }
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o644);
    let printed = place.run(&["dashboard", "export", "-", "--project", "shop"]);
    assert!(printed.code == Some(0) && printed.out.starts_with("<!doctype html>"), "{:?}", printed.err);
    let nothing = place.run(&["dashboard", "export", "-", "--project", "none", "-o", "json"]);
    assert_eq!((nothing.code, nothing.error()["code"].as_str()), (Some(3), Some("DS0201")));
    let nowhere = place.run(&["dashboard", "export", "no/such/dir/x.html", "-o", "json"]);
    assert_eq!(nowhere.code, Some(1));
}
