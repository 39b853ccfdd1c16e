//! A5: an operator's token is no key to the Taskmaster's disk, to its network, or to what its user holds. Paths and
//! URLs that plans name over TCP are refused unless the configuration lists them; over the socket paths are as ever.

use std::{
    fs::{self, Permissions},
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
};

use crate::{
    bench::World,
    taskmaster::{Taskmaster, plan},
};

/// A repository of somebody else, which only the node's user may read.
fn private(world: &World, name: &str) -> PathBuf {
    let (from, to) = (world.dir(), world.root().join(name));
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    world.git_in(world.root(), &["clone", "--quiet", "--bare", from.to_str().unwrap(), to.to_str().unwrap()]);
    fs::set_permissions(&to, Permissions::from_mode(0o700)).unwrap();
    to
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_path_is_for_the_socket_or_below_the_listed_directories() {
    let world = World::with_repository().unsandboxed();
    let (secret, listed) = (private(&world, "private/x.git"), private(&world, "srv/git/x.git"));
    let srv = world.root().join("srv/git");
    let boss = Taskmaster::start(world, &format!("[taskmaster]\nsources = [\"{}\"]\n", srv.display()));
    let operator = boss.token("operator");

    // Whether there is something or not: the same words.
    for path in [&secret, &boss.world.root().join("private/none.git"), &boss.world.root().join("state/projects")] {
        for path in [text(path).to_owned(), format!("file://{}", path.display())] {
            let refused = boss.submit(&operator, "secret", &path);
            assert_eq!(refused.error(), (403, "DS0313"), "{path}: {refused:?}");
            assert!(refused.said().contains("`sources` of [taskmaster]"), "{}", refused.said());
        }
    }
    // Ways out of a listed directory.
    symlink(&secret, srv.join("link.git")).unwrap();
    fs::create_dir_all(srv.join("file")).unwrap();
    fs::write(srv.join("file/.git"), format!("gitdir: {}\n", secret.display())).unwrap();
    let borrower = private(&boss.world, "srv/git/borrower.git");
    fs::write(borrower.join("objects/info/alternates"), format!("{}\n", secret.join("objects").display())).unwrap();
    fs::create_dir_all(srv.join("none")).unwrap();
    for path in ["link.git", "file", "borrower.git", "../../private/x.git", "x.git/../../../private/x.git"] {
        let refused = boss.submit(&operator, "secret", text(&srv.join(path)));
        assert_eq!(refused.error(), (403, "DS0313"), "{path}: {refused:?}");
    }
    let none = boss.submit(&operator, "secret", text(&srv.join("none")));
    assert_eq!(none.status, 422, "no repository above a listed directory is found: {none:?}");

    // What is listed is used, and looked at again each time.
    assert_eq!(boss.submit(&operator, "listed", text(&listed)).status, 200);
    fs::rename(&listed, srv.join("moved.git")).unwrap();
    symlink(&secret, &listed).unwrap();
    let swapped = boss.submit(&operator, "listed", text(&listed));
    assert_eq!(swapped.error(), (403, "DS0313"), "{swapped:?}");

    // Over the socket the file's mode decides, and what was accepted can be submitted again from anywhere.
    let file = boss.world.root().join("plan.toml");
    fs::write(&file, plan("secret", text(&secret))).unwrap();
    boss.on_socket(&["plan", "submit", text(&file)]).expect(0);
    assert_eq!(boss.submit(&operator, "secret", text(&secret)).status, 200);
    assert_eq!(boss.submit(&operator, "other", text(&secret)).error(), (403, "DS0313"), "of that project alone");
}

/// Listens, and takes note of what is sent first on each connection. Answers with what it is given.
struct Ear {
    port: u16,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Ear {
    fn open(answer: impl Fn(&str) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, heard) = (listener.local_addr().unwrap().port(), Arc::new(Mutex::new(Vec::new())));
        let notes = heard.clone();
        // Ends with the process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let head = head(&stream);
                notes.lock().unwrap().push(head.clone());
                let _ = (&stream).write_all(answer(&head).as_bytes());
            }
        });
        Self { port, heard }
    }

    fn deaf() -> Self {
        Self::open(|_| "HTTP/1.1 500 No\r\nconnection: close\r\n\r\n".to_owned())
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

fn head(mut stream: &TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && head.len() < 8192 && stream.read(&mut byte).is_ok_and(|read| read == 1) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len())
}

#[test]
fn a_url_into_the_nodes_own_network_is_not_reached() {
    let ear = Ear::deaf();
    let port = ear.port;
    let boss = Taskmaster::start(World::with_repository(), "");
    let operator = boss.token("operator");
    for url in [
        format!("http://127.0.0.1:{port}/x.git"),
        format!("https://127.0.0.1:{port}/x.git"),
        // A name that means this machine.
        format!("http://localhost:{port}/x.git"),
        format!("http://[::ffff:127.0.0.1]:{port}/x.git"),
        format!("http://me:pass@127.0.0.1:{port}/x.git"),
        format!("http://127.1:{port}/x.git"),
        format!("http://140.82.121.3@127.0.0.1:{port}/x.git"),
        format!("http://140.82.121.3\\\\@127.0.0.1:{port}/x.git"),
        format!("git://127.0.0.1:{port}/x.git"),
        format!("ssh://git@127.0.0.1:{port}/x.git"),
        "http://169.254.169.254/latest".to_owned(),
    ] {
        let refused = boss.submit(&operator, "inner", &url);
        assert_eq!(refused.error(), (403, "DS0313"), "{url}: {refused:?}");
        assert!(!refused.said().contains("pass"), "{}", refused.said());
    }
    assert_eq!(ear.heard(), [""; 0]);
    let refused = boss.submit(&operator, "inner", &format!("http://127.0.0.1:{port}/acme/x.git"));
    assert!(refused.said().contains(&format!(
        "`remotes` of [taskmaster] on the Taskmaster, for example \"http://127.0.0.1:{port}/acme/*\""
    )));
}

#[test]
fn a_listed_remote_gets_its_own_credential_and_leads_nowhere_else() {
    let world = World::with_repository().unsandboxed();
    let inner = Ear::deaf();
    let to = format!("location: http://127.0.0.1:{}/internal/info/refs\r\n", inner.port);
    let moved = answer("302 Found", &to, "");
    let challenge = answer("401 Unauthorized", "www-authenticate: Basic realm=\"x\"\r\n", "internal words\n");
    let outer = Ear::open(move |head| {
        let has_token = head.to_ascii_lowercase().contains("authorization: basic");
        match head.contains("/moved/") {
            true => moved.clone(),
            // So that what a server says would show in git's words.
            false if has_token => answer("403 Forbidden", "content-type: text/plain\r\n", "secret words\n"),
            false => challenge.clone(),
        }
    });
    let port = outer.port;
    // What the node's user holds, and what the node holds.
    let home = world.root().join("home");
    fs::write(home.join(".gitconfig"), "[credential]\n\thelper = store\n").unwrap();
    fs::write(home.join(".git-credentials"), format!("http://user:of-the-user@127.0.0.1%3a{port}\n")).unwrap();
    fs::write(home.join(".netrc"), "machine 127.0.0.1 login user password of-the-user\n").unwrap();
    let token = world.root().join("token");
    fs::write(&token, "of-the-node\n").unwrap();
    fs::set_permissions(&token, Permissions::from_mode(0o600)).unwrap();
    let config = format!(
        "[taskmaster]\nremotes = [\"http://127.0.0.1:{port}/*\"]\n\
         [[taskmaster.credentials]]\nremote = \"http://127.0.0.1:{port}/acme/*\"\nuser = \"bot\"\nfile = \"{}\"\n",
        token.display()
    );
    let boss = Taskmaster::start(world, &config);
    let operator = boss.token("operator");

    let refused = boss.submit(&operator, "acme", &format!("http://127.0.0.1:{port}/acme/x.git"));
    assert_eq!(refused.error(), (409, "DS0250"), "{refused:?}");
    for foreign in ["secret words", "of-the-node", "bot", "\n"] {
        assert!(!refused.said().contains(foreign), "{}", refused.said());
    }
    // Basic of bot:of-the-node.
    let shown = |ear: &Ear| ear.heard().iter().filter(|head| head.contains("Basic Ym90Om9mLXRoZS1ub2Rl")).count();
    assert_eq!(shown(&outer), 1, "{:?}", outer.heard());

    let other = boss.submit(&operator, "other", &format!("http://127.0.0.1:{port}/other/x.git"));
    assert_eq!(other.error(), (409, "DS0250"), "{other:?}");
    let basic = |ear: &Ear| ear.heard().iter().filter(|head| head.contains("Basic ")).count();
    assert_eq!(basic(&outer), 1, "nothing of the node's user was shown: {:?}", outer.heard());

    let redirected = boss.submit(&operator, "moved", &format!("http://127.0.0.1:{port}/moved/x.git"));
    assert_eq!(redirected.error(), (409, "DS0250"), "{redirected:?}");
    assert_eq!(inner.heard(), [""; 0]);
    let unlisted = boss.submit(&operator, "inner", &format!("http://127.0.0.1:{}/x.git", inner.port));
    assert_eq!(unlisted.error(), (403, "DS0313"), "{unlisted:?}");
}
