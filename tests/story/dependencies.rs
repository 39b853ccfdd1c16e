//! Guarantee 2: nothing starts before its dependencies are COMPLETED, and it starts from their merges.

use std::collections::HashMap;

use crate::bench::{Plan, World, task};

#[test]
fn each_attempt_finds_the_merges_of_what_it_depends_on() {
    // Two diamonds and a tail; every task fails if a file of a dependency is missing in its workspace.
    let edges: [(&str, &[&str]); 8] = [
        ("A", &[]),
        ("B", &["A"]),
        ("C", &["A"]),
        ("D", &["B", "C"]),
        ("E", &["A"]),
        ("F", &["D", "E"]),
        ("G", &["D"]),
        ("H", &["F", "G"]),
    ];
    let world = World::with_repository();
    let tasks = edges.map(|(id, dependencies)| {
        let looks: String = dependencies.iter().map(|d| format!("test -f done/{d} || exit 9\n")).collect();
        // All in one branch of merges: the workspace's own history has them too.
        let script = format!("{looks}mkdir -p done; git log --format=%s | sort > done/{id}");
        task(id, &script).after(dependencies)
    });
    world.plan(&Plan::new(tasks));
    world.run().expect(0);

    let (mut started, mut completed) = (HashMap::new(), HashMap::new());
    for fact in world.facts() {
        let id = fact["task"].as_str().unwrap_or_default().to_owned();
        match fact["kind"].as_str().unwrap() {
            "attempt-started" => drop(started.entry(id).or_insert(fact["seq"].as_u64().unwrap())),
            "task-completed" => drop(completed.insert(id, fact["seq"].as_u64().unwrap())),
            _ => {}
        }
    }
    assert_eq!((started.len(), completed.len()), (8, 8));
    for (id, dependencies) in edges {
        assert_eq!(world.outcomes(id), ["done"]);
        for dependency in dependencies {
            assert!(completed[*dependency] < started[id], "{id} started before {dependency} was COMPLETED");
            let seen = world.git(&["show", &format!("dev:done/{id}")]);
            assert!(seen.contains(&format!("({dependency}: Do {dependency})")), "{id} saw:\n{seen}");
        }
    }
}
