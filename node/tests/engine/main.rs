//! The engine by itself: many of them joined by imagined links, and neighbours played by the test.

#![expect(clippy::unwrap_used, reason = "a failed test may panic")]

mod admission;
mod aggregate;
mod chain;
mod cluster;
mod hostile;
mod misleading;
mod overlay;
mod reconcile;
mod relay;
mod restart;
