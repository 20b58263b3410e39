//! What is to happen, in the order of its time.

use std::{cmp::Ordering, collections::BinaryHeap};

#[derive(Debug)]
struct Entry<E> {
    time: u64,
    order: u64,
    event: E,
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        // The heap gives the greatest first; the earliest is wanted.
        (other.time, other.order).cmp(&(self.time, self.order))
    }
}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<E> Eq for Entry<E> {}

/// The time that one bucket covers, in microseconds.
const BUCKET_US: u64 = 64;

/// Buckets; together they cover a second, longer than nearly any message is under way.
const BUCKETS: usize = 1 << 14;

/// Events by time; those of one time by a number given with each. A time may not be earlier than that of the event taken
/// last.
///
/// Most events are a few hundred milliseconds ahead and there may be a million of them: one heap of all would miss the
/// cache at each of its twenty levels. So the near future is a ring of unsorted buckets, and only the one whose time has
/// come is a heap (a calendar queue: R. Brown, CACM 31(10), 1988).
#[derive(Debug)]
pub(crate) struct Queue<E> {
    /// The bucket whose time has come, by its number since the start.
    current: u64,
    due: BinaryHeap<Entry<E>>,
    ring: Vec<Vec<Entry<E>>>,
    /// Events in the ring.
    near: usize,
    /// What is too far ahead for the ring.
    far: BinaryHeap<Entry<E>>,
}

impl<E> Queue<E> {
    /// Nothing is to happen.
    pub(crate) fn new() -> Self {
        Self {
            current: 0,
            due: BinaryHeap::new(),
            ring: (0..BUCKETS).map(|_| Vec::new()).collect(),
            near: 0,
            far: BinaryHeap::new(),
        }
    }

    /// Adds an event.
    pub(crate) fn push(&mut self, time: u64, order: u64, event: E) {
        let entry = Entry { time, order, event };
        let bucket = time / BUCKET_US;
        if bucket <= self.current {
            self.due.push(entry);
        } else if bucket - self.current < BUCKETS as u64 {
            self.ring[bucket as usize % BUCKETS].push(entry);
            self.near += 1;
        } else {
            self.far.push(entry);
        }
    }

    /// When the next event is.
    pub(crate) fn next_time(&mut self) -> Option<u64> {
        while self.due.is_empty() {
            self.advance()?;
        }
        self.due.peek().map(|entry| entry.time)
    }

    /// Takes the next event and its time, if that is before `end`.
    pub(crate) fn pop_before(&mut self, end: u64) -> Option<(u64, E)> {
        self.next_time().filter(|time| *time < end)?;
        self.due.pop().map(|entry| (entry.time, entry.event))
    }

    /// Goes on to the next bucket with something in it, or at least nearer to it; `None` if there is none.
    fn advance(&mut self) -> Option<()> {
        let far = self.far.peek().map(|entry| entry.time / BUCKET_US);
        self.current = match (self.near, far) {
            (0, far) => far?,
            _ => self.current + 1,
        };
        let bucket = &mut self.ring[self.current as usize % BUCKETS];
        self.near -= bucket.len();
        self.due.extend(bucket.drain(..));
        while let Some(entry) = self.far.peek()
            && entry.time / BUCKET_US <= self.current
        {
            self.due.extend(self.far.pop());
        }
        Some(())
    }
}

/// Values with small numbers as handles; a freed number is used again.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    /// Nothing is in it.
    pub(crate) fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    /// Puts a value in.
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        match self.free.pop() {
            Some(at) => {
                self.slots[at as usize] = Some(value);
                at
            }
            None => {
                self.slots.push(Some(value));
                (self.slots.len() - 1) as u32
            }
        }
    }

    /// Takes a value out.
    pub(crate) fn take(&mut self, at: u32) -> Option<T> {
        let value = self.slots[at as usize].take();
        if value.is_some() {
            self.free.push(at);
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earliest_first_and_in_order_among_equals() {
        let mut queue = Queue::new();
        for (time, order, event) in [(5, 2, 'c'), (3, 9, 'b'), (5, 1, 'a'), (4, 5, 'd'), (5, 3, 'e')] {
            queue.push(time, order, event);
        }
        let before: Vec<_> = std::iter::from_fn(|| queue.pop_before(5)).collect();
        assert_eq!((before, queue.next_time()), (vec![(3, 'b'), (4, 'd')], Some(5)));
        let rest: Vec<_> = std::iter::from_fn(|| queue.pop_before(u64::MAX)).collect();
        assert_eq!(rest, [(5, 'a'), (5, 'c'), (5, 'e')]);
    }

    #[test]
    fn near_and_far_events_come_in_one_order() {
        let (mut queue, mut state, mut now) = (Queue::new(), 1_u64, 0);
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut expected = std::collections::BTreeSet::new();
        for number in 0..20_000_u64 {
            let range = [10, 1_000, 1_000_000, 3_000_000, 60_000_000][random(5) as usize];
            let time = now + random(range);
            queue.push(time, number, number);
            expected.insert((time, number));
            if random(3) > 0 {
                let (time, number) = queue.pop_before(u64::MAX).unwrap();
                assert_eq!(expected.pop_first(), Some((time, number)));
                now = time;
            }
        }
        while let Some(next) = expected.pop_first() {
            assert_eq!(queue.pop_before(u64::MAX), Some(next));
        }
        assert_eq!((queue.next_time(), queue.pop_before(u64::MAX)), (None, None));
    }

    #[test]
    fn numbers_are_used_again() {
        let mut slab = Slab::new();
        let (a, b) = (slab.insert('a'), slab.insert('b'));
        assert_eq!((slab.take(a), slab.take(a)), (Some('a'), None));
        assert_eq!(slab.insert('c'), a);
        assert_eq!((slab.take(b), slab.take(a)), (Some('b'), Some('c')));
    }
}
