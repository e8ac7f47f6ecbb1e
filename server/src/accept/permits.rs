//! How many connections there may be, in all and from one address. Both bounds may change while the collector runs:
//! a lower one cuts nobody and admits nobody until enough have gone.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// A bound on connections.
#[derive(Debug)]
pub struct Permits {
    max: AtomicUsize,
    taken: AtomicUsize,
    given_back: Notify,
}

/// One connection's place; given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Permits>);

/// A bound on connections from one address.
#[derive(Debug)]
pub struct PerIp {
    max: AtomicUsize,
    taken: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection's place in its address's share; given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    per_ip: Arc<PerIp>,
    ip: IpAddr,
}

impl Permits {
    /// A bound of `max`.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max: AtomicUsize::new(max), taken: AtomicUsize::new(0), given_back: Notify::new() })
    }

    /// Changes the bound.
    pub fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
        self.given_back.notify_one();
    }

    pub(crate) fn try_take(self: &Arc<Self>) -> Option<Permit> {
        let max = self.max.load(Ordering::Relaxed);
        let below = |taken: usize| (taken < max).then_some(taken + 1);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, below).ok()?;
        Some(Permit(self.clone()))
    }

    /// Waits for a place. One waiter a bound: its listener's loop.
    pub(crate) async fn take(self: &Arc<Self>) -> Permit {
        loop {
            if let Some(permit) = self.try_take() {
                return permit;
            }
            self.given_back.notified().await;
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
        self.0.given_back.notify_one();
    }
}

impl PerIp {
    /// A bound of `max` for each address.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max: AtomicUsize::new(max), taken: Mutex::default() })
    }

    /// Changes the bound.
    pub fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// A place in the address's share, if it has one left. The map holds open connections alone, so it is as bounded
    /// as they are.
    pub(crate) fn take(self: &Arc<Self>, ip: IpAddr) -> Option<Share> {
        let ip = network_of(ip);
        let mut taken = self.taken.lock();
        let count = taken.entry(ip).or_default();
        if *count >= self.max.load(Ordering::Relaxed) {
            return None;
        }
        *count += 1;
        Some(Share { per_ip: self.clone(), ip })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.per_ip.taken.lock();
        if let Some(count) = taken.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.ip);
            }
        }
    }
}

/// An IPv6 host has a whole /64 to call from.
pub(crate) fn network_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_given_back_and_leaves_nothing_behind() {
        let per_ip = PerIp::new(2);
        let ip: IpAddr = "10.0.0.1".parse().expect("address");
        let (one, _two) = (per_ip.take(ip), per_ip.take(ip));
        assert!(per_ip.take(ip).is_none());
        assert!(per_ip.take("10.0.0.2".parse().expect("address")).is_some());
        drop(one);
        assert!(per_ip.take(ip).is_some());
        assert_eq!(per_ip.taken.lock().len(), 1);
    }

    #[test]
    fn addresses_of_one_ipv6_network_share() {
        let per_ip = PerIp::new(1);
        let _one = per_ip.take("2001:db8::1".parse().expect("address")).expect("free");
        assert!(per_ip.take("2001:db8::2".parse().expect("address")).is_none());
        assert!(per_ip.take("2001:db8:0:1::2".parse().expect("address")).is_some());
    }

    #[tokio::test]
    async fn a_waiting_listener_gets_the_place_that_is_given_back() {
        let permits = Permits::new(1);
        let first = permits.try_take().expect("free");
        assert!(permits.try_take().is_none());
        let waiter = tokio::spawn({
            let permits = permits.clone();
            async move { drop(permits.take().await) }
        });
        drop(first);
        tokio::time::timeout(std::time::Duration::from_secs(5), waiter).await.expect("in time").expect("ran");
    }
}
