//! A15 and A21: what people hand in is counted while it comes, one at a time of each; a repetition is one only if its
//! body is the same.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::body::{Body, Bytes};
use futures::{StreamExt, stream};

use crate::{
    bench::World,
    taskmaster::{Answer, Taskmaster, request},
};

const CHUNK: usize = 64 << 10;
/// Bytes of the largest bundle here.
const MAX: u64 = 1 << 20;
/// What is on its way in buffers of both ends, generously.
const ON_THE_WAY: u64 = 32 << 20;

fn start() -> (Taskmaster, String) {
    let boss = Taskmaster::start(World::with_repository(), "[limits]\nbundle_size = \"1MiB\"\n");
    let file = boss.world.root().join("plan.toml");
    std::fs::write(&file, crate::taskmaster::plan("shop", boss.world.dir().to_str().unwrap())).unwrap();
    boss.on_socket(&["plan", "submit", file.to_str().unwrap()]).expect(0);
    let operator = boss.token("operator");
    (boss, operator)
}

/// Zeros, counted as they are taken; they break off where far more was taken than may be.
fn zeros(bytes: u64, taken: &Arc<AtomicU64>) -> Body {
    let taken = taken.clone();
    let chunks =
        stream::iter(0..bytes / CHUNK as u64).map(move |_| match taken.fetch_add(CHUNK as u64, Ordering::Relaxed) {
            far if far > 2 * (MAX + ON_THE_WAY) => Err(std::io::Error::other("this is taken without end")),
            _ => Ok(Bytes::from_static(&[0; CHUNK])),
        });
    Body::from_stream(chunks)
}

/// A body that begins and never ends.
fn half() -> Body {
    Body::from_stream(stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(&[0; 10]))]).chain(stream::pending()))
}

fn spools(boss: &Taskmaster) -> Vec<(std::path::PathBuf, u64)> {
    let mut files = boss.files("uploads");
    files.retain(|(path, _)| !path.components().any(|part| part.as_os_str() == "bundles"));
    files
}

#[test]
fn ten_gibibytes_of_zeros_are_refused_at_the_limit() {
    let (boss, operator) = start();
    let taken = Arc::new(AtomicU64::new(0));
    let path = "/v1/tasks/shop/T/resolve";
    let refused = boss.runtime.block_on(boss.send(request("POST", path, &operator, zeros(10 << 30, &taken)))).unwrap();
    assert_eq!(refused.error(), (413, "DS0303"), "{refused:?}");
    let sent = taken.load(Ordering::Relaxed);
    assert!(sent < MAX + ON_THE_WAY, "{sent} bytes were taken");
    assert_eq!(spools(&boss), [], "nothing stays");
    // Nothing is taken for what does not exist.
    let taken = Arc::new(AtomicU64::new(0));
    let none = boss.runtime.block_on(boss.send(request(
        "POST",
        "/v1/tasks/shop/none/resolve",
        &operator,
        zeros(10 << 30, &taken),
    )));
    assert_eq!(none.unwrap().status, 404);
    assert!(taken.load(Ordering::Relaxed) < ON_THE_WAY);
}

#[test]
fn a_caller_has_one_upload_at_a_time() {
    let (boss, operator) = start();
    let other = boss.token("operator");
    boss.runtime.block_on(async {
        let path = "/v1/tasks/shop/T/resolve";
        let first = boss.send(request("POST", path, &operator, half()));
        tokio::pin!(first);
        let deadline = Instant::now() + Duration::from_secs(60);
        while spools(&boss).iter().all(|(_, size)| *size == 0) {
            assert!(Instant::now() < deadline, "its spool is never there");
            let _ = tokio::time::timeout(Duration::from_millis(20), &mut first).await;
        }
        let push = format!(
            "/v1/repos/new/push?base=main&base_tip={0}&integration=dev&digest={0}{1}&size=10&offset=0",
            "0".repeat(40),
            "0".repeat(24)
        );
        for path in [path, &push] {
            let refused = boss.send(request("POST", path, &operator, "x")).await.unwrap();
            assert_eq!(refused.error(), (429, "DS0319"), "{refused:?}");
        }
        // Somebody else is not held up: a body that is no bundle is looked at.
        let judged = boss.send(request("POST", path, &other, "no bundle")).await.unwrap();
        assert_eq!(judged.error(), (409, "DS0311"), "{judged:?}");
        assert_eq!(spools(&boss).len(), 1);
    });
}

/// A history that nobody finishes pushing takes the place of the one before.
#[test]
fn unfinished_pushes_do_not_pile_up() {
    let (boss, operator) = start();
    let push = |project: &str, number: u32| {
        let digest = format!("{number:064x}");
        let tip = "0".repeat(40);
        let path = format!(
            "/v1/repos/{project}/push?base=main&base_tip={tip}&integration=dev&digest={digest}&size=1000&offset=0"
        );
        boss.ask("POST", &path, &operator, vec![0; 100]).status
    };
    for number in 0..20 {
        assert_eq!(push("shop", number), 200);
    }
    for number in 0..20 {
        assert_eq!(push(&format!("unknown-{number}"), number), 200);
    }
    crate::bench::until("those of the first are gone", || boss.files("uploads/pushed").len() <= 5);
    let files = boss.files("uploads/pushed");
    assert_eq!(files.len(), 5, "one of the project, and of four that do not exist: {files:?}");
}

/// A clone of the hub with a commit of a person's; the bundle of it.
fn result(boss: &Taskmaster, name: &str) -> Vec<u8> {
    let world = &boss.world;
    let (hub, clone) = (world.root().join("state/projects/shop/hub.git"), world.root().join(name));
    world.git_in(world.root(), &["clone", "--quiet", "--branch", "dev", text(&hub), text(&clone)]);
    let base = world.git_in(&clone, &["rev-parse", "HEAD"]);
    std::fs::write(clone.join(name), name).unwrap();
    world.git_in(&clone, &["add", "--all"]);
    world.git_in(&clone, &["commit", "--quiet", "-m", name]);
    world.git_in(&clone, &["update-ref", "refs/devstack/result", "HEAD"]);
    world.git_in(&clone, &["bundle", "create", "--quiet", "out.bundle", "refs/devstack/result", &format!("^{base}")]);
    std::fs::read(clone.join("out.bundle")).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn another_bundle_under_a_used_key_is_refused_and_the_same_is_answered_again() {
    let (boss, operator) = start();
    let (first, second) = (result(&boss, "first"), result(&boss, "second"));
    let hand_in = |token: &str, key: &str, bundle: &[u8]| -> Answer {
        let mut request = request("POST", "/v1/tasks/shop/T/resolve", token, bundle.to_vec());
        request.headers_mut().insert("idempotency-key", key.parse().unwrap());
        boss.runtime.block_on(boss.send(request)).unwrap()
    };
    let done = hand_in(&operator, "once", &first);
    assert_eq!(done.status, 200, "{done:?}");
    let again = hand_in(&operator, "once", &first);
    assert_eq!((again.status, &again.body), (200, &done.body), "{again:?}");
    let other = hand_in(&operator, "once", &second);
    assert_eq!(other.error(), (409, "DS0304"), "{other:?}");
    // The same key of somebody else is another: the task is done, and that is what they hear.
    let else_ = hand_in(&boss.token("operator"), "once", &first);
    assert!(else_.status == 409 && else_.error().1 != "DS0304", "{else_:?}");
}
