//! The room of those who have not yet shown who they are. It is bounded, and when it is full the one who has waited
//! longest goes: a real client needs milliseconds, so a crowd of silent ones keeps nobody out.
//! Deliberately absent: limits per address; many clients stand behind one.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, OnceCell, OwnedSemaphorePermit, Semaphore};

/// The room, and the seats behind it.
#[derive(Debug)]
pub struct WaitingRoom {
    capacity: usize,
    seats: Arc<Semaphore>,
    guests: Mutex<Guests>,
}

/// Who waits, in the order of their arrival.
#[derive(Debug, Default)]
struct Guests {
    next_id: u64,
    waiting: VecDeque<(u64, Arc<Notify>)>,
}

/// One connection, from its arrival to its end.
#[derive(Debug)]
pub struct Guest {
    room: Arc<WaitingRoom>,
    id: u64,
    evicted: Arc<Notify>,
    seat: OnceCell<OwnedSemaphorePermit>,
}

impl WaitingRoom {
    /// Room for `capacity` guests, and `seats` for those who are welcome.
    pub fn new(capacity: usize, seats: usize) -> Arc<Self> {
        Arc::new(Self { capacity, seats: Arc::new(Semaphore::new(seats)), guests: Mutex::default() })
    }

    /// A new guest; the one who has waited longest goes if there is no room.
    pub fn enter(self: &Arc<Self>) -> Guest {
        let evicted = Arc::new(Notify::new());
        let mut guests = self.guests();
        let id = guests.next_id;
        guests.next_id += 1;
        if guests.waiting.len() >= self.capacity
            && let Some((_, oldest)) = guests.waiting.pop_front()
        {
            oldest.notify_one();
        }
        guests.waiting.push_back((id, evicted.clone()));
        drop(guests);
        Guest { room: self.clone(), id, evicted, seat: OnceCell::new() }
    }

    fn leave(&self, id: u64) {
        self.guests().waiting.retain(|(waiting, _)| *waiting != id);
    }

    fn guests(&self) -> MutexGuard<'_, Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guest {
    /// It has shown who it is: it leaves the room for a seat, which it keeps. Waits while all seats are taken. Again is
    /// no more.
    pub async fn welcome(&self) {
        let sit = || async {
            let seat = self.room.seats.clone().acquire_owned().await?;
            self.room.leave(self.id);
            Ok::<_, tokio::sync::AcquireError>(seat)
        };
        // The seats are never closed; a guest without one would only go on waiting in the room.
        let _ = self.seat.get_or_try_init(sit).await;
    }

    /// Returns when it has to go.
    pub async fn evicted(&self) {
        self.evicted.notified().await;
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.room.leave(self.id);
    }
}

#[cfg(test)]
mod tests {
    use futures::poll;

    use super::*;

    #[tokio::test]
    async fn the_one_who_waited_longest_goes() {
        let room = WaitingRoom::new(2, 1);
        let (first, second) = (room.enter(), room.enter());
        first.welcome().await;
        first.welcome().await;
        let (third, fourth) = (room.enter(), room.enter());
        assert!(poll!(std::pin::pin!(second.evicted())).is_ready());
        for stays in [&first, &third, &fourth] {
            assert!(poll!(std::pin::pin!(stays.evicted())).is_pending());
        }
        drop(third);
        let _fifth = room.enter();
        assert!(poll!(std::pin::pin!(fourth.evicted())).is_pending(), "who left made room");
    }

    #[tokio::test]
    async fn seats_are_given_back() {
        let room = WaitingRoom::new(8, 1);
        let (first, second) = (room.enter(), room.enter());
        first.welcome().await;
        let waiting = second.welcome();
        tokio::pin!(waiting);
        assert!(poll!(&mut waiting).is_pending());
        drop(first);
        waiting.await;
    }
}
