//! The long texts that each host may read: those named by the orders that the host received. Orders are sent again when
//! a host reports to a new process, so nothing is stored. Deliberately absent: the content of the texts, and the choice
//! of orders (the engine).

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use devstack_dag::{
    attempt::Order,
    ids::{AttemptId, BlobId, HostName, Text},
};

use crate::wire::HostOrder;

/// Whether a host may read a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readable {
    /// An order names the text.
    Yes,
    /// No order names the text.
    No,
    /// Not all of the host's orders were sent again since this process began: the host must ask again.
    NotYet,
}

/// The texts of each order, by host and attempt.
#[derive(Debug, Default)]
pub(super) struct Given(Mutex<HashMap<HostName, HashMap<AttemptId, Vec<BlobId>>>>);

impl Given {
    /// Records that a host gets this order.
    pub(super) fn note(&self, host: &HostName, order: &HostOrder) {
        match order {
            HostOrder::Start(order) => self.give(host, order.attempt.clone(), blobs(order)),
            HostOrder::Forget(attempt) => {
                if let Some(attempts) = self.hosts().get_mut(host) {
                    attempts.remove(attempt);
                }
            }
            _ => {}
        }
    }

    fn give(&self, host: &HostName, attempt: AttemptId, texts: Vec<BlobId>) {
        self.hosts().entry(host.clone()).or_default().insert(attempt, texts);
    }

    /// Forgets a removed host.
    pub(super) fn forget(&self, host: &HostName) {
        self.hosts().remove(host);
    }

    /// Whether a host, on which these attempts run, may read this text.
    pub(super) fn readable(&self, host: &HostName, text: BlobId, running: &[AttemptId]) -> Readable {
        let hosts = self.hosts();
        let given = hosts.get(host);
        let has = |attempt: &AttemptId| given.is_some_and(|given| given.contains_key(attempt));
        match given.is_some_and(|given| given.values().flatten().any(|named| *named == text)) {
            true => Readable::Yes,
            false if running.iter().all(has) => Readable::No,
            false => Readable::NotYet,
        }
    }

    fn hosts(&self) -> MutexGuard<'_, HashMap<HostName, HashMap<AttemptId, Vec<BlobId>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The long texts of an order.
fn blobs(order: &Order) -> Vec<BlobId> {
    let long = |text: &Text| match text {
        Text::Blob(id, _) => Some(*id),
        Text::Inline(_) => None,
    };
    order.texts().filter_map(long).collect()
}

#[cfg(test)]
mod tests {
    use devstack_dag::ids::{ProjectName, TaskId, TaskRef};

    use super::*;

    #[test]
    fn a_host_reads_the_texts_of_the_orders_that_it_was_given() {
        let (given, host, other) = (Given::default(), HostName::new("a").unwrap(), HostName::new("b").unwrap());
        let task = TaskRef { project: ProjectName::new("p").unwrap(), id: TaskId::new("t").unwrap() };
        let running = [1, 2].map(|number| AttemptId { task: task.clone(), number });
        let text = |n: u8| BlobId([n; 32]);
        let reads = |host: &HostName, n: u8| given.readable(host, text(n), &running);
        assert_eq!(reads(&host, 1), Readable::NotYet);
        given.give(&host, running[0].clone(), vec![text(1)]);
        assert_eq!([1, 2, 3].map(|n| reads(&host, n)), [Readable::Yes, Readable::NotYet, Readable::NotYet]);
        given.give(&host, running[1].clone(), vec![text(2)]);
        assert_eq!([1, 2, 3].map(|n| reads(&host, n)), [Readable::Yes, Readable::Yes, Readable::No]);
        assert_eq!(given.readable(&other, text(1), &[]), Readable::No);
        given.note(&host, &HostOrder::Forget(running[0].clone()));
        assert_eq!(given.readable(&host, text(1), &running[1..]), Readable::No);
        given.forget(&host);
        assert_eq!(given.readable(&host, text(2), &[]), Readable::No);
    }
}
