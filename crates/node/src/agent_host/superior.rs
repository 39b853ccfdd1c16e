//! The destination of a host's reports: the Taskmaster of this process, or a Taskmaster at the other end of a link.
//! Deliberately absent: waiting for an answer. Orders come as messages; a lost report is sent again.

use devstack_dag::{command::HostReport, ids::AttemptId};

use crate::{
    actor::Address,
    taskmaster::message::{Exit, TaskmasterMessage},
};

/// The receiver of a host's reports. No call blocks; a report that reaches nobody is repeated on request.
pub trait Superior: Send + Sync + 'static {
    /// The host's full state.
    fn report(&self, report: HostReport);
    /// An attempt ended.
    fn exited(&self, exit: Exit);
    /// The AgentHost is alive. Requested only over links.
    fn alive(&self) {}
    /// The log of an attempt is archived, and its other files are being removed.
    fn shelved(&self, _attempt: &AttemptId) {}
}

impl Superior for Address<TaskmasterMessage> {
    fn report(&self, report: HostReport) {
        // If the Taskmaster is absent, it asks when it is back.
        let _ = self.cast(TaskmasterMessage::HostReported(report));
    }

    fn exited(&self, exit: Exit) {
        // If the Taskmaster is absent, it asks for reports when it is back.
        let _ = self.cast(TaskmasterMessage::AttemptExited(exit));
    }
}
