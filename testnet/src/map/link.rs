//! One direction of a link: first in, first out, at a limited rate.

/// Bytes queued above which a link counts as congested, and below which it no longer does. The same as in
/// `starling_node::net`, where it is the queue before the socket.
pub(crate) const HIGH: u64 = 256 * 1024;
/// See [`HIGH`].
pub(crate) const LOW: u64 = 64 * 1024;

/// Bytes queued at most; a link whose queue grows longer is closed, as in `starling_node::net`.
pub(crate) const MAX: u64 = 4 << 20;

/// How fast links carry bytes unless somebody says otherwise, in Mbit/s each way.
pub(crate) const MBIT: f64 = 20.0;

/// Jitter of each message, up to this share of its link's delay.
const JITTER: f64 = 0.05;

/// A link's delay with the jitter of one message, in microseconds. `drawn` is a random number from 0 to 1.
pub(crate) fn jittered(delay_us: u32, drawn: f64) -> u64 {
    (f64::from(delay_us) * (1.0 + JITTER * drawn)) as u64
}

/// How fast links carry bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rate {
    bits_per_us: f64,
}

impl Rate {
    /// Millions of bits per second.
    pub(crate) fn mbit(mbit: f64) -> Self {
        Self { bits_per_us: mbit }
    }

    fn time_us(self, bytes: u64) -> u64 {
        (bytes as f64 * 8.0 / self.bits_per_us).ceil() as u64
    }

    fn bytes(self, us: u64) -> u64 {
        (us as f64 * self.bits_per_us / 8.0) as u64
    }
}

/// The state of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Lane {
    /// When everything sent so far has left.
    free_at: u64,
    /// When the last message arrives.
    last_arrival: u64,
    /// Whether its sender was told that the queue is too long.
    pub(crate) congested: bool,
}

impl Lane {
    /// Takes a message of so many bytes; says when it arrives. `delay` is the time under way, jitter included.
    pub(crate) fn send(&mut self, now: u64, bytes: u64, delay: u64, rate: Rate) -> u64 {
        self.free_at = self.free_at.max(now) + rate.time_us(bytes);
        self.last_arrival = self.last_arrival.max(self.free_at + delay);
        self.last_arrival
    }

    /// Bytes that have not left yet.
    pub(crate) fn queued(&self, now: u64, rate: Rate) -> u64 {
        rate.bytes(self.free_at.saturating_sub(now))
    }

    /// When no more than [`LOW`] bytes are left if nothing is added.
    pub(crate) fn relieved_at(&self, rate: Rate) -> u64 {
        self.free_at.saturating_sub(rate.time_us(LOW)) + 1
    }

    /// When the last message arrives.
    pub(crate) fn drained_at(&self) -> u64 {
        self.last_arrival
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_queue_up_at_the_rate_and_keep_their_order() {
        let rate = Rate::mbit(8.0);
        let mut lane = Lane::default();
        // One byte takes one microsecond.
        assert_eq!(lane.send(1000, 500, 10_000, rate), 11_500);
        assert_eq!(lane.send(1000, 500, 10_000, rate), 12_000, "behind the first");
        assert_eq!(lane.send(1000, 500, 2_000, rate), 12_000, "a shorter way does not overtake");
        assert_eq!((lane.queued(1000, rate), lane.queued(2_400, rate), lane.queued(9_999, rate)), (1500, 100, 0));
        assert_eq!(lane.send(50_000, 1, 10_000, rate), 60_001, "an idle link sends at once");
    }

    #[test]
    fn relief_comes_when_little_is_left() {
        let rate = Rate::mbit(20.0);
        let mut lane = Lane::default();
        lane.send(0, HIGH + 1, 0, rate);
        assert!(lane.queued(0, rate) > HIGH);
        let relief = lane.relieved_at(rate);
        assert!(lane.queued(relief, rate) <= LOW && lane.queued(relief - 10, rate) > LOW - 30);
    }
}
