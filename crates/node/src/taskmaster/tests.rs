//! Tests of guarantee 1: an answer waits until everything it reports is durable, whether the request made a change, was
//! refused, was a repetition, or only read.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{
    Arc,
    mpsc::{Receiver, Sender, channel},
};

use devstack_dag::{
    Answer,
    command::{Command, HostReport},
    ids::{TaskRef, Timestamp},
    record::Record,
};
use futures::FutureExt;
use ractor::{Actor, ActorRef, SpawnErr};
use tokio::sync::{oneshot, watch};

use super::{
    Ledger, Outbox, Taskmaster, TaskmasterArguments,
    message::{Ask, AskError, Look, Request, TaskmasterMessage},
};
use crate::actor::Address;
use devstack_store::{
    Blobs, Commit, InstallationLabel, Journal, JournalConfig, MemoryStore, Meta, RequestKey, Seq, Store, StoreError,
    StoreReader, StoredReply, Term,
};

/// A store whose commits report that they have started and wait for permission.
struct Gated {
    inner: MemoryStore,
    there: Sender<()>,
    leave: Receiver<()>,
}

impl Store for Gated {
    fn commit(&mut self, group: &[Commit]) -> Result<Seq, StoreError> {
        self.there.send(()).unwrap();
        self.leave.recv().unwrap();
        self.inner.commit(group)
    }
    fn new_term(&mut self) -> Result<Term, StoreError> {
        self.inner.new_term()
    }
    fn prune(&mut self, facts_from: Seq, replies_from: Seq) -> Result<(), StoreError> {
        self.inner.prune(facts_from, replies_from)
    }
    fn restore(&mut self, meta: &Meta, content: &Commit) -> Result<(), StoreError> {
        self.inner.restore(meta, content)
    }
    fn meta(&self) -> Meta {
        self.inner.meta()
    }
    fn records(&self, each: &mut dyn FnMut(Record)) -> Result<(), StoreError> {
        self.inner.records(each)
    }
    fn replies(&self, each: &mut dyn FnMut(RequestKey, StoredReply)) -> Result<(), StoreError> {
        self.inner.replies(each)
    }
    fn reader(&self) -> StoreReader {
        self.inner.reader()
    }
}

async fn taskmaster(store: Gated) -> ActorRef<TaskmasterMessage> {
    let (loaded, reader) = (store.load().unwrap(), store.reader());
    let blobs =
        Arc::new(Blobs::open(&std::env::temp_dir().join(format!("devstack-blobs-{}", std::process::id()))).unwrap());
    let seq = loaded.meta.seq;
    let journal = Journal::spawn(Box::new(store), JournalConfig::default(), |error| panic!("{error}")).unwrap();
    let arguments = TaskmasterArguments {
        loaded,
        engine: devstack_dag::Config::default(),
        ledger: Ledger::new(journal, seq),
        reader,
        outbox: Outbox::new(Address::vacant("Taskmaster"), blobs, tokio::runtime::Handle::current(), false),
        start_devops: Arc::new(|_, _, _| async { Err(SpawnErr::ActorAlreadyStarted) }.boxed()),
        keep_facts: 100,
        news: watch::channel(0).0,
        leases: devstack_cluster::Leases::default(),
        local_host: None,
        joined: Arc::new(|_| devstack_dag::pins::PinChange::default()),
        traces: None,
        clock: || Timestamp(1_700_000_000_000),
    };
    Actor::spawn(None, Taskmaster, arguments).await.unwrap().0
}

fn ask(to: &ActorRef<TaskmasterMessage>, command: Command, key: Option<&str>) -> Reply {
    let (reply, answer) = oneshot::channel();
    let request = key.map(|key| Request { key: RequestKey::new(key).unwrap(), body_hash: [1; 32] });
    to.cast(TaskmasterMessage::Ask(Ask { command, request, reply: Some(reply) })).unwrap();
    answer
}

type Reply = oneshot::Receiver<Result<Answer, AskError>>;

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_waits_until_what_it_saw_is_durable() {
    let ((there, at_the_gate), (open, leave)) = (channel(), channel());
    let actor = taskmaster(Gated { inner: MemoryStore::new(InstallationLabel([7; 16])), there, leave }).await;
    let report = || Command::ReportHost(HostReport::new("h".parse().unwrap(), 2));
    let mut changed = ask(&actor, report(), Some("once"));
    tokio::task::spawn_blocking(move || at_the_gate.recv()).await.unwrap().unwrap();
    let mut again = ask(&actor, report(), Some("once"));
    let mut unchanged = ask(&actor, report(), None);
    let nobody = TaskRef { project: "shop".parse().unwrap(), id: "A".parse().unwrap() };
    let mut refused = ask(&actor, Command::StopTask(nobody), None);
    let ((looked, has_looked), (seen, mut sees)) = (oneshot::channel(), oneshot::channel());
    let look = Look(Box::new(|view| {
        let slots = view.engine.hosts().next().map(|host| host.slots);
        looked.send(()).unwrap();
        Box::new(move || seen.send(slots).unwrap())
    }));
    actor.cast(TaskmasterMessage::Look(look)).unwrap();
    // Messages are handled in order, so all of them were handled.
    has_looked.await.unwrap();
    for answer in [&mut changed, &mut again, &mut unchanged, &mut refused] {
        assert!(answer.try_recv().is_err(), "answered before the commit");
    }
    assert!(sees.try_recv().is_err(), "shown before the commit");

    open.send(()).unwrap();
    assert_eq!(changed.await.unwrap(), Ok(Answer::Done));
    assert_eq!(again.await.unwrap(), Ok(Answer::Done));
    assert_eq!(unchanged.await.unwrap(), Ok(Answer::Unchanged));
    assert!(matches!(refused.await.unwrap(), Err(AskError::Rejected(_))));
    assert_eq!(sees.await.unwrap(), Some(2));
}
