//! Which rates to try, one after the other, to find the highest that is held.
//!
//! A rate that is not held is tried a second time: a search that one stall of the machine could end would say more about
//! the machine's other work than about the nodes.

/// Each rate is this much higher than the one before until one is not held, and this much lower until one is.
const GROWTH: f64 = 1.5;

/// The search ends when the lowest rate that was not held is at most this much above the highest that was.
const CLOSE: f64 = 1.1;

/// The lowest rate that is tried, in transactions per second.
const LEAST: f64 = 1.0;

/// A search for the highest rate held.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Search {
    first: f64,
    most: f64,
    held: Option<f64>,
    /// Failed once; to be tried again.
    doubtful: Option<f64>,
    /// Failed twice.
    not_held: Option<f64>,
}

impl Search {
    /// Begins with `first`, which should be held for certain, and never exceeds `most`.
    pub(crate) fn new(first: f64, most: f64) -> Self {
        Self { first: rounded(first).max(LEAST).min(most), most, held: None, doubtful: None, not_held: None }
    }

    /// The rate to try next; `None` when there is nothing left to find out.
    pub(crate) fn next(&self) -> Option<f64> {
        if self.doubtful.is_some() {
            return self.doubtful;
        }
        match (self.held, self.not_held) {
            (None, None) => Some(self.first),
            (Some(held), None) => (held < self.most).then(|| rounded(held * GROWTH).min(self.most)),
            (None, Some(not)) => (not > LEAST).then(|| rounded(not / GROWTH).max(LEAST)),
            // As much above the one as below the other.
            (Some(held), Some(not)) => (not > held * CLOSE).then(|| rounded((held * not).sqrt())),
        }
    }

    /// Notes what became of a rate that [`Self::next`] gave.
    pub(crate) fn note(&mut self, rate: f64, held: bool) {
        match self.doubtful.take() {
            _ if held => self.held = Some(rate),
            None => self.doubtful = Some(rate),
            Some(_) => self.not_held = Some(rate),
        }
    }

    /// The highest rate that was held; `None` if none was.
    pub(crate) fn held(&self) -> Option<f64> {
        self.held
    }

    /// Whether the highest rate allowed was held, so that a higher one may be, too.
    pub(crate) fn is_capped(&self) -> bool {
        self.held.is_some() && self.not_held.is_none()
    }
}

/// A tenth of a transaction per second is fine enough.
fn rounded(rate: f64) -> f64 {
    (rate * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rates tried where all up to `limit` are held, and how it ended.
    fn searched(first: f64, most: f64, limit: f64) -> (Vec<f64>, Search) {
        let (mut search, mut tried) = (Search::new(first, most), Vec::new());
        while let Some(rate) = search.next() {
            search.note(rate, rate <= limit);
            tried.push(rate);
            assert!(tried.len() < 100, "it ends: {tried:?}");
        }
        (tried, search)
    }

    #[test]
    fn it_grows_until_one_fails_and_then_closes_in() {
        let (tried, search) = searched(100.0, 10_000.0, 300.0);
        assert_eq!(tried, [100.0, 150.0, 225.0, 337.5, 337.5, 275.6, 305.0, 305.0, 289.9]);
        assert_eq!(search.held(), Some(289.9));
        assert!(!search.is_capped());
    }

    #[test]
    fn one_stall_of_the_machine_changes_nothing() {
        let undisturbed = searched(100.0, 10_000.0, 300.0).1;
        for stall in 0..9 {
            let (mut search, mut tries) = (Search::new(100.0, 10_000.0), 0);
            while let Some(rate) = search.next() {
                search.note(rate, rate <= 300.0 && tries != stall);
                tries += 1;
            }
            assert_eq!(search, undisturbed, "try {stall} failed");
        }
    }

    #[test]
    fn whatever_the_limit_what_it_finds_is_within_ten_percent_below() {
        for limit in [1.0, 1.3, 7.0, 63.0, 999.0, 5_432.1] {
            for first in [1.0, 20.0, 2_000.0] {
                let (tried, search) = searched(first, 100_000.0, limit);
                let held = search.held().unwrap();
                assert!(held <= limit && limit <= held * CLOSE, "{limit} from {first}: {tried:?}");
                assert!(tried.len() <= 60, "{tried:?}");
            }
        }
    }

    #[test]
    fn it_stays_within_its_bounds() {
        let (tried, search) = searched(20.0, 40.0, 1e9);
        assert_eq!((tried, search.is_capped()), (vec![20.0, 30.0, 40.0], true));
        assert_eq!(searched(100.0, 40.0, 1e9).0, [40.0]);
        let (tried, search) = searched(2.0, 40.0, 0.0);
        assert_eq!(tried, [2.0, 2.0, 1.3, 1.3, 1.0, 1.0]);
        assert_eq!((search.held(), search.is_capped()), (None, false));
    }
}
