//! Where a host's reports go: the Taskmaster of this process, or one at the other end of a link.
//! Deliberately absent: waiting for an answer. Orders come as messages; what is lost is reported again.

use devstack_dag::{command::HostReport, ids::AttemptId};

use crate::{
    actor::Address,
    taskmaster::message::{Exit, TaskmasterMessage},
};

/// Who a host reports to. Neither call blocks; a report that finds nobody is made again when it is asked for.
pub trait Superior: Send + Sync + 'static {
    /// The host's full state.
    fn report(&self, report: HostReport);
    /// An attempt is over.
    fn exited(&self, exit: Exit);
    /// The AgentHost lives. Asked for over links only.
    fn alive(&self) {}
    /// The log of an attempt lies on the shelf: its other files go.
    fn shelved(&self, _attempt: &AttemptId) {}
}

impl Superior for Address<TaskmasterMessage> {
    fn report(&self, report: HostReport) {
        // Nobody there: the Taskmaster asks when it is back.
        let _ = self.cast(TaskmasterMessage::HostReported(report));
    }

    fn exited(&self, exit: Exit) {
        // Nobody there: the Taskmaster asks for reports when it is back.
        let _ = self.cast(TaskmasterMessage::AttemptExited(exit));
    }
}
