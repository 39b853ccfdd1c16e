//! The waiting room for unauthenticated clients. Its size is bounded. When the room is full, one client must leave: of
//! the addresses with more than their share, the client that has waited longest; if there is no such address, the one
//! that has waited longest of all. A real client needs milliseconds, so a crowd of silent clients keeps nobody out.
//! Deliberately absent: a limit per address while there is room; many clients can share an address.

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, OnceCell};

use super::seats::{Seat, Seats};
use crate::throttle::Who;
use devstack_config::node::Limits;

/// The waiting room, and the seats behind it.
#[derive(Debug)]
pub struct WaitingRoom {
    capacity: usize,
    /// The maximum number of clients of one address when the room is full.
    share: usize,
    seats: Arc<Seats>,
    guests: Mutex<Guests>,
}

/// The waiting clients, in the order of arrival.
#[derive(Debug, Default)]
struct Guests {
    next_id: u64,
    waiting: VecDeque<(u64, Option<IpAddr>, Arc<Notify>)>,
}

/// One connection, from its arrival to its end.
#[derive(Debug)]
pub struct Guest {
    room: Arc<WaitingRoom>,
    id: u64,
    evicted: Arc<Notify>,
    seat: OnceCell<Seat>,
}

/// A request of a connection, until its response was sent completely.
#[derive(Debug)]
pub(super) struct Busy(Arc<Guest>);

impl WaitingRoom {
    /// Room for `capacity` guests, and seats for authenticated callers.
    pub fn new(capacity: usize, limits: &Limits) -> Arc<Self> {
        let share = usize::try_from(limits.address_connections).unwrap_or(usize::MAX);
        Arc::new(Self { capacity, share, seats: Seats::new(limits), guests: Mutex::default() })
    }

    /// Admits a new guest from this address. Another guest leaves if the room is full.
    pub fn enter(self: &Arc<Self>, address: Option<IpAddr>) -> Guest {
        let evicted = Arc::new(Notify::new());
        let mut guests = self.guests();
        let id = guests.next_id;
        guests.next_id += 1;
        if guests.waiting.len() >= self.capacity
            && let Some((.., goes)) = guests.goes(self.share).and_then(|index| guests.waiting.remove(index))
        {
            goes.notify_one();
        }
        guests.waiting.push_back((id, address.map(network), evicted.clone()));
        drop(guests);
        Guest { room: self.clone(), id, evicted, seat: OnceCell::new() }
    }

    fn leave(&self, id: u64) {
        self.guests().waiting.retain(|(waiting, ..)| *waiting != id);
    }

    fn guests(&self) -> MutexGuard<'_, Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guests {
    /// Chooses the guest that leaves: its position in the queue.
    fn goes(&self, share: usize) -> Option<usize> {
        let mut of: HashMap<Option<IpAddr>, usize> = HashMap::new();
        for (_, address, _) in &self.waiting {
            *of.entry(*address).or_default() += 1;
        }
        let has_too_many = |address: &Option<IpAddr>| of.get(address).is_some_and(|count| *count > share);
        let crowd = self.waiting.iter().position(|(_, address, _)| has_too_many(address));
        crowd.or_else(|| (!self.waiting.is_empty()).then_some(0))
    }
}

/// The addresses of one customer of a provider: an IPv4 address, or an IPv6 network of 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => IpAddr::V4(address),
            None => {
                let [a, b, c, d, ..] = address.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
        },
    }
}

impl Guest {
    /// The guest is authenticated: it leaves the room for a seat, which it keeps. Waits for a free seat. Repeating the
    /// call has no effect.
    pub(crate) async fn welcome(&self, who: &Who, has_reserve: bool) {
        let sit = || async {
            let seat = self.room.seats.sit(who, has_reserve, &self.evicted).await;
            self.room.leave(self.id);
            seat
        };
        self.seat.get_or_init(sit).await;
    }

    /// Like that, for a caller that is known before its first request. A user of the socket is trusted like an admin.
    pub(super) async fn take_seat(&self, who: &Who) {
        self.welcome(who, true).await;
        self.is_busy(false);
    }

    /// Returns when the guest must leave.
    pub async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// A request has arrived.
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        self.is_busy(true);
        Busy(self.clone())
    }

    fn is_busy(&self, busy: bool) {
        if let Some(seat) = self.seat.get() {
            seat.is_busy(busy);
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.is_busy(false);
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

    fn room(capacity: usize) -> Arc<WaitingRoom> {
        WaitingRoom::new(capacity, &Limits { connections: 1, address_connections: 2, ..Limits::default() })
    }

    fn viewer() -> Who {
        Who::Token("viewer".into())
    }

    fn from(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    #[tokio::test]
    async fn the_one_who_waited_longest_goes() {
        let room = room(2);
        let (first, second) = (room.enter(None), room.enter(None));
        first.welcome(&viewer(), false).await;
        first.welcome(&viewer(), false).await;
        let (third, fourth) = (room.enter(None), room.enter(None));
        assert!(poll!(std::pin::pin!(second.evicted())).is_ready());
        for stays in [&first, &third, &fourth] {
            assert!(poll!(std::pin::pin!(stays.evicted())).is_pending());
        }
        drop(third);
        let _fifth = room.enter(None);
        assert!(poll!(std::pin::pin!(fourth.evicted())).is_pending(), "who left made room");
    }

    #[tokio::test]
    async fn a_crowd_of_one_address_pushes_out_its_own() {
        let room = room(4);
        let honest = room.enter(from(1));
        let crowd: Vec<Guest> = (0..5).map(|_| room.enter(from(2))).collect();
        let gone = |guest: &Guest| futures::FutureExt::now_or_never(guest.evicted()).is_some();
        assert!(!gone(&honest), "it waited longest, but its address has no more than its share");
        assert!(gone(&crowd[0]) && gone(&crowd[1]) && !gone(&crowd[2]));
    }

    #[tokio::test]
    async fn seats_are_given_back() {
        let room = room(8);
        let (first, second) = (room.enter(None), room.enter(None));
        first.welcome(&viewer(), false).await;
        let (other, waiting) = (Who::Token("other".into()), second);
        let waiting = waiting.welcome(&other, false);
        tokio::pin!(waiting);
        assert!(poll!(&mut waiting).is_pending());
        drop(first);
        waiting.await;
    }

    #[test]
    fn neighbours_in_one_network_are_one() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2:3::4"), of("2001:db8:1:2:ffff::"));
        assert_ne!(of("2001:db8:1:2::"), of("2001:db8:1:3::"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
