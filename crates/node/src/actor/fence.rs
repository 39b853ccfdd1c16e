//! Generations: a job that an actor spawns carries the generation of that actor. Once the actor is restarted, the job
//! can no longer act. Deliberately absent: killing the job; it checks before its next act.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// The actor that spawned this job was restarted; its successor repeats the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the job was overtaken by a restart of its actor")]
pub struct Fenced;

/// Counts the incarnations of one actor.
#[derive(Debug, Clone, Default)]
pub struct Generations(Arc<AtomicU64>);

impl Generations {
    /// A new incarnation: closes all earlier fences.
    pub fn next(&self) -> Fence {
        let mine = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        Fence { mine, newest: self.0.clone(), outer: None }
    }
}

/// Checked before every irreversible act.
#[derive(Debug, Clone)]
pub struct Fence {
    mine: u64,
    newest: Arc<AtomicU64>,
    outer: Option<Arc<Fence>>,
}

impl Fence {
    /// Also closes when `outer` closes: the fence of the actor to which this incarnation belongs.
    pub fn within(self, outer: &Fence) -> Self {
        Self { outer: Some(Arc::new(outer.clone())), ..self }
    }

    /// Refuses if a newer incarnation exists.
    pub fn check(&self) -> Result<(), Fenced> {
        if self.newest.load(Ordering::SeqCst) != self.mine {
            return Err(Fenced);
        }
        self.outer.as_ref().map_or(Ok(()), |outer| outer.check())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_incarnation_closes_the_fences_of_the_old() {
        let generations = Generations::default();
        let old = generations.next();
        assert_eq!(old.check(), Ok(()));
        let new = generations.next();
        assert_eq!((old.check(), new.check()), (Err(Fenced), Ok(())));
    }

    #[test]
    fn a_fence_closes_with_the_one_around_it() {
        let (parents, children) = (Generations::default(), Generations::default());
        let parent = parents.next();
        let child = children.next().within(&parent);
        assert_eq!(child.check(), Ok(()));
        drop(parents.next());
        assert_eq!(child.check(), Err(Fenced));
    }
}
