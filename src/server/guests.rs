//! Who is connected: how many connections there are in all and of each address, and which one makes room for a newcomer.
//!
//! A newcomer is not refused while somebody else sits there in silence: otherwise a few hundred idle connections
//! would lock everyone out. The longest idle connection goes instead, of the same address first.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

/// The connections of the moment.
pub(super) struct Guests {
    total: usize,
    per_address: usize,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    next: u64,
    seats: HashMap<u64, Seat>,
    by_address: HashMap<IpAddr, usize>,
}

struct Seat {
    address: IpAddr,
    pulse: Arc<Pulse>,
}

/// What one connection is doing, shared between its timers, its requests and the book.
pub(super) struct Pulse {
    born: Instant,
    active: AtomicU32,
    started: AtomicU64,
    finished: AtomicU64,
    /// Milliseconds after `born` at which the last request ended.
    idle_since: AtomicU64,
    evicted: Notify,
    /// Rung when this connection has served enough requests.
    pub(super) worn_out: Notify,
    /// Number of the request at which that was.
    goodbye: OnceLock<u64>,
}

impl Pulse {
    fn new() -> Self {
        Self {
            born: Instant::now(),
            active: AtomicU32::new(0),
            started: AtomicU64::new(0),
            finished: AtomicU64::new(0),
            idle_since: AtomicU64::new(0),
            evicted: Notify::new(),
            worn_out: Notify::new(),
            goodbye: OnceLock::new(),
        }
    }

    /// Notes that a request has arrived; it ends when the guard is dropped.
    pub(super) fn request(self: &Arc<Self>) -> RequestGuard {
        self.active.fetch_add(1, Ordering::AcqRel);
        let number = self.started.fetch_add(1, Ordering::AcqRel) + 1;
        RequestGuard { pulse: Arc::clone(self), number }
    }

    /// Whether a request is being served.
    pub(super) fn is_active(&self) -> bool {
        self.active.load(Ordering::Acquire) > 0
    }

    /// Requests that have ended so far.
    pub(super) fn finished(&self) -> u64 {
        self.finished.load(Ordering::Acquire)
    }

    /// Ends the connection after the requests under way. HTTP/2 waits for the caller to acknowledge that; whoever sends
    /// more requests instead than can have been `under_way` is cut off.
    pub(super) fn say_goodbye(&self, number: u64, under_way: u64) {
        let since = *self.goodbye.get_or_init(|| number);
        self.worn_out.notify_one();
        if number > since.saturating_add(under_way) {
            self.evicted.notify_one();
        }
    }

    /// Waits until this connection has to make room.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    fn idle_since(&self) -> Instant {
        self.born + std::time::Duration::from_millis(self.idle_since.load(Ordering::Acquire))
    }
}

/// One request of a connection, for as long as it is served.
pub(super) struct RequestGuard {
    pulse: Arc<Pulse>,
    /// 1 for the connection's first request.
    pub(super) number: u64,
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let now = u64::try_from(self.pulse.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.pulse.idle_since.store(now, Ordering::Release);
        self.pulse.finished.fetch_add(1, Ordering::AcqRel);
        self.pulse.active.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A connection's place; given back when dropped.
pub(super) struct Guest {
    guests: Arc<Guests>,
    id: u64,
    pub(super) pulse: Arc<Pulse>,
}

impl Guests {
    pub(super) fn new(total: usize, per_address: usize) -> Arc<Self> {
        Arc::new(Self { total: total.max(1), per_address: per_address.max(1), book: Mutex::default() })
    }

    /// A place for a connection from `address`; `None` when every other connection is busy.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Guest> {
        let address = group(address);
        let mut book = self.lock();
        if book.by_address.get(&address).copied().unwrap_or(0) >= self.per_address && !book.make_room(Some(address)) {
            return None;
        }
        if book.seats.len() >= self.total {
            let busiest = book.by_address.iter().max_by_key(|(_, count)| **count).map(|(address, _)| *address);
            if !book.make_room(busiest) && !book.make_room(None) {
                return None;
            }
        }
        Some(self.seat(&mut book, address))
    }

    /// A place for one who must get in even when the house is full: the daemon's own probe.
    pub(super) fn admit_anyway(self: &Arc<Self>, address: IpAddr) -> Guest {
        self.seat(&mut self.lock(), group(address))
    }

    fn seat(self: &Arc<Self>, book: &mut Book, address: IpAddr) -> Guest {
        let id = book.next;
        book.next += 1;
        let pulse = Arc::new(Pulse::new());
        book.seats.insert(id, Seat { address, pulse: Arc::clone(&pulse) });
        *book.by_address.entry(address).or_default() += 1;
        Guest { guests: Arc::clone(self), id, pulse }
    }

    /// How many connections there are.
    pub(super) fn count(&self) -> usize {
        self.lock().seats.len()
    }

    /// No code that can panic runs under the lock, so a poisoned lock still guards sound data.
    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// Sends the longest idle connection away, of one address or of all; says whether there was one.
    fn make_room(&mut self, address: Option<IpAddr>) -> bool {
        let idle = self.seats.iter().filter(|(_, seat)| address.is_none_or(|address| seat.address == address) && !seat.pulse.is_active());
        let Some(id) = idle.min_by_key(|(_, seat)| seat.pulse.idle_since()).map(|(id, _)| *id) else { return false };
        if let Some(pulse) = self.leave(id) {
            pulse.evicted.notify_one();
        }
        true
    }

    fn leave(&mut self, id: u64) -> Option<Arc<Pulse>> {
        let seat = self.seats.remove(&id)?;
        if let Some(count) = self.by_address.get_mut(&seat.address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&seat.address);
            }
        }
        Some(seat.pulse)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.guests.lock().leave(self.id);
    }
}

/// What counts as one address: with IPv6 a machine has a whole /64 to choose from.
pub(super) fn group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const TWO: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    async fn is_evicted(guest: &Guest) -> bool {
        tokio::time::timeout(std::time::Duration::from_millis(20), guest.pulse.evicted()).await.is_ok()
    }

    #[tokio::test]
    async fn the_longest_idle_connection_of_the_same_address_makes_room() {
        let guests = Guests::new(10, 2);
        let other = guests.admit(TWO).unwrap();
        let first = guests.admit(ONE).unwrap();
        let second = guests.admit(ONE).unwrap();
        let busy = first.pulse.request();
        let third = guests.admit(ONE).unwrap();
        assert!(is_evicted(&second).await && !is_evicted(&first).await && !is_evicted(&other).await);
        assert_eq!(guests.count(), 3);
        drop((busy, second, third));
        assert_eq!(guests.count(), 2);
    }

    #[tokio::test]
    async fn a_newcomer_is_refused_only_when_all_others_are_busy() {
        let guests = Guests::new(10, 1);
        let first = guests.admit(ONE).unwrap();
        let busy = first.pulse.request();
        assert!(guests.admit(ONE).is_none());
        drop(busy);
        assert!(guests.admit(ONE).is_some());
        assert!(is_evicted(&first).await);
    }

    #[tokio::test]
    async fn when_the_house_is_full_the_busiest_address_makes_room() {
        let guests = Guests::new(3, 3);
        let quiet = guests.admit(TWO).unwrap();
        let crowd = [guests.admit(ONE).unwrap(), guests.admit(ONE).unwrap()];
        let newcomer = guests.admit("10.0.0.3".parse().unwrap()).unwrap();
        assert!(!is_evicted(&quiet).await && !is_evicted(&newcomer).await);
        assert!(is_evicted(&crowd[0]).await);
        assert_eq!(guests.count(), 3);
    }

    #[tokio::test]
    async fn a_busy_crowd_does_not_keep_the_idle_ones_of_others_from_making_room() {
        let guests = Guests::new(3, 3);
        let quiet = guests.admit(TWO).unwrap();
        let crowd = [guests.admit(ONE).unwrap(), guests.admit(ONE).unwrap()];
        let _busy = crowd.each_ref().map(|guest| guest.pulse.request());
        let newcomer = guests.admit("10.0.0.3".parse().unwrap()).unwrap();
        assert!(is_evicted(&quiet).await && !is_evicted(&newcomer).await);
        assert!(!is_evicted(&crowd[0]).await && !is_evicted(&crowd[1]).await);
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        assert_eq!(group("2001:db8:1:2:3::4".parse().unwrap()), group("2001:db8:1:2:ffff::".parse().unwrap()));
        assert_ne!(group("2001:db8:1:2::".parse().unwrap()), group("2001:db8:1:3::".parse().unwrap()));
        assert_eq!(group("::ffff:10.0.0.1".parse().unwrap()), ONE);
    }
}
