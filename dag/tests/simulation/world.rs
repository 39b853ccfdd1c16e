//! The world around the engine: store, links, hosts, DevOps, timers and users. Every move is one random draw.

use std::collections::{BTreeMap, HashMap, VecDeque};

use devstack_dag::{
    Answer, Config, Decision, Engine, Rejection,
    attempt::{Stage, Start},
    command::{Command, HostReport, Quarantine},
    effect::{Effect, Timer},
    fact::{Fact, FactKind},
    ids::{CommitId, HostName, ProjectName, RoleName, TaskRef, Text, Timestamp},
    invariants,
    offer::Offer,
    plan::{PlanSpec, RoleSpec},
    record::{AttemptRecord, MergeState, Record, RecordKey, Status},
};

use super::{
    git::{Git, Hub},
    host::Host,
    plans,
    random::Random,
};
use crate::common::host_name;

pub struct World {
    pub random: Random,
    pub engine: Engine,
    now: u64,
    pub facts: Vec<Fact>,
    store: BTreeMap<RecordKey, Record>,
    pub plans: Vec<PlanSpec>,
    pub git: Git,
    pub hubs: HashMap<ProjectName, Hub>,
    pub hosts: BTreeMap<HostName, Host>,
    to_hosts: Vec<(HostName, Effect)>,
    from_hosts: Vec<Command>,
    jobs: VecDeque<Effect>,
    from_devops: VecDeque<Command>,
    timers: Vec<Timer>,
    /// By project and role: the sum of known costs, and the largest.
    costs: HashMap<(ProjectName, RoleName), (u64, u64)>,
    /// How often a limit had to be raised.
    pub raised: u32,
    /// Whether faults happen: messages, hosts, disks, agents.
    pub faults: bool,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let mut git = Git::default();
        let plans: Vec<PlanSpec> =
            (0..1 + random.below(2)).map(|n| plans::random(&mut random, &format!("p{n}"))).collect();
        let mut hubs = HashMap::new();
        for plan in plans.iter().filter(|p| p.project.source.is_some()) {
            let project = plan.project.name.clone();
            let conflicts = [0, 15, 40][random.below(3)];
            let head = git.commit(&[]);
            hubs.insert(project, Hub { head, source: head, clashes: false, swaps: Vec::new(), conflicts });
        }
        let host = |n: usize, random: &mut Random| {
            let (name, slots) = (host_name(&format!("host{n}")), 1 + random.below(3) as u32);
            let secrets = if n == 0 { vec!["KEY".into()] } else { Vec::new() };
            // The first host fits every role: a task that fits no host would never end.
            let mut offer = Offer::default();
            if n == 0 || random.percent(30) {
                offer.labels.insert("gpu".into(), "a100".into());
            }
            if n > 0 && random.percent(30) {
                offer.roles = vec![RoleName::new("dev").unwrap()];
            }
            if random.percent(30) {
                offer.images = vec!["agent".into()];
            }
            (name.clone(), Host::new(name, slots, secrets, offer))
        };
        let hosts = (0..1 + random.below(3)).map(|n| host(n, &mut random)).collect();
        Self {
            random,
            engine: Engine::new(Config::default()),
            now: 1_000,
            facts: Vec::new(),
            store: BTreeMap::new(),
            plans,
            git,
            hubs,
            hosts,
            to_hosts: Vec::new(),
            from_hosts: Vec::new(),
            jobs: VecDeque::new(),
            from_devops: VecDeque::new(),
            timers: Vec::new(),
            costs: HashMap::new(),
            raised: 0,
            faults: true,
        }
    }

    /// One command: stepped, committed, checked; its effects are in flight.
    pub fn send(&mut self, command: Command) -> Result<Answer, Rejection> {
        self.now += self.random.below(3) as u64;
        let Decision { facts, effects, touched, answer } = self.engine.step(Timestamp(self.now), command)?;
        self.facts.extend(facts.iter().cloned());
        for key in touched {
            match self.engine.record(&key) {
                Some(record) => _ = self.store.insert(key, record),
                None => _ = self.store.remove(&key),
            }
        }
        invariants::check(&self.engine).unwrap();
        invariants::check_quiet(&self.engine).unwrap();
        facts.iter().for_each(|fact| self.check_fact(fact));
        facts.iter().for_each(|fact| self.check_spending(fact));
        // A crash between the commit and the effects: they come from `resume`.
        if self.faults && self.random.percent(1) {
            self.crash();
        } else {
            self.perform(effects);
        }
        Ok(answer)
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match &effect {
                Effect::StartAttempt { host, order, .. } => {
                    self.check_start(&order.attempt.task, &order.start);
                    self.to_hosts.push((host.clone(), effect));
                }
                Effect::StopAttempt { host, .. }
                | Effect::SalvageAttempt { host, .. }
                | Effect::ForgetAttempt { host, .. } => {
                    self.to_hosts.push((host.clone(), effect));
                }
                Effect::PrepareMerge(_) | Effect::PublishMerge { .. } | Effect::Deliver(_) => {
                    self.jobs.push_back(effect);
                }
                // Much longer than everything else: it fires only where a host has lost something.
                Effect::SetTimer { timer: Timer::Deadline(_), .. } if !self.faults || self.random.percent(95) => {}
                Effect::SetTimer { timer, .. } => self.timers.push(timer.clone()),
            }
        }
    }

    /// Guarantee 2: the base contains the merges of all dependencies.
    fn check_start(&self, task: &TaskRef, start: &Start) {
        let (Start::Commit { base, .. } | Start::Merging { base, .. }) = *start else { return };
        for dependency in &self.engine.task(task).unwrap().spec.dependencies {
            let dependency = TaskRef { project: task.project.clone(), id: dependency.clone() };
            let merge = self.engine.task(&dependency).unwrap().merge_commit;
            assert!(
                merge.is_none_or(|merge| self.git.contains(base, merge)),
                "{task} starts without the merge of {dependency}"
            );
        }
    }

    /// Guarantees 3 and 4: COMPLETED work is in the head, and only the newest work result is merged.
    fn check_fact(&self, fact: &Fact) {
        match &fact.kind {
            FactKind::AttemptStarted { attempt, host, role, .. } => {
                let Offer { labels, roles, .. } = &self.hosts[host].offer;
                let specs = &self.engine.project(&attempt.task.project).unwrap().spec.roles;
                let spec = specs.iter().find(|spec| spec.name == *role).unwrap();
                let fits = spec.labels.iter().all(|(key, value)| labels.get(key) == Some(value));
                assert!(fits && (roles.is_empty() || roles.contains(role)), "{attempt} does not fit {host}");

                let there = self.engine.presence(host).is_some_and(|presence| presence.is_present());
                assert!(there && self.engine.drain(host).is_none(), "{attempt} starts on {host}, which takes nothing");
            }
            FactKind::TaskCompleted { task, merge_commit: Some(commit), .. } => {
                let hub = &self.hubs[&task.project];
                assert!(self.git.contains(hub.head, *commit), "{task} is COMPLETED but not merged");
            }
            FactKind::MergeIntended { attempt, commit, .. } => {
                let task = self.engine.task(&attempt.task).unwrap();
                let newest = self.engine.attempts(&attempt.task).iter().rev().find(|a| a.commit.is_some()).unwrap();
                assert_eq!(newest.attempt, *attempt, "an older result of {} is merged", task.spec.id);
                assert_eq!(newest.commit, Some(*commit));
            }
            _ => {}
        }
    }

    /// Nothing starts at a parked provider, and nothing that could exceed a budget: known costs, and for all running
    /// attempts as much as the most expensive attempt of their role.
    fn check_spending(&mut self, fact: &Fact) {
        match &fact.kind {
            FactKind::AttemptEnded { attempt, usage: Some(usage), .. } => {
                let Some(cost) = usage.cost_micros else { return };
                let known = self.engine.attempts(&attempt.task).iter().rev().find(|a| a.attempt == *attempt);
                let Some(run) = known.filter(|run| run.stage == Stage::Work) else { return };
                let costs = self.costs.entry((attempt.task.project.clone(), run.role.clone())).or_default();
                *costs = (costs.0 + cost, costs.1.max(cost));
            }
            FactKind::AttemptStarted { attempt, stage: Stage::Work, role, .. } => {
                let project = &self.engine.project(&attempt.task.project).unwrap().spec;
                let spec = project.roles.iter().find(|spec| spec.name == *role).unwrap();
                if let Some(profile) = project.profile_of(spec) {
                    let parked = self.engine.providers().find(|known| known.provider == profile.provider);
                    assert!(parked.is_none_or(|known| known.until.is_none()), "{attempt} starts at a parked provider");
                }
                let Some(budget) = project.budget_micros else { return };
                let committed = |role: &RoleSpec| {
                    let key = (project.name.clone(), role.name.clone());
                    let (sum, dearest) = self.costs.get(&key).copied().unwrap_or_default();
                    let mine = |a: &&AttemptRecord| a.role == role.name && a.attempt.task.project == project.name;
                    let running = self.hosts.keys().flat_map(|host| self.engine.on_host(host));
                    let running = running.filter(mine).filter(|a| a.stage == Stage::Work).count();
                    sum + dearest * running as u64
                };
                let committed: u64 = project.roles.iter().map(committed).sum();
                assert!(committed <= budget, "{attempt} starts with {committed} of {budget} committed");
            }
            _ => {}
        }
    }

    /// Kill -9 of the Taskmaster: memory is lost, the store is the truth, and the facts agree with it.
    pub fn crash(&mut self) {
        let mut replayed = Engine::new(Config::default());
        self.facts.iter().for_each(|fact| replayed.apply(fact));
        invariants::check(&replayed).unwrap();
        let replayed: BTreeMap<_, _> = replayed.records().map(|r| (r.key(), r)).collect();
        assert_eq!(replayed, self.store, "facts and records disagree");
        self.engine = Engine::from_records(Config::default(), self.store.values().cloned()).unwrap();
        invariants::check(&self.engine).unwrap();
        invariants::check_quiet(&self.engine).unwrap();
        self.from_hosts.clear();
        self.from_devops.clear();
        self.timers.clear();
        self.jobs.clear();
        let effects = self.engine.resume(Timestamp(self.now));
        self.perform(effects);
        self.connect_all();
    }

    /// The faults end: hosts are healthy, users want nothing of them, and their messages on earlier connections are not
    /// delivered any more.
    pub fn calm(&mut self) {
        self.faults = false;
        self.hosts.values_mut().for_each(|host| host.quarantine = None);
        let reports = |command: &Command| matches!(command, Command::ReportHost(_) | Command::ReportMember { .. });
        self.from_hosts.retain(|command| !reports(command));
        // Healthy hosts end their attempts in time.
        self.timers.retain(|timer| !matches!(timer, Timer::Deadline(_)));
        let known: Vec<HostName> = self.engine.hosts().map(|host| host.host).collect();
        for host in known {
            self.send(Command::UndrainHost(host)).unwrap();
        }
    }

    pub fn connect_all(&mut self) {
        for host in self.hosts.values_mut() {
            self.from_hosts.extend(host.connect());
        }
    }

    /// Something in flight proceeds. False: nothing is in flight.
    pub fn go_on(&mut self) -> bool {
        let busy = [
            !self.to_hosts.is_empty(),
            !self.from_hosts.is_empty(),
            !self.jobs.is_empty(),
            !self.from_devops.is_empty(),
            !self.timers.is_empty(),
            self.hosts.values().any(|h| !h.attempts.is_empty()),
        ];
        let choices: Vec<usize> = (0..busy.len()).filter(|&n| busy[n]).collect();
        match self.random.pick(&choices).copied() {
            Some(0) => self.deliver_to_host(),
            Some(1) => self.deliver_from_host(),
            Some(2) => self.run_job(),
            Some(3) => {
                let command = self.from_devops.pop_front().unwrap();
                if self.faults && self.random.percent(10) {
                    self.send(command.clone()).unwrap();
                }
                self.send(command).unwrap();
            }
            Some(4) => {
                let n = self.random.below(self.timers.len());
                let timer = self.timers.swap_remove(n);
                self.send(Command::TimerFired(timer)).unwrap();
            }
            Some(_) => self.work(),
            None => return false,
        }
        true
    }

    fn deliver_to_host(&mut self) {
        let n = self.random.below(self.to_hosts.len());
        let (name, effect) = self.to_hosts.swap_remove(n);
        if self.faults && self.random.percent(5) {
            self.to_hosts.push((name.clone(), effect.clone()));
        }
        let Some(host) = self.hosts.get_mut(&name).filter(|h| h.hears()) else { return };
        let report = host.obey(effect);
        self.from_hosts.extend(report.filter(|_| host.is_heard()));
    }

    fn deliver_from_host(&mut self) {
        let n = self.random.below(self.from_hosts.len());
        let command = self.from_hosts.swap_remove(n);
        if self.faults && self.random.percent(10) {
            return;
        }
        if self.faults && self.random.percent(10) {
            self.from_hosts.push(command.clone());
        }
        self.send(command).unwrap();
    }

    fn run_job(&mut self) {
        let job = self.jobs.pop_front().unwrap();
        let project = match &job {
            Effect::PrepareMerge(request) => &request.attempt.task.project,
            Effect::PublishMerge { project, .. } | Effect::Deliver(project) => project,
            _ => unreachable!(),
        };
        let hub = self.hubs.get_mut(&project.clone()).unwrap();
        self.from_devops.extend(hub.run(&mut self.git, &mut self.random, job, self.faults));
    }

    fn work(&mut self) {
        let names: Vec<HostName> = self.hosts.keys().cloned().collect();
        let name = self.random.pick(&names).unwrap();
        let bad = if self.faults { 40 } else { 5 };
        let host = self.hosts.get_mut(name).unwrap();
        let report = host.work(&mut self.git, &mut self.random, bad);
        if host.is_heard() {
            self.from_hosts.extend(report);
            // The reconcile loop: lost messages are sent again.
            if self.from_hosts.is_empty() && (self.random.percent(20) || !self.faults) {
                self.from_hosts.extend(host.tell_all());
            }
        }
    }

    /// A fault happens, or the integration branch moves.
    pub fn misfortune(&mut self) {
        let names: Vec<HostName> = self.hosts.keys().cloned().collect();
        let name = self.random.pick(&names).unwrap().clone();
        let host = self.hosts.get_mut(&name).unwrap();
        match self.random.below(18) {
            16 => host.deaf = true,
            17 => host.mute = true,
            0 => host.connected = false,
            1 => host.crash(&mut self.random),
            2..4 => {
                self.from_hosts.extend(host.connect());
            }
            4 => {
                // Long enough for some of its attempts, or for all.
                let silent_ms = [120_000, 600_000, u64::MAX][self.random.below(3)];
                _ = self.send(Command::LoseHost { host: name, silent_ms });
            }
            11..13 => {
                host.connected = false;
                _ = self.send(Command::SuspectHost(name));
            }
            13 => {
                let deadline_ms = self.random.percent(50).then_some(1_000);
                // It may be removed.
                _ = self.send(Command::DrainHost { host: name, deadline_ms });
            }
            14 => _ = self.send(Command::UndrainHost(name)),
            15 => {
                let force = self.random.percent(30);
                _ = self.send(Command::RemoveHost { host: name, force });
            }
            5 => {
                // A report from an earlier time that arrives late.
                let (slots, secrets) = (host.slots, host.secrets.clone());
                let Offer { labels, roles, images, .. } = host.offer.clone();
                let report = HostReport { secrets, labels, roles, images, ..HostReport::new(name, slots) };
                _ = self.send(Command::ReportHost(report));
            }
            6 => self.crash(),
            7 => {
                let slots = 1 + self.random.below(3) as u32;
                let sick = self.random.percent(50).then(|| Quarantine { slots, why: "the engine is gone".into() });
                host.quarantine = sick;
                self.from_hosts.extend(host.tell_all());
            }
            _ => self.sync(),
        }
    }

    /// The source moves on. A submission follows it at once, or the next delivery does; sometimes a crash loses the
    /// report.
    fn sync(&mut self) {
        let mut names: Vec<ProjectName> = self.hubs.keys().cloned().collect();
        names.sort();
        let Some(name) = self.random.pick(&names).cloned() else { return };
        let hub = self.hubs.get_mut(&name).unwrap();
        hub.source = self.git.commit(&[hub.source]);
        hub.clashes = self.random.percent(50);
        if self.random.percent(70) {
            let report = hub.sync(&mut self.git, name);
            self.from_devops.extend(report.filter(|_| self.random.percent(80)));
        }
    }

    /// A user does something, sensible or not.
    pub fn meddle(&mut self) {
        let n = self.random.below(self.plans.len());
        let project = self.plans[n].project.name.clone();
        let tasks = self.engine.task_refs(&project, None);
        let Some(task) = self.random.pick(&tasks).cloned() else { return self.submit(n) };
        let message = Text::Inline("please".into());
        let command = match self.random.below(22) {
            0..3 => Command::RetryTask { task, message: Some(message) },
            3 => Command::RejectTask { task, reason: "not wanted".into() },
            4..6 => Command::StopTask(task),
            6 => Command::PauseProject(project),
            7..9 => Command::ResumeProject(project),
            9..12 => Command::ApproveTask(task),
            12 => Command::RequestChanges { task, message },
            13..16 => return self.resolve(&task),
            16 if self.random.percent(10) => Command::CancelPlan { project, plan: None },
            _ => {
                let changed = plans::change(&mut self.random, &self.plans[n]);
                let before = std::mem::replace(&mut self.plans[n], changed);
                if self.engine.project(&project).is_none() || !self.try_submit(n) {
                    self.plans[n] = before;
                }
                return;
            }
        };
        _ = self.send(command);
    }

    /// A user raises the limits of a project.
    pub fn raise(&mut self, project: &ProjectName) {
        let n = self.plans.iter().position(|plan| plan.project.name == *project).unwrap();
        plans::raise(&mut self.plans[n]);
        self.raised += 1;
        self.submit(n);
    }

    pub fn submit(&mut self, n: usize) {
        assert!(self.try_submit(n));
    }

    fn try_submit(&mut self, n: usize) -> bool {
        let plan = self.plans[n].clone();
        let head = self.hubs.get(&plan.project.name).map(|h| h.head);
        self.send(Command::SubmitPlan { plan, head }).is_ok()
    }

    /// Checks a conflict out on the present head and submits both sides merged.
    pub fn resolve(&mut self, task: &TaskRef) {
        let next = self.engine.next_attempt(task).unwrap();
        let record = self.engine.task(&next.task).unwrap();
        let Some(hub) = self.hubs.get(&task.project) else { return };
        let sides: Vec<CommitId> =
            [hub.head].into_iter().chain(record.kind.conflict().map(|conflict| conflict.theirs)).collect();
        let commit = self.git.commit(&sides);
        _ = self.send(Command::ResolveTask { task: task.clone(), number: next.number, commit });
    }

    /// All tasks of all projects.
    pub fn tasks(&self) -> Vec<TaskRef> {
        self.plans.iter().flat_map(|p| self.engine.task_refs(&p.project.name, None)).collect()
    }

    /// At the end: every merge that landed is in the head once, and everything COMPLETED is there.
    pub fn check_end(&self) {
        for host in self.hosts.values() {
            let known: Vec<_> = self.engine.on_host(&host.name).map(|run| &run.attempt).collect();
            let unknown = host.attempts.keys().find(|attempt| !known.contains(attempt));
            assert_eq!(unknown, None, "{} holds what the engine does not know", host.name);
        }
        for (name, hub) in &self.hubs {
            let mut swapped = std::collections::HashSet::new();
            for &candidate in &hub.swaps {
                let merges = self.engine.merges(name);
                let merge = merges.iter().find(|m| m.candidate == candidate).unwrap();
                assert_eq!(merge.state, MergeState::Landed, "a swap that is not known to have landed");
                assert!(swapped.insert(&merge.attempt.task), "{} was merged twice", merge.attempt.task);
            }
            for task in self.engine.tasks(name).filter(|t| t.status == Status::Completed) {
                let merged = task.merge_commit.is_none_or(|commit| self.git.contains(hub.head, commit));
                assert!(merged, "{} is COMPLETED but not merged", task.spec.id);
                assert_eq!(task.merge_commit.is_some(), task.delivered_at.is_some(), "{} not delivered", task.spec.id);
                let brought = task.kind.conflict().is_none_or(|c| self.git.contains(hub.head, c.theirs));
                assert!(brought, "{} is COMPLETED without the other side", task.spec.id);
            }
        }
    }
}
