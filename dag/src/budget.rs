//! Whether one more attempt may start without exceeding a limit of money. The cost of an attempt is known when it has
//! ended. So running attempts, and ended attempts that reported no cost, count as much as the most expensive attempt of
//! their role so far. While nothing is known of a role, one attempt at a time runs to learn its cost. A role that never
//! reports costs cannot be limited.
//! Deliberately absent: where the numbers come from (an agent's own claim) and what a user does about it.

use crate::record::Spent;

/// The cost of a role and its running attempts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Account {
    /// Known costs, in millionths of a US dollar.
    pub cost: u64,
    /// Attempts that ended.
    pub ended: u32,
    /// Ended attempts that reported no cost.
    pub unknown: u32,
    /// The cost of the most expensive attempt.
    pub dearest: Option<u64>,
    /// Running attempts.
    pub running: u32,
}

/// Why no attempt may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// The first attempt of the role must show what an attempt costs.
    Learning,
    /// One more attempt would exceed the limit.
    Full {
        /// Spent and estimated, in millionths of a US dollar.
        committed: u64,
        /// The estimate for one more attempt.
        estimate: u64,
    },
}

impl Account {
    /// From the kept sums of a role and its running attempts.
    pub fn new(spent: Option<&Spent>, running: u32) -> Self {
        let Some(spent) = spent else { return Self { running, ..Self::default() } };
        let cost = spent.cost_micros.unwrap_or(0);
        Self { cost, ended: spent.attempts, unknown: spent.unknown, dearest: spent.dearest_micros, running }
    }

    /// The possible cost of one attempt.
    pub fn estimate(&self) -> u64 {
        self.dearest.unwrap_or(0)
    }

    /// Known costs, and an estimate for the rest.
    pub fn committed(&self) -> u64 {
        let open = u64::from(self.unknown) + u64::from(self.running);
        self.cost.saturating_add(self.estimate().saturating_mul(open))
    }
}

/// Checks one limit over some roles. `role` is the role that would start an attempt, and is among them.
pub fn hold(limit: u64, accounts: &[Account], role: &Account) -> Option<Hold> {
    let committed = accounts.iter().fold(0u64, |sum, account| sum.saturating_add(account.committed()));
    let estimate = role.estimate();
    if committed >= limit || committed.saturating_add(estimate) > limit {
        return Some(Hold::Full { committed, estimate });
    }
    (role.ended == 0 && role.running > 0).then_some(Hold::Learning)
}

/// Millionths of a US dollar as `$1.25`.
pub fn dollars(micros: u64) -> String {
    // Amounts below a cent are shown in full, so that a small amount does not look like zero.
    match micros {
        0 => "$0.00".to_owned(),
        1..10_000 => format!("${:.4}", micros as f64 / 1e6),
        _ => format!("${:.2}", micros as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOLLAR: u64 = 1_000_000;

    fn account(cost: u64, ended: u32, unknown: u32, dearest: Option<u64>, running: u32) -> Account {
        Account { cost, ended, unknown, dearest, running }
    }

    #[test]
    fn the_first_of_a_role_runs_alone() {
        let none = account(0, 0, 0, None, 0);
        assert_eq!(hold(DOLLAR, &[none], &none), None);
        let one = account(0, 0, 0, None, 1);
        assert_eq!(hold(DOLLAR, &[one], &one), Some(Hold::Learning));
    }

    #[test]
    fn what_runs_counts_as_the_dearest_so_far() {
        let role = account(DOLLAR, 2, 0, Some(600_000), 1);
        assert_eq!(hold(2_200_000, &[role], &role), None);
        let full = Hold::Full { committed: 1_600_000, estimate: 600_000 };
        assert_eq!(hold(2_199_999, &[role], &role), Some(full));
    }

    #[test]
    fn an_attempt_that_did_not_say_counts_too() {
        let role = account(DOLLAR, 3, 2, Some(DOLLAR), 0);
        assert_eq!(role.committed(), 3 * DOLLAR);
    }

    #[test]
    fn a_role_that_never_says_is_not_held_by_itself() {
        let role = account(0, 3, 3, None, 5);
        assert_eq!(hold(DOLLAR, &[role], &role), None);
    }

    #[test]
    fn other_roles_use_the_same_budget_up() {
        let (mine, other) = (account(0, 1, 0, Some(0), 0), account(DOLLAR, 1, 0, Some(DOLLAR), 0));
        assert_eq!(hold(DOLLAR, &[mine, other], &mine), Some(Hold::Full { committed: DOLLAR, estimate: 0 }));
        assert_eq!(hold(DOLLAR + 1, &[mine, other], &mine), None);
    }

    #[test]
    fn sums_that_no_one_can_pay_do_not_overflow() {
        let role = account(u64::MAX, 9, 9, Some(u64::MAX), 9);
        assert!(matches!(hold(DOLLAR, &[role, role], &role), Some(Hold::Full { .. })));
    }
}
