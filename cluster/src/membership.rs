//! The state of each member: ALIVE, SUSPECT once it is silent, LOST when the silence lasts too long. Pure: time is an
//! argument, from a clock that does not jump (CLOCK_BOOTTIME). Deliberately absent: links, and what happens to the work
//! of a lost member.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::NodeName;

/// The state of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// A message arrived recently.
    Alive,
    /// The member is silent: its state is unknown. It may still come back with its work.
    Suspect,
    /// The member was silent for too long: others do its work.
    Lost,
}

/// A change of a member's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The member.
    pub name: NodeName,
    /// The new state.
    pub standing: Standing,
    /// How long it was SUSPECT; zero unless it is LOST.
    pub silent: Duration,
}

/// How long members may be silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leases {
    /// Silent for this long: SUSPECT. 8 s: a link ends after 6 s of silence, and its end counts at once, so this
    /// matters only where a link lives and its node sends nothing.
    pub suspect_after: Duration,
    /// SUSPECT for this long: LOST. 120 s: longer than a reboot of a virtual machine or a switch.
    pub max_disconnect: Duration,
}

impl Default for Leases {
    fn default() -> Self {
        Self { suspect_after: Duration::from_secs(8), max_disconnect: Duration::from_secs(120) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Member {
    standing: Standing,
    /// When the current state began; for a LOST member, when it went silent.
    since: Duration,
    /// When the state changes next if nothing is heard; `None` for a lost member.
    due: Option<Duration>,
}

/// The members. Only [`Membership::due`] returns changes, each once, in the order of their times.
#[derive(Debug, Clone)]
pub struct Membership {
    leases: Leases,
    members: BTreeMap<NodeName, Member>,
    by_due: BTreeSet<(Duration, NodeName)>,
    changes: Vec<Change>,
}

impl Membership {
    /// Starts without members.
    pub fn new(leases: Leases) -> Self {
        Self { leases, members: BTreeMap::new(), by_due: BTreeSet::new(), changes: Vec::new() }
    }

    /// The state of a member; `None` for a stranger.
    pub fn standing(&self, name: &NodeName) -> Option<Standing> {
        self.members.get(name).map(|member| member.standing)
    }

    /// All members, by name.
    pub fn members(&self) -> impl Iterator<Item = (&NodeName, Standing)> {
        self.members.iter().map(|(name, member)| (name, member.standing))
    }

    /// A message arrived: the member is ALIVE, whatever it was, with a full lease.
    pub fn heard(&mut self, now: Duration, name: &NodeName) {
        self.pass(now);
        self.put(name, Standing::Alive, now, Some(now + self.leases.suspect_after));
    }

    /// The link went down: the member is SUSPECT at once, counted from now, unless it was already silent.
    pub fn silent(&mut self, now: Duration, name: &NodeName) {
        self.pass(now);
        if self.standing(name) == Some(Standing::Alive) {
            self.put(name, Standing::Suspect, now, Some(now + self.leases.max_disconnect));
        }
    }

    /// A silent member becomes LOST when it was SUSPECT for this long in total, whatever the leases say; a LOST member
    /// becomes SUSPECT again until then. No effect on an ALIVE member.
    pub fn wait(&mut self, name: &NodeName, silent: Duration) {
        let Some(member) = self.members.get(name).filter(|member| member.standing != Standing::Alive) else { return };
        let since = member.since;
        // Only news is a change: that the member is silent was known.
        let changes = std::mem::take(&mut self.changes);
        self.put(name, Standing::Suspect, since, Some(since + silent));
        self.changes = changes;
    }

    /// The member is known from before this process: SUSPECT, because nothing was heard yet, with a full lease to come
    /// back. A known member stays as it is.
    pub fn expect(&mut self, now: Duration, name: &NodeName) {
        self.pass(now);
        if self.standing(name).is_none() {
            self.put(name, Standing::Suspect, now, Some(now + self.leases.max_disconnect));
        }
    }

    /// The member leaves. This is not reported as a change.
    pub fn remove(&mut self, name: &NodeName) {
        if let Some(Member { due: Some(due), .. }) = self.members.remove(name) {
            self.by_due.remove(&(due, name.clone()));
        }
        self.changes.retain(|change| change.name != *name);
    }

    /// The changes until now.
    pub fn due(&mut self, now: Duration) -> Vec<Change> {
        self.pass(now);
        std::mem::take(&mut self.changes)
    }

    /// When the next change happens if nothing is heard: call [`Self::due`] then. In the past if changes are waiting.
    pub fn next_due(&self) -> Option<Duration> {
        if !self.changes.is_empty() {
            return Some(Duration::ZERO);
        }
        self.by_due.first().map(|(due, _)| *due)
    }

    /// Advances the time.
    fn pass(&mut self, now: Duration) {
        while let Some((due, name)) = self.by_due.first().filter(|(due, _)| *due <= now).cloned() {
            match self.members.get(&name) {
                // From the moment it became silent, not from the moment of the check.
                Some(Member { standing: Standing::Alive, .. }) => {
                    self.put(&name, Standing::Suspect, due, Some(due + self.leases.max_disconnect));
                }
                silent => {
                    let since = silent.map_or(due, |member| member.since);
                    self.put(&name, Standing::Lost, since, None);
                    if let Some(change) = self.changes.last_mut() {
                        change.silent = due.saturating_sub(since);
                    }
                }
            }
        }
    }

    fn put(&mut self, name: &NodeName, standing: Standing, since: Duration, due: Option<Duration>) {
        let before = self.members.insert(name.clone(), Member { standing, since, due });
        if let Some(due) = before.and_then(|before| before.due) {
            self.by_due.remove(&(due, name.clone()));
        }
        if let Some(due) = due {
            self.by_due.insert((due, name.clone()));
        }
        if before.map(|before| before.standing) != Some(standing) {
            self.changes.push(Change { name: name.clone(), standing, silent: Duration::ZERO });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LEASES: Leases = Leases { suspect_after: Duration::from_secs(8), max_disconnect: Duration::from_secs(120) };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn node(text: &str) -> NodeName {
        NodeName::new(text).unwrap()
    }

    fn standings(changes: Vec<Change>) -> Vec<Standing> {
        changes.into_iter().map(|change| change.standing).collect()
    }

    #[test]
    fn silence_makes_suspect_and_then_lost() {
        use Standing::{Alive, Lost, Suspect};
        let (mut all, a) = (Membership::new(LEASES), node("a"));
        all.heard(at(0), &a);
        assert_eq!(standings(all.due(at(0))), [Alive]);
        assert_eq!((all.next_due(), all.due(at(7))), (Some(at(8)), vec![]));
        assert_eq!(standings(all.due(at(8))), [Suspect]);
        assert_eq!((all.next_due(), all.due(at(127))), (Some(at(128)), vec![]));
        assert_eq!(standings(all.due(at(128))), [Lost]);
        assert_eq!(all.next_due(), None);
        all.silent(at(129), &a);
        assert_eq!(all.due(at(999)), [], "lost stays lost");
        all.heard(at(1000), &a);
        assert_eq!(standings(all.due(at(1000))), [Alive]);
    }

    #[test]
    fn a_link_that_ends_counts_at_once() {
        let (mut all, a) = (Membership::new(LEASES), node("a"));
        all.heard(at(0), &a);
        all.silent(at(1), &a);
        all.silent(at(100), &a);
        assert_eq!(all.standing(&a), Some(Standing::Suspect));
        assert_eq!(all.next_due(), Some(Duration::ZERO), "changes wait");
        all.due(at(100));
        assert_eq!(all.next_due(), Some(at(121)), "from the first silence");
    }

    #[test]
    fn who_is_waited_for_longer_is_lost_later_and_may_be_waited_for_again() {
        use Standing::{Alive, Lost, Suspect};
        let (mut all, a) = (Membership::new(LEASES), node("a"));
        let lost =
            |all: &mut Membership, now| all.due(at(now)).iter().map(|c| (c.standing, c.silent)).collect::<Vec<_>>();
        all.heard(at(0), &a);
        all.wait(&a, at(1));
        all.silent(at(5), &a);
        assert_eq!(standings(all.due(at(5))), [Alive, Suspect], "who is there is not waited for");
        all.wait(&a, at(30));
        assert_eq!((all.next_due(), all.due(at(34))), (Some(at(35)), vec![]));
        assert_eq!(lost(&mut all, 35), [(Lost, at(30))]);
        all.wait(&a, at(600));
        assert_eq!((all.standing(&a), all.due(at(604))), (Some(Suspect), vec![]), "that it is silent is known");
        assert_eq!(lost(&mut all, 700), [(Lost, at(600))], "as it was due, whenever somebody looks");
        all.heard(at(701), &a);
        assert_eq!(standings(all.due(at(701))), [Alive]);
        all.silent(at(702), &a);
        assert_eq!(all.next_due(), Some(Duration::ZERO));
        all.due(at(702));
        assert_eq!(all.next_due(), Some(at(822)), "the next silence is waited for as the leases say");
    }

    #[test]
    fn after_a_restart_everybody_has_a_full_lease() {
        let (mut all, a) = (Membership::new(LEASES), node("a"));
        all.expect(at(50), &a);
        assert_eq!(standings(all.due(at(169))), [Standing::Suspect]);
        all.expect(at(169), &a);
        assert_eq!(standings(all.due(at(170))), [Standing::Lost]);
    }

    #[test]
    fn a_removed_member_is_a_stranger() {
        let (mut all, a) = (Membership::new(LEASES), node("a"));
        all.heard(at(0), &a);
        all.remove(&a);
        assert_eq!((all.standing(&a), all.due(at(999)), all.next_due()), (None, vec![], None));
        all.silent(at(1000), &a);
        assert_eq!(all.standing(&a), None);
    }

    #[test]
    fn a_late_look_sees_both_changes() {
        let (mut all, a) = (Membership::new(LEASES), node("a"));
        all.heard(at(0), &a);
        use Standing::{Alive, Lost, Suspect};
        assert_eq!(standings(all.due(at(128))), [Alive, Suspect, Lost]);
    }

    proptest! {
        /// Compares with a model that remembers only when each member was heard and when it went silent.
        #[test]
        fn standings_follow_from_times(steps in prop::collection::vec((0_u8..4, 0_usize..3, 0_u64..60), 0..80)) {
            let names = ["a", "b", "c"].map(node);
            let mut all = Membership::new(LEASES);
            // When the silence began; `None` for a stranger.
            let mut silent_from: [Option<Duration>; 3] = [None; 3];
            let mut shown: BTreeMap<NodeName, Standing> = BTreeMap::new();
            let mut now = Duration::ZERO;
            for (step, who, seconds) in steps {
                now += at(seconds);
                let (name, model) = (&names[who], &mut silent_from[who]);
                match step {
                    0 => {
                        all.heard(now, name);
                        *model = Some(now + LEASES.suspect_after);
                    }
                    1 => {
                        all.silent(now, name);
                        *model = model.map(|from| from.min(now));
                    }
                    2 => {
                        all.expect(now, name);
                        *model = Some(model.unwrap_or(now));
                    }
                    _ => {
                        all.remove(name);
                        shown.remove(name);
                        *model = None;
                    }
                }
                for Change { name, standing, .. } in all.due(now) {
                    prop_assert_ne!(shown.insert(name, standing), Some(standing), "each change once");
                }
                for (name, model) in names.iter().zip(silent_from) {
                    let expected = model.map(|from| match () {
                        () if now < from => Standing::Alive,
                        () if now < from + LEASES.max_disconnect => Standing::Suspect,
                        () => Standing::Lost,
                    });
                    prop_assert_eq!(all.standing(name), expected);
                    prop_assert_eq!(shown.get(name).copied(), expected);
                }
                prop_assert!(all.next_due().is_none_or(|due| due > now));
            }
        }
    }
}
