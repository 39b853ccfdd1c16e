//! Generations: a job spawned by an actor carries the generation of that actor and cannot act any more once the
//! actor was restarted. Deliberately absent: killing the job; it finds out before its next act.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// The actor that spawned this job was restarted; its successor does the work anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the job was overtaken by a restart of its actor")]
pub struct Fenced;

/// Counts the incarnations of one actor.
#[derive(Debug, Clone, Default)]
pub struct Generations(Arc<AtomicU64>);

impl Generations {
    /// A new incarnation: all fences handed out before are closed.
    pub fn next(&self) -> Fence {
        let mine = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        Fence { mine, newest: self.0.clone(), outer: None }
    }
}

/// Checked before every act that cannot be taken back.
#[derive(Debug, Clone)]
pub struct Fence {
    mine: u64,
    newest: Arc<AtomicU64>,
    outer: Option<Arc<Fence>>,
}

impl Fence {
    /// Closes with this one too: the fence of the actor that the incarnation belongs to.
    pub fn within(self, outer: &Fence) -> Self {
        Self { outer: Some(Arc::new(outer.clone())), ..self }
    }

    /// Refuses when a newer incarnation exists.
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
