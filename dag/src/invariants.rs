//! What must hold after every step, checked by scanning everything: for simulations and debugging, not for the main
//! path.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::{
    attempt::Stage,
    engine::{
        Engine,
        state::{Git, Project, ProjectIx, TaskIx},
    },
    ids::{AttemptId, TaskRef},
    merge_queue, placement,
    record::{BlockedReason, Kind, MergeState, Status},
    room::Room,
};

/// A broken invariant: a defect of the engine, never of its input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invariant broken: {0}")]
pub struct Violation(String);

macro_rules! ensure {
    ($condition:expr, $($message:tt)*) => {
        if !$condition {
            return Err(Violation(format!($($message)*)));
        }
    };
}

/// Checks everything. After [`Engine::step`], [`Engine::from_records`] or a whole replay.
pub fn check(engine: &Engine) -> Result<(), Violation> {
    for ix in 0..engine.tasks.len() as TaskIx {
        check_attempts(engine, ix)?;
        check_status(engine, ix)?;
        check_derived(engine, ix)?;
    }
    check_slots(engine)?;
    for ix in 0..engine.projects.len() as ProjectIx {
        check_project(engine, ix)?;
        check_merges(engine, &engine.projects[ix as usize])?;
    }
    check_work_lists(engine)
}

fn check_attempts(engine: &Engine, ix: TaskIx) -> Result<(), Violation> {
    let task = engine.at(ix);
    let name = engine.task_ref(task);
    let (newest, older) = match task.history.split_last() {
        None => {
            ensure!(task.attempts == 0, "{name} has {} attempts but none is kept", task.attempts);
            return Ok(());
        }
        Some((newest, older)) => (newest, older),
    };
    ensure!(newest.attempt.number == task.attempts, "the newest attempt of {name} is not {}", task.attempts);
    for pair in task.history.windows(2) {
        ensure!(pair[0].attempt.number < pair[1].attempt.number, "attempts of {name} are not in order");
    }
    ensure!(older.iter().all(|a| a.outcome.is_some()), "an attempt of {name} runs that is not the newest");
    let runs = newest.outcome.is_none();
    let expected = match newest.stage {
        Stage::Work => Status::Wip,
        Stage::Check => Status::Testing,
    };
    ensure!(!runs || task.status == expected, "{name} has a running attempt but is {}", task.status);
    ensure!(runs || task.status != Status::Wip, "{name} is WIP without a running attempt");
    for &dep in task.deps.iter().filter(|_| runs) {
        let dep = engine.at(dep);
        ensure!(dep.status == Status::Completed, "{name} runs but {} is {}", dep.spec.id, dep.status);
    }
    Ok(())
}

fn check_status(engine: &Engine, ix: TaskIx) -> Result<(), Violation> {
    let task = engine.at(ix);
    let project = engine.project_of(task);
    let name = engine.task_ref(task);
    let none = Git::default();
    let git = task.git.as_deref().unwrap_or(&none);
    ensure!(task.blocked.is_some() == (task.status == Status::Blocked), "{name}: BLOCKED and its reason disagree");
    ensure!(task.rejected.is_some() == (task.status == Status::Rejected), "{name}: REJECTED and its reason disagree");
    let may_wait = matches!(task.status, Status::Todo | Status::Testing);
    ensure!(task.backoff_ms.is_none() || may_wait, "{name} is {} in a backoff", task.status);
    let busy_in_git = matches!(task.status, Status::Testing | Status::Review | Status::Approved);
    ensure!(!busy_in_git || git.harvested.is_some(), "{name} is {} without a commit", task.status);
    ensure!(!task.preparing || busy_in_git, "{name} is {} and being prepared", task.status);
    ensure!(git.merging.is_none() || task.status == Status::Approved, "{name} is {} and merging", task.status);
    let queued = matches!(task.status, Status::Testing | Status::Approved);
    ensure!(git.approved_at.is_none() || queued, "{name} is {} in the merge queue", task.status);
    ensure!(git.approved_at.is_some() || task.status != Status::Approved, "{name} is APPROVED but not queued");
    let budget = task.charged < task.spec.attempts || matches!(task.status, Status::Blocked | Status::Rejected);
    ensure!(budget || task.status == Status::Completed, "{name} goes on with no attempts left");
    if task.status == Status::Completed && project.has_repository() {
        let empty = task.spec.allow_empty && git.harvested.is_none_or(|_| git.merge_commit.is_none());
        ensure!(git.merge_commit.is_some() || empty, "{name} is COMPLETED without a merge");
    }
    if let Some(commit) = git.merge_commit {
        let landed = project.merges.iter().any(|m| m.candidate == commit && m.state == MergeState::Landed);
        ensure!(landed, "{name} is completed by {commit}, which has not landed");
    }
    if task.blocked_for(BlockedReason::Conflict) {
        ensure!(git.resolution.is_some(), "{name} is blocked by a conflict without a resolution task");
    }
    if let Some(resolution) = git.resolution.map(|r| engine.at(r)) {
        let right = matches!(&resolution.kind, Kind::Resolve { resolves, .. } if *resolves == task.spec.id);
        ensure!(right && !resolution.status.is_terminal(), "{name} has a resolution that is not open");
    }
    if let (Kind::Sync { .. }, false) = (&task.kind, task.status.is_terminal()) {
        ensure!(project.sync == Some(ix), "{name} is not the resolution that its project's delivery waits for");
    }
    if let (Kind::Resolve { .. }, false) = (&task.kind, task.status.is_terminal()) {
        let blocked = engine.blocked_by(task).map(|b| engine.at(b));
        let right = blocked.is_some_and(|b| b.blocked_for(BlockedReason::Conflict) && b.resolution() == Some(ix));
        ensure!(right, "{name} resolves a task that is not blocked by it");
    }
    let below = !task.deps.is_empty() && engine.rejected_root(ix).is_some();
    ensure!(!(below && task.status == Status::Todo), "{name} is TODO below a rejected task");
    ensure!(below || !task.blocked_for(BlockedReason::DependencyRejected), "{name} is below no rejected task");
    Ok(())
}

fn check_derived(engine: &Engine, ix: TaskIx) -> Result<(), Violation> {
    let task = engine.at(ix);
    let name = engine.task_ref(task);
    let open = task.deps.iter().filter(|&&d| engine.at(d).status != Status::Completed).count();
    ensure!(task.waiting as usize == open, "{name} waits for {} tasks, not {open}", task.waiting);
    ensure!(task.ready == engine.ready_key(ix), "{name} stands wrong in the ready set");
    let prepare = engine.unprepared.contains(&ix);
    ensure!(prepare == engine.must_prepare(ix), "{name} stands wrong among the unprepared");
    let by_id = &engine.project_of(task).by_id;
    ensure!(by_id.get(&task.spec.id) == Some(&ix), "{name} is not found by its id");
    for &dep in &task.deps {
        ensure!(engine.at(dep).dependents.contains(&ix), "{name} is not a dependent of its dependency");
        ensure!(engine.at(dep).remaining > task.remaining, "the path of {name} is not shorter than before it");
    }
    Ok(())
}

fn check_slots(engine: &Engine) -> Result<(), Violation> {
    let mut on_host: HashMap<_, BTreeSet<TaskIx>> = HashMap::new();
    let mut agents: HashSet<_> = HashSet::new();
    let mut in_role: HashMap<_, u32> = HashMap::new();
    for ix in 0..engine.tasks.len() as TaskIx {
        let task = engine.at(ix);
        let Some(run) = task.running() else { continue };
        on_host.entry(run.host.clone()).or_default().insert(ix);
        *in_role.entry((task.project, run.role.clone())).or_default() += 1;
        ensure!(agents.insert((task.project, run.agent.clone())), "agent {} has two attempts", run.agent);
        let by_name = engine.project_of(task).agents.get(&run.agent);
        ensure!(by_name == Some(&ix), "agent {} is not found by its name", run.agent);
        ensure!(engine.hosts.contains_key(&run.host), "{} runs on an unknown host", run.attempt);
    }
    let mut free = 0_u64;
    for host in engine.hosts.values() {
        let running = on_host.remove(&host.name).unwrap_or_default();
        ensure!(running == host.running, "host {} is believed to run other attempts", host.name);
        ensure!(running.len() as u32 <= host.allowed, "host {} runs more than its slots", host.name);
        free += u64::from(host.free());
    }
    ensure!(free == engine.free, "{} slots are free, not {}", free, engine.free);
    let mut room = Room::default();
    engine.hosts.values().for_each(|host| room.enter(host));
    ensure!(room.order_is(&engine.room), "the index of hosts with room is wrong");
    for class in &engine.classes {
        let best = placement::choose(&engine.hosts, class.needs());
        let found = engine.room.choose(&class.fits);
        ensure!(found == best, "role {} would go to {found:?}, not to {best:?}", class.spec.name);
        let running = in_role.get(&(class.project, class.spec.name.clone())).copied().unwrap_or(0);
        let working = |ix: &TaskIx| {
            let task = engine.at(*ix);
            let run = task.running().filter(|run| run.stage == Stage::Work && run.role == class.spec.name);
            task.project == class.project && run.is_some()
        };
        let working = (0..engine.tasks.len() as TaskIx).filter(working).count();
        ensure!(working == class.working as usize, "role {} is believed to do other work", class.spec.name);
        ensure!(running == class.busy.len() as u32, "role {} is believed to fill other slots", class.spec.name);
        ensure!(running <= class.allowed, "role {} fills more slots than its count", class.spec.name);
    }
    Ok(())
}

fn check_project(engine: &Engine, ix: ProjectIx) -> Result<(), Violation> {
    let project = &engine.projects[ix as usize];
    let name = project.name();
    let mut counts = [0; 8];
    let (mut queue, mut running) = (BTreeSet::new(), 0);
    for &task in &project.tasks {
        counts[engine.at(task).status as usize] += 1;
        running += u32::from(engine.at(task).running().is_some());
        queue.extend(engine.queue_key(task));
    }
    ensure!(counts == project.counts, "the counts of {name} are wrong");
    ensure!(running == project.running && running as usize == project.agents.len(), "agents of {name} are wrong");
    ensure!(queue == project.queue, "the merge queue of {name} is wrong");
    ensure!(project.unlinked.is_empty(), "a plan of {name} is not complete");
    if let Some(front) = project.front {
        ensure!(engine.at(front).approved_at().is_some(), "the front of {name} is not in its queue");
    }
    if let Some(sync) = project.sync.map(|sync| engine.at(sync)) {
        let right = matches!(sync.kind, Kind::Sync { .. }) && !sync.status.is_terminal();
        ensure!(right, "the delivery of {name} waits for {}, which is over", sync.spec.id);
    }
    let prepared = queue.iter().filter(|&&(_, _, t)| engine.at(t).preparing).count();
    ensure!(prepared <= 1, "two tasks in the merge queue of {name} are being prepared");
    ensure!(project.record.head.is_none_or(|h| !project.past.contains(&h)), "the head of {name} is in its past");
    Ok(())
}

fn check_merges(engine: &Engine, project: &Project) -> Result<(), Violation> {
    let name = project.name();
    let mut landed: HashSet<&TaskRef> = HashSet::new();
    let mut in_flight: Option<&AttemptId> = None;
    for merge in &project.merges {
        match merge.state {
            MergeState::Intended => {
                ensure!(in_flight.replace(&merge.attempt).is_none(), "two merges of {name} are in flight");
                ensure!(project.merging == Some(merge.id), "the merge in flight of {name} is not known");
            }
            MergeState::Landed => {
                ensure!(landed.insert(&merge.attempt.task), "{} landed twice", merge.attempt.task);
            }
            MergeState::Lost => {}
        }
    }
    let merging: Vec<_> = project.tasks.iter().map(|&ix| engine.at(ix)).filter(|t| t.merging().is_some()).collect();
    ensure!(merging.len() == usize::from(in_flight.is_some()), "merging tasks of {name} are wrong");
    ensure!(project.merging.is_some() == in_flight.is_some(), "{name} has lost its merge in flight");
    Ok(())
}

/// After a step nothing is left to follow, and the ready sets hold what is ready and nothing else.
fn check_work_lists(engine: &Engine) -> Result<(), Violation> {
    let mut naive = vec![BTreeSet::new(); engine.classes.len()];
    for (class, key) in (0..engine.tasks.len() as TaskIx).filter_map(|task| engine.ready_key(task)) {
        naive[class as usize].insert(key);
    }
    for (ix, class) in engine.classes.iter().enumerate() {
        let ix = ix as u32;
        ensure!(engine.open.contains(&ix) == engine.is_open(ix), "role {} stands wrong", class.spec.name);
        ensure!(
            class.ready.iter().eq(naive[ix as usize].iter().copied()),
            "the ready set of role {} is wrong",
            class.spec.name
        );
    }
    for (ix, project) in engine.projects.iter().enumerate() {
        let due = merge_queue::next(project, &engine.tasks) != merge_queue::Next::Wait;
        ensure!(engine.queues.contains(&(ix as u32)) == due, "the queue of {} stands wrong", project.name());
    }
    Ok(())
}

/// After a step nothing may be left to follow: no merge to ask for, no task that could start.
pub fn check_quiet(engine: &Engine) -> Result<(), Violation> {
    ensure!(engine.unprepared.is_empty() && engine.queues.is_empty(), "a merge is due that nobody asked for");
    ensure!(engine.recheck.is_empty(), "a rejection was not followed up");
    ensure!(engine.pick().is_none(), "a task could start but did not");
    Ok(())
}
