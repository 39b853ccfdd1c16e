//! The messages as they are written: everything that changed in a version has its own variant at the end, and the types
//! of the previous version are frozen beside it. Deliberately absent: the meaning of messages.

use std::sync::Arc;

use devstack_dag::{
    attempt::{self, Conflict, Feedback, Left, Outcome, Stage, Start, Usage},
    bounds::{self, within},
    command::HostReport,
    ids::{AgentName, AttemptId, CommitId, RoleName, Text},
    plan::{Limits, Network},
    profile::Profile,
};
use serde::{Deserialize, Serialize};

use super::Uploaded;

/// See [`super::HostOrder`]. Append-only.
#[derive(Serialize, Deserialize)]
pub(super) enum HostOrder {
    Start(Box<OrderV1>),
    Stop(AttemptId),
    Forget(AttemptId),
    ReportAgain,
    Salvage(Box<OrderV1>),
    StartV2(Box<attempt::Order>),
    SalvageV2(Box<attempt::Order>),
}

/// See [`super::ToTaskmaster`]. Append-only.
#[derive(Serialize, Deserialize)]
pub(super) enum ToTaskmaster {
    Alive,
    Report(HostReport),
    Exited {
        report: ReportV1,
        result: Option<Uploaded>,
    },
    NoLog {
        channel: u64,
        #[serde(deserialize_with = "within::<bounds::Reason, _, _>")]
        why: Option<String>,
    },
    ExitedV2 {
        report: Box<ReportV2>,
        result: Option<Uploaded>,
    },
}

/// An order of version 1: its host completes the prompt.
#[derive(Serialize, Deserialize)]
pub(super) struct OrderV1 {
    attempt: AttemptId,
    stage: Stage,
    agent: AgentName,
    role: RoleName,
    #[serde(deserialize_with = "within::<bounds::Title, _, _>")]
    title: String,
    #[serde(deserialize_with = "within::<bounds::CommandLine, _, _>")]
    command: Vec<String>,
    #[serde(deserialize_with = "within::<bounds::InlineText, _, _>")]
    prompt: Text,
    #[serde(deserialize_with = "within::<bounds::FeedbackList, _, _>")]
    feedback: Vec<Feedback>,
    #[serde(deserialize_with = "within::<bounds::ConflictPaths, _, _>")]
    conflict: Option<Conflict>,
    start: Start,
    #[serde(deserialize_with = "within::<bounds::OrderedSecrets, _, _>")]
    secrets: Vec<String>,
    #[serde(deserialize_with = "within::<bounds::LongName, _, _>")]
    image: Option<Arc<str>>,
    network: Network,
    limits: Limits,
    timeout_ms: u64,
    grace_ms: u64,
    idle_timeout_ms: u64,
    #[serde(deserialize_with = "within::<bounds::ProfileTexts, _, _>")]
    profile: Option<Arc<Profile>>,
    #[serde(deserialize_with = "within::<bounds::LongName, _, _>")]
    model: Option<Box<str>>,
}

/// A report of version 1: only of the result.
#[derive(Serialize, Deserialize)]
pub(super) struct ReportV1 {
    attempt: AttemptId,
    #[serde(deserialize_with = "within::<bounds::Reason, _, _>")]
    outcome: Outcome,
    commit: Option<CommitId>,
    #[serde(deserialize_with = "within::<bounds::InlineText, _, _>")]
    tail: Text,
    #[serde(deserialize_with = "within::<bounds::SessionName, _, _>")]
    usage: Option<Usage>,
}

/// A report of version 2. It does not contain why a result is held: a host has no say in that.
#[derive(Serialize, Deserialize)]
pub(super) struct ReportV2 {
    attempt: AttemptId,
    #[serde(deserialize_with = "within::<bounds::Reason, _, _>")]
    outcome: Outcome,
    commit: Option<CommitId>,
    #[serde(deserialize_with = "within::<bounds::InlineText, _, _>")]
    tail: Text,
    #[serde(deserialize_with = "within::<bounds::SessionName, _, _>")]
    usage: Option<Usage>,
    #[serde(deserialize_with = "within::<bounds::LeftBehind, _, _>")]
    left: Left,
    #[serde(deserialize_with = "within::<bounds::InlineText, _, _>")]
    summary: Option<Text>,
}

impl From<HostOrder> for super::HostOrder {
    fn from(order: HostOrder) -> Self {
        match order {
            HostOrder::Start(order) => Self::Start(Box::new((*order).into())),
            HostOrder::Stop(attempt) => Self::Stop(attempt),
            HostOrder::Forget(attempt) => Self::Forget(attempt),
            HostOrder::ReportAgain => Self::ReportAgain,
            HostOrder::Salvage(order) => Self::Salvage(Box::new((*order).into())),
            HostOrder::StartV2(order) => Self::Start(order),
            HostOrder::SalvageV2(order) => Self::Salvage(order),
        }
    }
}

impl From<super::HostOrder> for HostOrder {
    fn from(order: super::HostOrder) -> Self {
        match order {
            super::HostOrder::Start(order) => Self::StartV2(order),
            super::HostOrder::Stop(attempt) => Self::Stop(attempt),
            super::HostOrder::Forget(attempt) => Self::Forget(attempt),
            super::HostOrder::ReportAgain => Self::ReportAgain,
            super::HostOrder::Salvage(order) => Self::SalvageV2(order),
        }
    }
}

impl From<ToTaskmaster> for super::ToTaskmaster {
    fn from(message: ToTaskmaster) -> Self {
        match message {
            ToTaskmaster::Alive => Self::Alive,
            ToTaskmaster::Report(report) => Self::Report(report),
            ToTaskmaster::Exited { report, result } => Self::Exited { report: report.into(), result },
            ToTaskmaster::NoLog { channel, why } => Self::NoLog { channel, why },
            ToTaskmaster::ExitedV2 { report, result } => Self::Exited { report: (*report).into(), result },
        }
    }
}

impl From<super::ToTaskmaster> for ToTaskmaster {
    fn from(message: super::ToTaskmaster) -> Self {
        match message {
            super::ToTaskmaster::Alive => Self::Alive,
            super::ToTaskmaster::Report(report) => Self::Report(report),
            super::ToTaskmaster::NoLog { channel, why } => Self::NoLog { channel, why },
            super::ToTaskmaster::Exited { report, result } => {
                let attempt::Report { attempt, outcome, commit, tail, usage, left, summary, held: _ } = report;
                let report = ReportV2 { attempt, outcome, commit, tail, usage, left, summary };
                Self::ExitedV2 { report: Box::new(report), result }
            }
        }
    }
}

impl ToTaskmaster {
    /// The same message for a Taskmaster of version 1.
    pub(super) fn version_1(message: super::ToTaskmaster) -> Self {
        match message {
            super::ToTaskmaster::Exited { report, result } => {
                let attempt::Report { attempt, outcome, commit, tail, usage, .. } = report;
                Self::Exited { report: ReportV1 { attempt, outcome, commit, tail, usage }, result }
            }
            other => other.into(),
        }
    }
}

impl From<ReportV1> for attempt::Report {
    fn from(ReportV1 { attempt, outcome, commit, tail, usage }: ReportV1) -> Self {
        Self { commit, tail, usage, ..Self::new(attempt, outcome) }
    }
}

impl From<ReportV2> for attempt::Report {
    fn from(ReportV2 { attempt, outcome, commit, tail, usage, left, summary }: ReportV2) -> Self {
        Self { commit, tail, usage, left, summary, ..Self::new(attempt, outcome) }
    }
}

impl From<OrderV1> for attempt::Order {
    fn from(old: OrderV1) -> Self {
        Self {
            attempt: old.attempt,
            stage: old.stage,
            agent: old.agent,
            role: old.role,
            title: old.title,
            command: old.command,
            prompt: old.prompt,
            feedback: old.feedback,
            conflict: old.conflict,
            start: old.start,
            secrets: old.secrets,
            image: old.image,
            network: old.network,
            limits: old.limits,
            timeout_ms: old.timeout_ms,
            grace_ms: old.grace_ms,
            idle_timeout_ms: old.idle_timeout_ms,
            profile: old.profile,
            model: old.model,
            composed: false,
            max_disconnect_ms: None,
            dependencies: Vec::new(),
            more_dependencies: 0,
            whole_prompt: None,
        }
    }
}
