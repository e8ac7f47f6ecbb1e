//! Which requests may be sent, and how far the cursor may move. Pure.
//!
//! Requests are sent in order, end in any order, and are committed in order: the cursor moves over the units at the head
//! whose requests have all ended. A request counts against the window from when it is sent until its commit is durable, so
//! that a restart repeats at most as many as the window holds. A unit of more requests than the window is committed in
//! parts ([`Due::Part`]).

use std::collections::VecDeque;

use journal::Position;
use muster::clock::WallTime;
use tokio::sync::OwnedSemaphorePermit;

use super::encode::Outgoing;

/// What a range of the journal came to for a destination.
#[derive(Debug)]
pub(super) struct Unit {
    /// The range is what comes after this ...
    pub(super) after: Position,
    /// ... up to this.
    pub(super) end: Position,
    /// When its first record was appended.
    pub(super) oldest: WallTime,
    /// Possibly none.
    pub(super) requests: Vec<Outgoing>,
    /// How many of them were delivered in an earlier life.
    pub(super) delivered: usize,
    /// What is kept between records, as it is at `end`.
    pub(super) state: Option<Vec<u8>>,
    /// Its share of the bytes that may wait.
    pub(super) room: Option<OwnedSemaphorePermit>,
}

/// A range of the journal: what comes after one position, up to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Range {
    pub(super) after: Position,
    pub(super) end: Position,
}

/// A request that is to be sent now.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) id: TicketId,
    pub(super) range: Range,
    pub(super) outgoing: Outgoing,
}

/// Which request of which unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TicketId {
    unit: u64,
    index: usize,
}

/// What is to be made durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Due {
    /// All units up to `end`.
    Units {
        end: Position,
        units: usize,
        requests: usize,
        /// The newest state among them, and where it holds.
        state: Option<(Position, Vec<u8>)>,
    },
    /// The first `done` requests of a unit.
    Part { range: Range, done: usize, requests: usize },
}

#[derive(Debug)]
pub(super) struct Window {
    units: VecDeque<Held>,
    /// Number of the unit at the head.
    head: u64,
    requests_max: usize,
    uncommitted: usize,
}

#[derive(Debug)]
struct Held {
    range: Range,
    oldest: WallTime,
    requests: Vec<Slot>,
    /// The first that was not sent.
    next: usize,
    /// Those at the beginning whose end is durable.
    committed: usize,
    state: Option<Vec<u8>>,
    _room: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
enum Slot {
    Waiting(Outgoing),
    Sent,
    Ended,
}

impl Window {
    pub(super) fn new(requests_max: usize) -> Self {
        Self { units: VecDeque::new(), head: 0, requests_max, uncommitted: 0 }
    }

    pub(super) fn push(&mut self, unit: Unit) {
        let waiting = |(n, outgoing)| if n < unit.delivered { Slot::Ended } else { Slot::Waiting(outgoing) };
        let delivered = unit.delivered.min(unit.requests.len());
        self.units.push_back(Held {
            range: Range { after: unit.after, end: unit.end },
            oldest: unit.oldest,
            requests: unit.requests.into_iter().enumerate().map(waiting).collect(),
            next: delivered,
            committed: delivered,
            state: unit.state,
            _room: unit.room,
        });
    }

    /// Whether all that it has was sent, so that it could take more.
    pub(super) fn is_drained(&self) -> bool {
        self.units.back().is_none_or(|unit| unit.next == unit.requests.len())
    }

    /// When the first record that is not committed was appended.
    pub(super) fn oldest(&self) -> Option<WallTime> {
        self.units.front().map(|unit| unit.oldest)
    }

    /// The next request, if it may be sent by now.
    pub(super) fn next(&mut self) -> Option<Ticket> {
        if self.uncommitted >= self.requests_max {
            return None;
        }
        let (n, unit) =
            self.units.iter_mut().enumerate().find(|(_, unit)| unit.next < unit.requests.len())?;
        let index = unit.next;
        unit.next += 1;
        let Slot::Waiting(outgoing) = std::mem::replace(&mut unit.requests[index], Slot::Sent) else {
            // Only those before `next` are anything else.
            return None;
        };
        self.uncommitted += 1;
        let id = TicketId { unit: self.head + n as u64, index };
        Some(Ticket { id, range: unit.range, outgoing })
    }

    /// The request has ended: delivered, or dropped and counted.
    pub(super) fn ended(&mut self, id: TicketId) {
        let held = id.unit.checked_sub(self.head).and_then(|n| self.units.get_mut(n as usize));
        if let Some(slot) = held.and_then(|unit| unit.requests.get_mut(id.index)) {
            *slot = Slot::Ended;
        }
    }

    /// What could be made durable now: whole units, and a part of one only if nothing can be sent otherwise.
    pub(super) fn due(&mut self) -> Option<Due> {
        let has_more = self.units.front().is_some_and(|head| head.next < head.requests.len());
        let is_stuck = self.uncommitted >= self.requests_max && has_more;
        self.ended_units().or_else(|| self.ended_part().filter(|_| is_stuck))
    }

    /// All that could be made durable, when nothing more is sent: first whole units, then a part of one.
    pub(super) fn due_at_end(&mut self) -> Option<Due> {
        self.ended_units().or_else(|| self.ended_part())
    }

    fn ended_units(&mut self) -> Option<Due> {
        let is_done = |unit: &&Held| unit.requests.iter().all(|slot| matches!(slot, Slot::Ended));
        let units = self.units.iter().take_while(is_done).count();
        if units > 0 {
            let done = self.units.range_mut(..units);
            let (mut end, mut requests, mut state) = (Position::ZERO, 0, None);
            for unit in done {
                end = unit.range.end;
                requests += unit.requests.len() - unit.committed;
                state = unit.state.take().map(|bytes| (end, bytes)).or(state);
            }
            return Some(Due::Units { end, units, requests, state });
        }
        None
    }

    fn ended_part(&self) -> Option<Due> {
        let head = self.units.front()?;
        let done = head.requests.iter().take_while(|slot| matches!(slot, Slot::Ended)).count();
        (done > head.committed).then(|| Due::Part {
            range: head.range,
            done,
            requests: done - head.committed,
        })
    }

    /// It is durable now.
    pub(super) fn committed(&mut self, due: &Due) {
        match due {
            Due::Units { units, requests, .. } => {
                self.units.drain(..*units);
                self.head += *units as u64;
                self.uncommitted -= requests;
            }
            Due::Part { done, requests, .. } => {
                if let Some(head) = self.units.front_mut() {
                    head.committed = *done;
                }
                self.uncommitted -= requests;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use otlp::Signal;

    fn unit(after: u64, end: u64, requests: usize) -> Unit {
        let outgoing = Outgoing {
            signal: Signal::Logs,
            items: 1,
            request: Bytes::from_static(b"x"),
            body: Bytes::from_static(b"x"),
        };
        Unit {
            after: Position(after),
            end: Position(end),
            oldest: WallTime(end),
            requests: vec![outgoing; requests],
            delivered: 0,
            state: None,
            room: None,
        }
    }

    fn take(window: &mut Window) -> Vec<TicketId> {
        std::iter::from_fn(|| window.next()).map(|ticket| ticket.id).collect()
    }

    #[test]
    fn the_cursor_moves_over_the_ended_prefix_alone() {
        let mut window = Window::new(8);
        for n in 0..3 {
            window.push(unit(n, n + 1, 1));
        }
        let ids = take(&mut window);
        window.ended(ids[1]);
        assert_eq!(window.due(), None);
        window.ended(ids[0]);
        let due = window.due().expect("two units");
        assert!(matches!(due, Due::Units { end: Position(2), units: 2, requests: 2, .. }), "{due:?}");
        window.committed(&due);
        window.ended(ids[2]);
        assert!(matches!(window.due(), Some(Due::Units { end: Position(3), units: 1, .. })));
    }

    #[test]
    fn no_more_are_sent_than_may_be_repeated() {
        let mut window = Window::new(2);
        for n in 0..4 {
            window.push(unit(n, n + 1, 1));
        }
        let ids = take(&mut window);
        assert_eq!(ids.len(), 2);
        window.ended(ids[0]);
        assert!(window.next().is_none(), "it ended, but that is not durable");
        let due = window.due().expect("one unit");
        window.committed(&due);
        assert_eq!(take(&mut window).len(), 1);
    }

    #[test]
    fn a_unit_larger_than_the_window_is_committed_in_parts() {
        let mut window = Window::new(2);
        window.push(unit(0, 1, 5));
        let ids = take(&mut window);
        window.ended(ids[1]);
        assert_eq!(window.due(), None, "the first has not ended");
        window.ended(ids[0]);
        let due = window.due().expect("stuck");
        assert!(matches!(due, Due::Part { done: 2, requests: 2, .. }), "{due:?}");
        window.committed(&due);
        for id in take(&mut window) {
            window.ended(id);
        }
        let due = window.due().expect("stuck again");
        assert!(matches!(due, Due::Part { done: 4, requests: 2, .. }), "{due:?}");
        window.committed(&due);
        for id in take(&mut window) {
            window.ended(id);
        }
        assert!(matches!(window.due(), Some(Due::Units { end: Position(1), requests: 1, .. })));
    }

    #[test]
    fn what_has_ended_at_the_end_is_committed_though_the_rest_of_its_unit_is_out() {
        let mut window = Window::new(8);
        window.push(unit(0, 1, 1));
        window.push(unit(1, 2, 3));
        let ids = take(&mut window);
        ids[..3].iter().for_each(|id| window.ended(*id));
        let due = window.due_at_end().expect("a unit");
        assert!(matches!(due, Due::Units { end: Position(1), requests: 1, .. }), "{due:?}");
        window.committed(&due);
        assert_eq!(window.due(), None, "more can be sent");
        let due = window.due_at_end().expect("two of three");
        assert!(matches!(due, Due::Part { done: 2, requests: 2, .. }), "{due:?}");
        window.committed(&due);
        assert_eq!(window.due_at_end(), None);
    }

    #[test]
    fn what_was_delivered_in_an_earlier_life_is_not_sent_again() {
        let mut window = Window::new(4);
        window.push(Unit { delivered: 2, ..unit(0, 1, 3) });
        let ids = take(&mut window);
        assert_eq!(ids.len(), 1);
        window.ended(ids[0]);
        assert!(matches!(window.due(), Some(Due::Units { requests: 1, .. })));
    }

    #[test]
    fn the_newest_state_is_committed_with_its_position() {
        let mut window = Window::new(4);
        window.push(Unit { state: Some(vec![1]), ..unit(0, 1, 0) });
        window.push(Unit { state: Some(vec![2]), ..unit(1, 2, 0) });
        window.push(unit(2, 3, 0));
        let Some(Due::Units { end, state, .. }) = window.due() else { panic!("all have ended") };
        assert_eq!((end, state), (Position(3), Some((Position(2), vec![2]))));
    }
}
