//! The cost of attempts, and what keeps work from starting: a parked provider, a role's `max_cost`, a project's
//! `budget`. Checks continue: they use no model. The sums stay when attempts are forgotten.
//! Deliberately absent: the rule itself (`budget`).

use super::{
    Engine,
    compose::utc,
    state::{ClassIx, Project, Task, TaskIx},
    touched::Touched,
};
use crate::{
    attempt::{Outcome, Stage, Usage},
    budget::{Account, Hold, dollars, hold},
    ids::RoleName,
    record::{ProviderRecord, Spent},
};

/// Removed roles whose spending is kept apart: 16 take 2 KiB of the project's record.
const GONE_KEPT: usize = 16;

/// The user's next step when a limit is reached.
pub(super) const RAISE: &str = "devstack plan submit PLAN, with the limit raised in it";

/// What keeps the work of a role from starting.
pub(crate) enum Held<'a> {
    /// Its provider is parked.
    Parked(&'a ProviderRecord),
    /// Its `max_cost`: the limit, and why.
    Role(u64, Hold),
    /// The project's `budget`: the limit, and why.
    Project(u64, Hold),
}

impl Engine {
    /// What keeps a class's work from starting now.
    pub(crate) fn hold_of(&self, ix: ClassIx) -> Option<Held<'_>> {
        if let Some(parked) = self.parked(ix) {
            return Some(Held::Parked(parked));
        }
        let class = &self.classes[ix as usize];
        let project = &self.projects[class.project as usize];
        let budget = project.record.spec.budget_micros;
        if class.spec.max_cost_micros.is_none() && budget.is_none() {
            return None;
        }
        let mine = self.account_of(project, &class.spec.name);
        let of_role = class.spec.max_cost_micros.and_then(|max| Some(Held::Role(max, hold(max, &[mine], &mine)?)));
        of_role.or_else(|| {
            let budget = budget?;
            Some(Held::Project(budget, hold(budget, &self.accounts(project), &mine)?))
        })
    }

    fn account_of(&self, project: &Project, role: &RoleName) -> Account {
        let working = project.classes.get(role).map_or(0, |&ix| self.classes[ix as usize].working);
        Account::new(project.record.spent.iter().find(|spent| spent.role == *role), working)
    }

    /// The spending of all roles, including removed ones.
    fn accounts(&self, project: &Project) -> Vec<Account> {
        let gone =
            project.record.spent.iter().map(|spent| &spent.role).filter(|role| !project.classes.contains_key(*role));
        project.classes.keys().chain(gone).map(|role| self.account_of(project, role)).collect()
    }

    /// An attempt of a class started or ended: with a project budget this affects every class.
    pub(super) fn refresh_spending(&mut self, ix: ClassIx) {
        let project = &self.projects[self.classes[ix as usize].project as usize];
        if project.record.spec.budget_micros.is_none() {
            return self.refresh_class(ix);
        }
        let classes: Vec<ClassIx> = project.classes.values().copied().collect();
        classes.into_iter().for_each(|class| self.refresh_class(class));
    }

    /// Books the usage of a work attempt, before its slot is free.
    pub(super) fn account(
        &mut self,
        ix: TaskIx,
        role: &RoleName,
        outcome: &Outcome,
        usage: Option<&Usage>,
        touched: &mut Touched,
    ) {
        let p = self.at(ix).project;
        let project = &mut self.projects[p as usize];
        let spec = project.classes.get(role).map(|&class| &self.classes[class as usize].spec);
        let limited = project.record.spec.budget_micros.is_some()
            || spec.is_some_and(|spec| spec.profile.is_some() || spec.max_cost_micros.is_some());
        let refused = matches!(outcome, Outcome::RateLimited { .. });
        if usage.is_none() && (refused || !limited) {
            return;
        }
        let (spent, classes) = (&mut project.record.spent, &project.classes);
        if spent.iter().all(|spent| spent.role != *role) {
            fold_gone(spent, |role| !classes.contains_key(role));
        }
        let at = spent.iter().position(|spent| spent.role == *role).unwrap_or_else(|| {
            spent.push(Spent::new(role.clone()));
            spent.len() - 1
        });
        spent[at].add(usage, refused);
        touched.project(p);
    }

    /// Why a ready task does not start, as a sentence; `None`: only a free slot is missing, or the task is not ready.
    pub(super) fn held(&self, task: &Task) -> Option<String> {
        let (class, key) = task.ready?;
        if key.stage() == Stage::Check {
            return None;
        }
        let role = &self.classes[class as usize].spec.name;
        Some(match self.hold_of(class)? {
            Held::Parked(parked) => self.explain_parked(task, parked),
            Held::Role(max, why) => {
                format!("it is ready, but {}", reached(&format!("`max_cost` of `{role}`"), max, why))
            }
            Held::Project(max, why) => format!("it is ready, but {}", reached("the project's `budget`", max, why)),
        })
    }

    fn explain_parked(&self, task: &Task, parked: &ProviderRecord) -> String {
        let project = self.project_of(task).name();
        let until = parked.until.map_or_else(String::new, |until| format!(" until {}", utc(until)));
        let ProviderRecord { provider, reason, .. } = parked;
        format!(
            "it is ready, but the provider `{provider}` is parked{until} ({reason}); \
             `devstack project resume {project}` retries now"
        )
    }

    /// Whether the task is ready but out of money, and no running attempt could free some.
    pub(super) fn out_of_money(&self, task: &Task) -> bool {
        let Some((class, key)) = task.ready else { return false };
        let held = || {
            matches!(self.hold_of(class), Some(Held::Role(_, Hold::Full { .. }) | Held::Project(_, Hold::Full { .. })))
        };
        key.stage() == Stage::Work && self.project_of(task).running == 0 && held()
    }

    /// Limits that keep ready work from starting and that only a user can raise.
    pub(super) fn limits_reached(&self, project: &Project) -> Vec<String> {
        let mut reasons: Vec<String> = Vec::new();
        for (role, &ix) in project.classes.iter().filter(|_| project.running == 0) {
            if self.classes[ix as usize].ready.first_work().is_none() {
                continue;
            }
            match self.hold_of(ix) {
                Some(Held::Role(max, why @ Hold::Full { .. })) => {
                    reasons.push(reached(&format!("`max_cost` of `{role}`"), max, why));
                }
                Some(Held::Project(max, why @ Hold::Full { .. })) => {
                    reasons.push(reached("the project's `budget`", max, why));
                }
                _ => {}
            }
        }
        reasons.sort_unstable();
        reasons.dedup();
        reasons
    }
}

/// Roles come and go with plans, but their spending stays: when more than [`GONE_KEPT`] removed roles exist, the
/// spending of further ones is added to the first of them. The project's sum is unchanged; a role that returns starts
/// anew.
fn fold_gone(spent: &mut Vec<Spent>, is_gone: impl Fn(&RoleName) -> bool) {
    while spent.iter().filter(|spent| is_gone(&spent.role)).count() > GONE_KEPT {
        let mut gone = (0..spent.len()).filter(|&n| is_gone(&spent[n].role));
        let (Some(first), Some(second)) = (gone.next(), gone.next()) else { return };
        let other = spent.remove(second);
        spent[first].take_over(&other);
    }
}

fn reached(what: &str, limit: u64, why: Hold) -> String {
    let limit = dollars(limit);
    match why {
        Hold::Learning => format!("{what} ({limit}) allows only one attempt at first, to learn what an attempt costs"),
        Hold::Full { committed, estimate: 0 } => {
            format!("{what} of {limit} is used up: {} spent", dollars(committed))
        }
        Hold::Full { committed, estimate } => format!(
            "{what} of {limit} would be exceeded: {} spent or reserved, and the next attempt may cost {}",
            dollars(committed),
            dollars(estimate)
        ),
    }
}

impl Spent {
    pub(super) fn new(role: RoleName) -> Self {
        Self {
            role,
            attempts: 0,
            unknown: 0,
            input_tokens: None,
            output_tokens: None,
            cache_read_tokens: None,
            cache_write_tokens: None,
            cost_micros: None,
            dearest_micros: None,
        }
    }

    /// Adds another role's spending.
    fn take_over(&mut self, other: &Self) {
        self.attempts = self.attempts.saturating_add(other.attempts);
        self.unknown = self.unknown.saturating_add(other.unknown);
        self.dearest_micros = self.dearest_micros.max(other.dearest_micros);
        for (sum, more) in [
            (&mut self.input_tokens, other.input_tokens),
            (&mut self.output_tokens, other.output_tokens),
            (&mut self.cache_read_tokens, other.cache_read_tokens),
            (&mut self.cache_write_tokens, other.cache_write_tokens),
            (&mut self.cost_micros, other.cost_micros),
        ] {
            if let Some(more) = more {
                *sum = Some(sum.unwrap_or(0).saturating_add(more));
            }
        }
    }

    /// Adds one attempt. A refused attempt costs something only if it reports a cost.
    fn add(&mut self, usage: Option<&Usage>, refused: bool) {
        let nothing = Usage::default();
        let usage = usage.unwrap_or(&nothing);
        if !refused || usage.cost_micros.is_some() {
            self.attempts = self.attempts.saturating_add(1);
            self.unknown = self.unknown.saturating_add(u32::from(usage.cost_micros.is_none()));
            self.dearest_micros = self.dearest_micros.max(usage.cost_micros);
        }
        for (sum, more) in [
            (&mut self.input_tokens, usage.input_tokens),
            (&mut self.output_tokens, usage.output_tokens),
            (&mut self.cache_read_tokens, usage.cache_read_tokens),
            (&mut self.cache_write_tokens, usage.cache_write_tokens),
            (&mut self.cost_micros, usage.cost_micros),
        ] {
            if let Some(more) = more {
                *sum = Some(sum.unwrap_or(0).saturating_add(more));
            }
        }
    }
}
