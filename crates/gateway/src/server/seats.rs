//! Limits the connections of authenticated callers: a number for each token, agent host and user, and a reserve for
//! admins and agent hosts. If there is no free seat, the connection that has been idle longest is closed; no running
//! request is ended. Time is an argument.
//! Deliberately absent: unauthenticated clients ([`waiting`](super::waiting)), and requests.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::Notify;

use crate::throttle::Who;
use devstack_config::node::Limits;

/// The limits on connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Places {
    all: usize,
    /// The number of these seats reserved for admins and agent hosts.
    reserved: usize,
    token: usize,
    member: usize,
    user: usize,
    /// How long a connection can be idle while at least half of all seats are taken, in milliseconds.
    idle: u64,
}

impl Places {
    fn new(limits: &Limits) -> Self {
        let count = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
        let all = count(limits.connections);
        Self {
            all,
            // Even a small number of seats leaves some for everyone.
            reserved: count(limits.reserved_connections).min(all / 2),
            token: count(limits.token_connections),
            member: count(limits.member_connections),
            user: count(limits.user_connections),
            idle: limits.connection_idle,
        }
    }

    fn of(&self, who: &Who) -> usize {
        match who {
            Who::Token(_) => self.token,
            Who::Node(_) => self.member,
            Who::Local(_) => self.user,
            // Strangers get no seats.
            Who::Stranger(_) => 0,
        }
    }
}

/// All seats of a listener.
#[derive(Debug)]
pub(super) struct Seats {
    start: Instant,
    table: Mutex<Table>,
    /// Notified whenever a seat becomes free.
    freed: Notify,
}

/// A taken seat. Dropping it frees the seat.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    number: u64,
}

#[derive(Debug)]
struct Table {
    places: Places,
    next: u64,
    taken: HashMap<u64, Taken>,
    of: HashMap<Who, usize>,
    /// The number of seats taken by callers without a reserve.
    ordinary: usize,
}

#[derive(Debug)]
struct Taken {
    who: Who,
    has_reserve: bool,
    /// The time since when the connection is idle, in milliseconds.
    idle_since: Option<u64>,
    told_to_go: Arc<Notify>,
}

impl Seats {
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        let table =
            Table { places: Places::new(limits), next: 0, taken: HashMap::new(), of: HashMap::new(), ordinary: 0 };
        Arc::new(Self { start: Instant::now(), table: Mutex::new(table), freed: Notify::new() })
    }

    /// Waits for a seat for this caller. `told_to_go` is notified when another connection needs the seat.
    pub(super) async fn sit(self: &Arc<Self>, who: &Who, has_reserve: bool, told_to_go: &Arc<Notify>) -> Seat {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // From here on no notification is missed.
            freed.as_mut().enable();
            if let Some(number) = self.table().sit(who, has_reserve, told_to_go, self.now()) {
                return Seat { seats: self.clone(), number };
            }
            // A connection that is busy now can be idle in a moment.
            freed.await;
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// A request begins, or its response was sent completely.
    pub(super) fn is_busy(&self, busy: bool) {
        let now = self.seats.now();
        if let Some(taken) = self.seats.table().taken.get_mut(&self.number) {
            taken.idle_since = (!busy).then_some(now);
        }
        if !busy {
            // The idle connection can be closed for a waiting one.
            self.seats.freed.notify_waiters();
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.table().leave(self.number);
        self.seats.freed.notify_waiters();
    }
}

impl Table {
    /// Takes a seat now, and returns its number; `None`: no seat is free, and no connection is idle.
    fn sit(&mut self, who: &Who, has_reserve: bool, told_to_go: &Arc<Notify>, now: u64) -> Option<u64> {
        if self.taken.len() * 2 > self.places.all {
            self.end_idle(now);
        }
        if self.of.get(who).is_some_and(|taken| *taken >= self.places.of(who)) {
            self.make_room(|taken| taken.who == *who)?;
        }
        while !self.has_room(has_reserve) {
            // First a connection without a reserve, which must not use the reserve.
            self.make_room(|taken| !taken.has_reserve)
                .or_else(|| if has_reserve { self.make_room(|_| true) } else { None })?;
        }
        let number = self.next;
        self.next += 1;
        *self.of.entry(who.clone()).or_default() += 1;
        self.ordinary += usize::from(!has_reserve);
        let taken = Taken { who: who.clone(), has_reserve, idle_since: None, told_to_go: told_to_go.clone() };
        self.taken.insert(number, taken);
        Some(number)
    }

    fn has_room(&self, has_reserve: bool) -> bool {
        self.taken.len() < self.places.all && (has_reserve || self.ordinary < self.places.all - self.places.reserved)
    }

    /// Closes connections that have been idle too long.
    fn end_idle(&mut self, now: u64) {
        let is_over = |since: u64| now.saturating_sub(since) > self.places.idle;
        let over = self.taken.iter().filter(|(_, taken)| taken.idle_since.is_some_and(is_over));
        let over: Vec<u64> = over.map(|(number, _)| *number).collect();
        over.into_iter().for_each(|number| self.send_away(number));
    }

    /// Closes the one of these connections that has been idle longest; `None`: all are busy.
    fn make_room(&mut self, of: impl Fn(&Taken) -> bool) -> Option<()> {
        let idle = self.taken.iter().filter(|(_, taken)| of(taken));
        let idle = idle.filter_map(|(number, taken)| Some((taken.idle_since?, *number)));
        let (_, number) = idle.min()?;
        self.send_away(number);
        Some(())
    }

    fn send_away(&mut self, number: u64) {
        if let Some(taken) = self.leave(number) {
            taken.told_to_go.notify_one();
        }
    }

    /// `None`: the connection was closed before.
    fn leave(&mut self, number: u64) -> Option<Taken> {
        let taken = self.taken.remove(&number)?;
        self.ordinary -= usize::from(!taken.has_reserve);
        if let Some(count) = self.of.get_mut(&taken.who) {
            *count -= 1;
            if *count == 0 {
                self.of.remove(&taken.who);
            }
        }
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// An event that has not come after this time does not come at all.
    const MOMENT: Duration = Duration::from_millis(50);

    fn seats(connections: u64, reserved_connections: u64, token_connections: u64) -> Arc<Seats> {
        Seats::new(&Limits { connections, reserved_connections, token_connections, ..Limits::default() })
    }

    fn token(name: &str) -> Who {
        Who::Token(name.into())
    }

    async fn sit(seats: &Arc<Seats>, who: &Who, has_reserve: bool) -> Option<(Seat, Arc<Notify>)> {
        let told = Arc::new(Notify::new());
        let seat = tokio::time::timeout(MOMENT, seats.sit(who, has_reserve, &told)).await.ok()?;
        Some((seat, told))
    }

    async fn is_told(told: &Notify) -> bool {
        tokio::time::timeout(MOMENT, told.notified()).await.is_ok()
    }

    #[tokio::test]
    async fn each_has_so_many_and_its_own_idle_ones_make_room() {
        let seats = seats(100, 0, 2);
        let (one, other) = (token("one"), token("other"));
        let (first, told_first) = sit(&seats, &one, false).await.unwrap();
        let (_second, told_second) = sit(&seats, &one, false).await.unwrap();
        assert!(sit(&seats, &one, false).await.is_none(), "two are its share");
        assert!(sit(&seats, &other, false).await.is_some());
        first.is_busy(false);
        let _third = sit(&seats, &one, false).await.unwrap();
        assert!(is_told(&told_first).await && !is_told(&told_second).await);
        // A seat that was given to another connection is not freed again.
        drop(first);
        assert!(sit(&seats, &one, false).await.is_none());
    }

    #[tokio::test]
    async fn some_are_kept_for_those_who_have_a_reserve() {
        let seats = seats(4, 2, 16);
        let held = [sit(&seats, &token("a"), false).await, sit(&seats, &token("b"), false).await];
        assert!(held.iter().all(Option::is_some));
        assert!(sit(&seats, &token("c"), false).await.is_none(), "the others are reserved");
        let member = Who::Node("h1".into());
        let kept = [sit(&seats, &token("admin"), true).await, sit(&seats, &member, true).await];
        assert!(kept.iter().all(Option::is_some));
        assert!(sit(&seats, &member, true).await.is_none(), "all are busy");
        held[0].as_ref().unwrap().0.is_busy(false);
        assert!(sit(&seats, &member, true).await.is_some());
        assert!(is_told(&held[0].as_ref().unwrap().1).await);
    }

    #[tokio::test]
    async fn who_waits_gets_what_becomes_free() {
        let seats = seats(1, 0, 16);
        let (first, _) = sit(&seats, &token("a"), false).await.unwrap();
        let told = Arc::new(Notify::new());
        let waiting = tokio::spawn({
            let seats = seats.clone();
            async move { seats.sit(&token("b"), false, &told).await }
        });
        tokio::task::yield_now().await;
        drop(first);
        waiting.await.unwrap();
        assert!(seats.table().taken.is_empty() && seats.table().of.is_empty() && seats.table().ordinary == 0);
    }

    #[test]
    fn idle_ones_end_where_half_is_taken() {
        let seats = seats(4, 0, 16);
        let mut table = seats.table();
        let told: Vec<Arc<Notify>> = (0..4).map(|_| Arc::default()).collect();
        for (number, told) in told.iter().enumerate() {
            assert_eq!(table.sit(&token("a"), false, told, 0), Some(number as u64));
            table.taken.get_mut(&(number as u64)).unwrap().idle_since = Some(number as u64 * 10_000);
        }
        // At 16 s only the first has been idle for more than 15 s.
        table.end_idle(16_000);
        assert_eq!(table.taken.len(), 3);
        assert!(!table.taken.contains_key(&0));
    }
}
