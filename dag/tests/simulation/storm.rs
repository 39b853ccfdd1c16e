//! A storm of faults: hosts that fail again and again, with a clock of the simulation's own. Healthy tasks get through
//! it without a user. A task that makes hosts fail is found, alone and in company.
//! Deliberately absent: everything else that `world` has, above all repositories.

use std::collections::{BTreeMap, BTreeSet};

use devstack_dag::{
    Config, Engine,
    attempt::{Outcome, Report},
    command::{Command, HostReport},
    effect::{Effect, Timer},
    ids::{AttemptId, Timestamp},
    invariants,
    plan::PlanSpec,
    record::Status,
};

use super::random::Random;
use crate::common::{host_name, plan, role, task, task_ref};

const SECOND: u64 = 1000;
/// The duration of an attempt.
const WORK: u64 = 40 * SECOND;
/// The time between two faults.
const EVERY: u64 = 8 * SECOND;
const HOSTS: usize = 3;
const SLOTS: u32 = 2;

enum Event {
    /// An attempt ends, unless its host failed before: the number is the host's life in which it runs.
    Done(usize, u64, AttemptId),
    /// A host fails.
    Fault(usize),
    /// A random host fails, and the next failure is scheduled.
    Strike,
    /// A host was silent for this long.
    Silent(usize, u64, u64),
    /// A host is back.
    Back(usize),
    Timer(Timer),
}

struct Storm {
    engine: Engine,
    random: Random,
    now: u64,
    next: u64,
    events: BTreeMap<(u64, u64), Event>,
    hosts: Vec<Host>,
    /// Makes each host fail on which it runs, after a second.
    killer: Option<&'static str>,
}

#[derive(Default)]
struct Host {
    up: bool,
    life: u64,
    /// Attempts that run, or that ended with the host and were not forgotten.
    held: BTreeMap<AttemptId, bool>,
}

impl Storm {
    fn new(seed: u64, tasks: usize, killer: Option<&'static str>) -> Self {
        let mut plan: PlanSpec = plan((0..tasks).map(|n| task(&format!("t{n}"), &[])).collect());
        plan.tasks.extend(killer.map(|id| task(id, &[])));
        plan.project.roles = vec![role("dev", 9)];
        let hosts = (0..HOSTS).map(|_| Host { up: true, ..Host::default() }).collect();
        let engine = Engine::new(Config::default());
        let mut storm = Self { engine, random: Random(seed), now: 0, next: 0, events: BTreeMap::new(), hosts, killer };
        storm.send(Command::SubmitPlan { plan, head: None });
        (0..HOSTS).for_each(|host| storm.report(host));
        storm
    }

    fn at(&mut self, after: u64, event: Event) {
        self.next += 1;
        self.events.insert((self.now + after, self.next), event);
    }

    fn send(&mut self, command: Command) {
        let decision = self.engine.step(Timestamp(self.now), command).unwrap();
        invariants::check(&self.engine).unwrap();
        for effect in decision.effects {
            match effect {
                Effect::StartAttempt { host, order, .. } => self.start(host.as_str(), order.attempt.clone()),
                Effect::ForgetAttempt { host, attempt } => _ = self.host(host.as_str()).held.remove(&attempt),
                Effect::SetTimer { timer, after_ms } => self.at(after_ms, Event::Timer(timer)),
                _ => {}
            }
        }
    }

    fn host(&mut self, name: &str) -> &mut Host {
        let index: usize = name[1..].parse().unwrap();
        &mut self.hosts[index]
    }

    fn start(&mut self, name: &str, attempt: AttemptId) {
        let (index, kills) = (name[1..].parse().unwrap(), self.killer == Some(attempt.task.id.as_str()));
        let host = self.host(name);
        if !host.up || host.held.contains_key(&attempt) {
            return;
        }
        host.held.insert(attempt.clone(), true);
        let life = host.life;
        match kills {
            true => self.at(SECOND, Event::Fault(index)),
            false => self.at(WORK, Event::Done(index, life, attempt)),
        }
    }

    fn report(&mut self, index: usize) {
        let attempts = self.hosts[index].held.keys().cloned().collect();
        let report = HostReport { attempts, ..HostReport::new(host_name(&format!("h{index}")), SLOTS) };
        self.send(Command::ReportHost(report));
    }

    fn ends(&mut self, index: usize, attempt: AttemptId, outcome: Outcome) {
        let host = host_name(&format!("h{index}"));
        self.send(Command::FinishAttempt { host, report: Report::new(attempt, outcome) });
    }

    /// The host's node, its engine and all that runs there end at once.
    fn fault(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        if !std::mem::replace(&mut host.up, false) {
            return;
        }
        host.life += 1;
        host.held.values_mut().for_each(|runs| *runs = false);
        let life = host.life;
        self.send(Command::SuspectHost(host_name(&format!("h{index}"))));
        self.at(120 * SECOND, Event::Silent(index, life, 120 * SECOND));
        // Most return after a moment, some only after they were given up.
        let away = if self.random.percent(80) { 1 + self.random.below(10) as u64 } else { 150 };
        self.at(away * SECOND, Event::Back(index));
    }

    /// Losses are reported one after the other.
    fn back(&mut self, index: usize) {
        self.hosts[index].up = true;
        self.report(index);
        let lost: Vec<AttemptId> =
            self.hosts[index].held.iter().filter(|(_, runs)| !**runs).map(|(attempt, _)| attempt.clone()).collect();
        for attempt in lost {
            self.ends(index, attempt, Outcome::Infrastructure("the runtime lost it".into()));
        }
    }

    /// Processes the next event. False: there is none.
    fn go_on(&mut self) -> bool {
        let Some(((at, _), event)) = self.events.pop_first() else { return false };
        self.now = at;
        match event {
            Event::Done(index, life, attempt) if self.hosts[index].up && self.hosts[index].life == life => {
                self.ends(index, attempt, Outcome::Exited(0));
            }
            Event::Done(..) => {}
            Event::Fault(index) => self.fault(index),
            Event::Strike => {
                let index = self.random.below(HOSTS);
                self.fault(index);
                self.at(EVERY, Event::Strike);
            }
            Event::Silent(index, life, silent_ms) if !self.hosts[index].up && self.hosts[index].life == life => {
                self.send(Command::LoseHost { host: host_name(&format!("h{index}")), silent_ms });
            }
            Event::Silent(..) => {}
            Event::Back(index) => self.back(index),
            Event::Timer(timer) => self.send(Command::TimerFired(timer)),
        }
        true
    }

    /// Ids by status.
    fn standing(&self, tasks: usize) -> BTreeMap<Status, BTreeSet<String>> {
        let mut standing: BTreeMap<Status, BTreeSet<String>> = BTreeMap::new();
        for id in (0..tasks).map(|n| format!("t{n}")).chain(self.killer.map(str::to_owned)) {
            standing.entry(self.engine.status(&task_ref(&id)).unwrap()).or_default().insert(id);
        }
        standing
    }
}

/// Five crashes in two minutes must not leave a healthy task to a user, neither in a crowd nor as the last task of its
/// plan.
#[test]
fn healthy_tasks_get_through_a_storm_without_a_person() {
    for (seed, tasks) in (0..60).zip([1, 2, 7, 24].into_iter().cycle()) {
        let mut storm = Storm::new(seed, tasks, None);
        storm.at(EVERY, Event::Strike);
        let mut most = 0;
        loop {
            assert!(storm.go_on() && storm.now < 7 * 24 * 3600 * SECOND, "seed {seed}: it never comes to its end");
            let standing = storm.standing(tasks);
            assert!(
                !standing.contains_key(&Status::Blocked),
                "seed {seed} after {} s: {standing:?}",
                storm.now / SECOND
            );
            if standing.get(&Status::Completed).is_some_and(|done| done.len() == tasks) {
                break;
            }
        }
        (0..tasks).for_each(|n| most = most.max(storm.engine.task(&task_ref(&format!("t{n}"))).unwrap().attempts));
        assert!(most <= 100, "seed {seed}: {most} attempts of one task");
    }
}

/// Nothing fails but what the task makes fail.
#[test]
fn a_task_that_ends_hosts_is_found_alone_and_in_company() {
    for (tasks, attempts) in [(0, 5..=5), (12, 5..=100)] {
        let mut storm = Storm::new(7, tasks, Some("killer"));
        while storm.go_on() && storm.now < 7 * 24 * 3600 * SECOND {}
        let standing = storm.standing(tasks);
        assert_eq!(standing[&Status::Blocked], ["killer".to_owned()].into(), "{standing:?}");
        assert_eq!(standing.get(&Status::Completed).map_or(0, BTreeSet::len), tasks);
        let killed = storm.engine.task(&task_ref("killer")).unwrap().attempts;
        assert!(attempts.contains(&killed), "{killed} attempts beside {tasks} others");
    }
}
