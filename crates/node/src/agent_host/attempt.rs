//! The actor of one attempt: workspace material → runtime → wait → report → forgotten. A panic restarts it. Every step
//! is idempotent, so the restarted actor adopts the running attempt instead of running it again. Deliberately absent:
//! the meaning of an exit (the engine decides) and git on the workspace (the shim does it).

use std::{panic::AssertUnwindSafe, sync::Arc};

use devstack_dag::attempt::{Left, Order, Outcome};
use futures::FutureExt;
use ractor::{Actor, ActorProcessingErr, ActorRef, Message};
use tokio::sync::watch;
use tracing::Instrument;

use super::{flow, host::Host};
use crate::{actor::Fence, taskmaster::message::Exit};
use devstack_store::fault::{self, Point};

/// The actor.
pub(super) struct Attempt;

/// Messages to one Attempt. Local only.
pub(super) enum AttemptMessage {
    /// The job ended, with the outcome of the attempt.
    Over(Box<Exit>),
    /// The job panicked.
    Panicked(String),
    /// End it.
    Stop,
    /// Send the report again, if there is one.
    ReportAgain,
}

impl Message for AttemptMessage {}

/// The arguments of a start.
pub(super) struct AttemptArguments {
    /// The order.
    pub order: Arc<Order>,
    /// The machine.
    pub host: Arc<Host>,
    /// Closes when the actor is restarted.
    pub fence: Fence,
    /// Whether a stop was requested before a restart.
    pub stop: bool,
}

/// The state.
pub(super) struct State {
    host: Arc<Host>,
    stop: watch::Sender<bool>,
    exit: Option<Box<Exit>>,
}

impl Actor for Attempt {
    type Msg = AttemptMessage;
    type State = State;
    type Arguments = AttemptArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        given: Self::Arguments,
    ) -> Result<State, ActorProcessingErr> {
        let AttemptArguments { order, host, fence, stop } = given;
        let (attempt, role) = (order.attempt.clone(), order.role.clone());
        let (stop, stopped) = watch::channel(stop);
        let job = flow::run(order, host.clone(), fence, stopped);
        // Every log line of the job names the attempt.
        let span = tracing::info_span!("attempt", attempt = %attempt, role = %role);
        let job = async move {
            let message = match AssertUnwindSafe(job).catch_unwind().await {
                Ok(Ok(exit)) => AttemptMessage::Over(Box::new(exit)),
                // Fenced: the successor of this actor does the work.
                Ok(Err(_)) => return,
                Err(panic) => AttemptMessage::Panicked(panic_text(&*panic)),
            };
            // If the actor is gone, the attempt was forgotten.
            let _ = myself.cast(message);
        };
        tokio::spawn(job.instrument(span));
        Ok(State { host, stop, exit: None })
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            AttemptMessage::Over(exit) => state.over(exit),
            AttemptMessage::Panicked(reason) => return Err(reason.into()),
            AttemptMessage::Stop => drop(state.stop.send_replace(true)),
            AttemptMessage::ReportAgain => state.report(),
        }
        Ok(())
    }
}

impl State {
    fn over(&mut self, exit: Box<Exit>) {
        let Left { skipped, more, branches } = &exit.report.left;
        let not_taken = skipped.iter().map(|one| format!("{}: {}", one.path, one.why)).collect::<Vec<_>>();
        let branches = branches.iter().map(|branch| &*branch.name).collect::<Vec<_>>();
        tracing::info!(
            attempt = %exit.attempt(), outcome = ?exit.report.outcome, ?not_taken, more, ?branches, "attempt ended"
        );
        fault::point(Point::AttemptBeforeReport);
        self.exit = Some(exit);
        self.report();
    }

    fn report(&self) {
        if let Some(exit) = &self.exit {
            self.host.superior.exited((**exit).clone());
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a message".into())
}

/// The exit of an attempt that could not run through no fault of its task.
pub(super) fn infrastructure(host: &Host, order: &Order, reason: String) -> Exit {
    Exit::without_result(host.name.clone(), order.attempt.clone(), Outcome::Infrastructure(reason))
}
