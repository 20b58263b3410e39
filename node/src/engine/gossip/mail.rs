//! What a neighbour is to be told that can wait: ids to announce, and pushes that were in vain. It rides with the next push
//! to that neighbour, in a packet that is sent anyway, or goes alone when it has waited for long enough.

use starling_wire::ShortId;

use super::{super::time::Time, note};

/// Ids of either kind kept for a neighbour; announcements are many where one does not drain its queue. The oldest go.
const MAX_IDS: usize = 16 * 1024;

/// One neighbour's mail.
#[derive(Debug, Default)]
pub(in super::super) struct Mail {
    announcements: Vec<ShortId>,
    prunes: Vec<ShortId>,
    announcements_due: Option<Time>,
    prunes_due: Option<Time>,
}

impl Mail {
    /// Adds an announcement that may wait until then.
    pub(super) fn announce(&mut self, id: ShortId, until: Time) {
        add(&mut self.announcements, id);
        note(&mut self.announcements_due, until);
    }

    /// Adds a prune that may wait until then.
    pub(super) fn prune(&mut self, id: ShortId, until: Time) {
        add(&mut self.prunes, id);
        note(&mut self.prunes_due, until);
    }

    /// When some of it is to be sent at the latest; `None` without any.
    pub(super) fn due(&self) -> Option<Time> {
        [self.announcements_due, self.prunes_due].into_iter().flatten().min()
    }

    /// Whether the prunes cannot wait for a ride any longer.
    pub(super) fn are_prunes_due(&self, now: Time) -> bool {
        self.prunes_due.is_some_and(|due| due <= now)
    }

    /// Takes out all announcements.
    pub(super) fn take_announcements(&mut self) -> Vec<ShortId> {
        self.announcements_due = None;
        std::mem::take(&mut self.announcements)
    }

    /// Takes out all prunes.
    pub(super) fn take_prunes(&mut self) -> Vec<ShortId> {
        self.prunes_due = None;
        std::mem::take(&mut self.prunes)
    }
}

/// Half of the ids go at once, so that adding to many stays cheap.
fn add(ids: &mut Vec<ShortId>, id: ShortId) {
    if ids.len() >= MAX_IDS {
        ids.drain(..MAX_IDS / 2);
    }
    ids.push(id);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn mail_is_due_when_its_most_urgent_part_is_and_is_bounded() {
        let mut mail = Mail::default();
        let at = |ms| Time::ZERO + Duration::from_millis(ms);
        mail.prune(ShortId([1; 8]), at(500));
        mail.announce(ShortId([2; 8]), at(100));
        mail.announce(ShortId([3; 8]), at(900));
        assert_eq!(mail.due(), Some(at(100)));
        assert_eq!(mail.take_announcements(), [ShortId([2; 8]), ShortId([3; 8])]);
        assert_eq!(mail.due(), Some(at(500)));
        assert_eq!([499, 500].map(|ms| mail.are_prunes_due(at(ms))), [false, true]);
        assert_eq!(mail.take_prunes(), [ShortId([1; 8])]);
        assert_eq!((mail.due(), mail.are_prunes_due(at(500))), (None, false));
        let id = |i: usize| ShortId((i as u64).to_be_bytes());
        (0..=MAX_IDS).for_each(|i| mail.announce(id(i), at(0)));
        let ids = mail.take_announcements();
        assert_eq!((ids.len(), ids.last()), (MAX_IDS / 2 + 1, Some(&id(MAX_IDS))), "the newest are kept");
    }
}
