//! A model of an agent host: it holds attempts until they are forgotten, works when asked to proceed, and can lose its
//! connection or its memory.

use std::collections::BTreeMap;

use devstack_dag::{
    attempt::{Order, Outcome, Report, Stage, Start, Usage},
    command::{Command, HostReport, Quarantine},
    effect::Effect,
    ids::{AttemptId, CommitId, HostName, Text, Timestamp},
    offer::Offer,
    pins::PinChange,
};

use super::{git::Git, random::Random};

/// In millionths.
pub const DOLLAR: u64 = 1_000_000;

pub struct Host {
    pub name: HostName,
    pub slots: u32,
    /// Slots that are temporarily unusable.
    pub quarantine: Option<Quarantine>,
    pub secrets: Vec<String>,
    /// Its offer: labels, roles, images.
    pub offer: Offer,
    pub connected: bool,
    /// Its link loses messages to the host, and no others.
    pub deaf: bool,
    /// Its link loses messages from the host, and no others.
    pub mute: bool,
    pub attempts: BTreeMap<AttemptId, Held>,
}

pub enum Held {
    Running(Box<Order>),
    Finished(Report),
}

impl Host {
    pub fn new(name: HostName, slots: u32, secrets: Vec<String>, offer: Offer) -> Self {
        let (quarantine, attempts) = (None, BTreeMap::new());
        Self { name, slots, quarantine, secrets, offer, connected: true, deaf: false, mute: false, attempts }
    }

    /// Its link works in both directions, and it reports everything.
    pub fn connect(&mut self) -> Vec<Command> {
        (self.connected, self.deaf, self.mute) = (true, false, false);
        self.tell_all()
    }

    pub fn hears(&self) -> bool {
        self.connected && !self.deaf
    }

    pub fn is_heard(&self) -> bool {
        self.connected && !self.mute
    }

    pub fn report(&self) -> Command {
        let report = HostReport {
            secrets: self.secrets.clone(),
            attempts: self.attempts.keys().cloned().collect(),
            quarantine: self.quarantine.clone(),
            labels: self.offer.labels.clone(),
            roles: self.offer.roles.clone(),
            images: self.offer.images.clone(),
            ..HostReport::new(self.name.clone(), self.slots)
        };
        // The first host is the Taskmaster's own; the others joined.
        match self.name.as_str() {
            "host0" => Command::ReportHost(report),
            _ => Command::ReportMember { report, joined: PinChange::default() },
        }
    }

    /// Everything that a host reports when it connects, and again every few seconds.
    pub fn tell_all(&self) -> Vec<Command> {
        let finished = self.attempts.values().filter_map(|held| match held {
            Held::Finished(report) => Some(Command::FinishAttempt { host: self.name.clone(), report: report.clone() }),
            Held::Running(_) => None,
        });
        std::iter::once(self.report()).chain(finished).collect()
    }

    /// Carries out an order; returns a report if that ended an attempt.
    pub fn obey(&mut self, effect: Effect) -> Option<Command> {
        match effect {
            Effect::StartAttempt { order, .. } => {
                self.attempts.entry(order.attempt.clone()).or_insert(Held::Running(order));
                None
            }
            Effect::StopAttempt { attempt, .. } => match self.attempts.get(&attempt)? {
                Held::Running(_) => Some(self.end(attempt, Outcome::Stopped, None, None)),
                Held::Finished(_) => None,
            },
            Effect::SalvageAttempt { order, .. } => match self.attempts.get(&order.attempt)? {
                Held::Finished(report) => {
                    Some(Command::FinishAttempt { host: self.name.clone(), report: report.clone() })
                }
                Held::Running(_) => Some(self.end(order.attempt, Outcome::Stopped, None, None)),
            },
            Effect::ForgetAttempt { attempt, .. } => {
                self.attempts.remove(&attempt);
                None
            }
            _ => None,
        }
    }

    fn end(&mut self, attempt: AttemptId, outcome: Outcome, commit: Option<CommitId>, cost: Option<u64>) -> Command {
        let tail = Text::Inline("last words".into());
        let usage = cost.map(|cost| Usage { cost_micros: Some(cost), ..Usage::default() });
        let report = Report { commit, tail, usage, ..Report::new(attempt.clone(), outcome) };
        self.attempts.insert(attempt, Held::Finished(report.clone()));
        Command::FinishAttempt { host: self.name.clone(), report }
    }

    /// Ends one of its running attempts in some way.
    pub fn work(&mut self, git: &mut Git, random: &mut Random, bad: u32) -> Option<Command> {
        let running = self.attempts.values().filter_map(|held| match held {
            Held::Running(order) => Some(order.clone()),
            Held::Finished(_) => None,
        });
        let running: Vec<Box<Order>> = running.collect();
        let order = random.pick(&running)?;
        let outcome = match random.percent(bad) {
            false => Outcome::Exited(0),
            true if order.profile.is_some() && random.percent(30) => {
                let reset = random.percent(50).then(|| Timestamp(random.below(5_000) as u64));
                Outcome::RateLimited { reset }
            }
            true => match random.below(8) {
                0 => Outcome::Exited(75),
                1 => Outcome::Signalled(11),
                2 => Outcome::TimedOut,
                3 => Outcome::Stalled,
                4 => Outcome::OutOfMemory,
                5 => Outcome::Infrastructure("engine lost".into()),
                6 => Outcome::Policy("a secret in a.txt".into()),
                _ => Outcome::Exited(1),
            },
        };
        let result = match &order.start {
            _ if order.stage == Stage::Check || random.percent(bad / 2) => None,
            Start::Empty => None,
            Start::Commit { tip, .. } => Some(git.commit(&[*tip])),
            // A resolver that drops a side: DevOps must refuse it.
            Start::Merging { base, .. } if random.percent(bad / 2) => Some(git.commit(&[*base])),
            Start::Merging { base, theirs } => Some(git.commit(&[*base, *theirs])),
        };
        let cost = random.percent(80).then(|| random.below(3) as u64 * DOLLAR / 2);
        Some(self.end(order.attempt.clone(), outcome, result, cost))
    }

    /// The machine went down: running attempts are lost, unless the shims outlived the node.
    pub fn crash(&mut self, random: &mut Random) {
        self.connected = false;
        if random.percent(50) {
            self.attempts.retain(|_, held| matches!(held, Held::Finished(_)));
        }
    }
}
