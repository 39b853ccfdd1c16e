//! How many attempts a second: start → wait → remove of `/bin/true` on two slots. Prints, asserts nothing: run it on an
//! idle machine with `cargo test --release --test runtime speed -- --ignored --nocapture`.

use std::time::Instant;

use devstack::runtime::{Runtime, Sandbox};
use devstack_dag::attempt::Outcome;

use crate::harness::*;

const ATTEMPTS: u32 = 3000;
const SLOTS: u32 = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn attempts_a_second() {
    let s = Scratch::new(Sandbox::Off);
    let begun = Instant::now();
    let slots = (0..SLOTS).map(|slot| {
        let runtime = s.runtime.clone();
        tokio::spawn(async move {
            for number in (1..=ATTEMPTS).filter(|number| number % SLOTS == slot) {
                let ended = run(&runtime, &job(number, &["/bin/true"])).await;
                assert_eq!(ended.outcome, Outcome::Exited(0));
                runtime.remove(&attempt(number)).await.unwrap();
            }
        })
    });
    for slot in slots.collect::<Vec<_>>() {
        slot.await.unwrap();
    }
    let rate = f64::from(ATTEMPTS) / begun.elapsed().as_secs_f64();
    println!("{rate:.0} attempts/s on {SLOTS} slots");
}
