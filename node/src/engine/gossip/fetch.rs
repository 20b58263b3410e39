//! Pulling announced transactions: one request in flight for each, and the next announcer when one does not answer or
//! when another can answer sooner.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use starling_wire::{BoundedVec, Message, NodeId, ShortId, limits::MAX_TX};

use super::super::{MAX_ANSWER, io::Output, peers::Peers, time::Time};

/// Transactions asked for at one time, over all neighbours. Bounds memory; above it, announcements are passed over and
/// a later one (or a push) brings the transaction.
const MAX_REQUESTS: usize = 64 * 1024;

/// Transactions asked for from one neighbour at one time: one that announces without end cannot use up the whole table.
const MAX_REQUESTS_PER_PEER: usize = 8 * 1024;

/// Further announcers remembered for each request. Links fail rarely; four in a row hardly ever.
const MAX_ALTERNATIVES: usize = 4;

/// Added to two round trips before a request counts as unanswered: what a busy neighbour needs to look it up.
const PATIENCE: Duration = Duration::from_millis(20);

/// A neighbour that is sending what it was asked for is waited for, each time anew, until so long after it was asked: on a slow
/// line a long answer takes longer than [`PATIENCE`], and to ask others as well would make it slower.
const LONGEST: Duration = Duration::from_secs(2);

/// A later announcer is asked too if its answer is to be expected this much sooner than that of the one asked before: a
/// copy in vain now and then, against a wait for an answer from the other side of the world.
const SOONER: Duration = Duration::from_millis(5);

#[derive(Debug)]
struct Request {
    asked: NodeId,
    /// The number of the question that asked for it.
    question: u64,
    since: Time,
    /// When the answer should come.
    expected: Time,
    /// When it counts as broken.
    deadline: Time,
    others: VecDeque<NodeId>,
}

/// Bytes of transactions after which a neighbour may have stopped: it answers with no more than this at once, and one more would
/// have been too many.
const FULL_ANSWER: usize = MAX_ANSWER - MAX_TX;

/// What one neighbour is being asked for.
#[derive(Debug, Default)]
struct Asked {
    requests: usize,
    /// When it last answered one while there were others.
    answered: Time,
    /// Bytes that it sent since then, or since a question was last left unanswered because they were enough.
    sent: usize,
}

/// What follows from a request that was not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Failover {
    /// What is still missing.
    pub(in super::super) id: ShortId,
    /// The number of the question that was not answered; others may have been asked for with it.
    pub(in super::super) question: u64,
    /// Who did not send it.
    pub(in super::super) broken: NodeId,
    /// Whether it sent as much else as it has to.
    pub(in super::super) excused: bool,
    /// Whom to ask now; nobody if no other neighbour announced it.
    pub(in super::super) next: Option<NodeId>,
}

/// All requests in flight.
#[derive(Debug, Default)]
pub(super) struct Fetch {
    requests: BTreeMap<ShortId, Request>,
    deadlines: BTreeSet<(Time, ShortId)>,
    asked: BTreeMap<NodeId, Asked>,
    /// Questions so far.
    questions: u64,
}

impl Fetch {
    /// What is asked for from now on is asked in one question.
    pub(super) fn new_question(&mut self) {
        self.questions += 1;
    }

    /// A neighbour announced what is wanted. Says whether to ask it now.
    pub(super) fn announced(&mut self, now: Time, id: ShortId, peer: NodeId, peers: &Peers) -> bool {
        if let Some(request) = self.requests.get_mut(&id) {
            if request.asked == peer || request.others.contains(&peer) {
                return false;
            }
            if now + expected_rtt(&peer, peers) + SOONER < request.expected {
                let mut others = std::mem::take(&mut request.others);
                others.push_front(request.asked);
                others.truncate(MAX_ALTERNATIVES);
                self.take(id);
                self.ask(now, id, peer, self.questions, others, peers);
                return true;
            }
            if request.others.len() < MAX_ALTERNATIVES {
                request.others.push_back(peer);
            }
            return false;
        }
        if self.requests.len() >= MAX_REQUESTS || self.in_flight(&peer) >= MAX_REQUESTS_PER_PEER {
            return false;
        }
        self.ask(now, id, peer, self.questions, VecDeque::new(), peers);
        true
    }

    /// It came in another way: no need to ask any more.
    pub(super) fn found(&mut self, id: ShortId) {
        self.take(id);
    }

    /// It came from a neighbour, in so many bytes. Says whether that was an answer.
    pub(super) fn arrived(&mut self, now: Time, id: ShortId, from: NodeId, bytes: usize) -> bool {
        let Some(request) = self.take(id) else { return false };
        let is_answer = from == request.asked;
        if is_answer && let Some(asked) = self.asked.get_mut(&request.asked) {
            asked.answered = now;
            asked.sent += bytes;
        }
        is_answer
    }

    /// The requests whose time is up, each moved on to the next announcer.
    pub(super) fn expire(&mut self, now: Time, peers: &Peers) -> Vec<Failover> {
        let (mut failovers, mut questions) = (Vec::new(), BTreeMap::new());
        while let Some(&(deadline, id)) = self.deadlines.first()
            && deadline <= now
        {
            if !self.wait_on(now, id, peers) {
                failovers.extend(self.fail(now, id, peers, &mut questions));
            }
        }
        for failover in failovers.iter().filter(|failover| failover.excused) {
            if let Some(asked) = self.asked.get_mut(&failover.broken) {
                asked.sent = 0;
            }
        }
        failovers
    }

    /// A link is gone: what it was asked for is asked of others.
    pub(super) fn link_lost(&mut self, now: Time, peer: &NodeId, peers: &Peers) -> Vec<Failover> {
        let lost: Vec<ShortId> =
            self.requests.iter().filter(|(_, request)| request.asked == *peer).map(|(id, _)| *id).collect();
        let mut questions = BTreeMap::new();
        lost.into_iter().filter_map(|id| self.fail(now, id, peers, &mut questions)).collect()
    }

    /// When [`Self::expire`] next has work.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    fn in_flight(&self, peer: &NodeId) -> usize {
        self.asked.get(peer).map_or(0, |asked| asked.requests)
    }

    /// Gives a request more time if whoever was asked is at it.
    fn wait_on(&mut self, now: Time, id: ShortId, peers: &Peers) -> bool {
        let Some(request) = self.requests.get_mut(&id) else { return false };
        let answered = self.asked.get(&request.asked).map_or(Time::ZERO, |asked| asked.answered);
        let deadline = (answered + expected_rtt(&request.asked, peers) * 2 + PATIENCE).min(request.since + LONGEST);
        if deadline <= now {
            return false;
        }
        self.deadlines.remove(&(request.deadline, id));
        self.deadlines.insert((deadline, id));
        request.deadline = deadline;
        true
    }

    /// A request was in vain: goes on to the next announcer, with one question for all that go on to it at the same time.
    fn fail(
        &mut self,
        now: Time,
        id: ShortId,
        peers: &Peers,
        questions: &mut BTreeMap<NodeId, u64>,
    ) -> Option<Failover> {
        let asked = self.requests.get(&id).and_then(|request| self.asked.get(&request.asked));
        let excused = asked.is_some_and(|asked| asked.sent >= FULL_ANSWER);
        let mut request = self.take(id)?;
        let next = loop {
            match request.others.pop_front() {
                Some(peer) if peers.get(&peer).is_none_or(|link| !link.is_ready()) => {}
                next => break next,
            }
        };
        if let Some(next) = next {
            let question = *questions.entry(next).or_insert_with(|| {
                self.questions += 1;
                self.questions
            });
            self.ask(now, id, next, question, request.others, peers);
        }
        Some(Failover { id, question: request.question, broken: request.asked, excused, next })
    }

    fn ask(&mut self, now: Time, id: ShortId, peer: NodeId, question: u64, others: VecDeque<NodeId>, peers: &Peers) {
        let rtt = expected_rtt(&peer, peers);
        let deadline = now + rtt * 2 + PATIENCE;
        let request = Request { asked: peer, question, since: now, expected: now + rtt, deadline, others };
        self.requests.insert(id, request);
        self.deadlines.insert((deadline, id));
        self.asked.entry(peer).or_default().requests += 1;
    }

    fn take(&mut self, id: ShortId) -> Option<Request> {
        let request = self.requests.remove(&id)?;
        self.deadlines.remove(&(request.deadline, id));
        if let Some(asked) = self.asked.get_mut(&request.asked) {
            asked.requests -= 1;
            if asked.requests == 0 {
                self.asked.remove(&request.asked);
            }
        }
        Some(request)
    }
}

/// Asks those next in line, each with one message if it can be.
pub(super) fn ask_next(failovers: &[Failover], out: &mut impl FnMut(Output)) {
    let mut asked: BTreeMap<NodeId, Vec<ShortId>> = BTreeMap::new();
    for (peer, id) in failovers.iter().filter_map(|failover| Some((failover.next?, failover.id))) {
        asked.entry(peer).or_default().push(id);
    }
    for (peer, ids) in asked {
        for ids in BoundedVec::chunks(&ids) {
            out(Output::Send { peer, message: Message::IWant(ids) });
        }
    }
}

fn expected_rtt(peer: &NodeId, peers: &Peers) -> Duration {
    peers.get(peer).map_or(Duration::ZERO, |link| link.expected_rtt())
}

#[cfg(test)]
mod tests {
    use super::super::super::io::Direction;
    use super::*;

    const ID: ShortId = ShortId([1; 8]);

    fn node(i: u8) -> NodeId {
        NodeId([i; 32])
    }

    fn peers() -> Peers {
        let mut peers = Peers::default();
        for i in 0..9 {
            peers.insert(Time::ZERO, node(i), Direction::Incoming, Default::default());
            let link = peers.get_mut(&node(i)).unwrap();
            link.ready = true;
            link.measured(Duration::from_millis(40));
        }
        peers
    }

    #[test]
    fn one_request_in_flight_and_failover_in_the_order_of_announcements() {
        let (mut fetch, peers) = (Fetch::default(), peers());
        assert!(fetch.announced(Time::ZERO, ID, node(0), &peers));
        for i in [0, 1, 1, 2] {
            assert!(!fetch.announced(Time::ZERO, ID, node(i), &peers));
        }
        let first = Time::ZERO + Duration::from_millis(100);
        assert_eq!(fetch.deadline(), Some(first));
        assert_eq!(fetch.expire(Time::ZERO, &peers), []);
        assert_eq!(
            fetch.expire(first, &peers),
            [Failover { id: ID, question: 0, broken: node(0), excused: false, next: Some(node(1)) }]
        );
        assert_eq!(
            fetch.link_lost(first, &node(1), &peers),
            [Failover { id: ID, question: 1, broken: node(1), excused: false, next: Some(node(2)) }]
        );
        let second = fetch.deadline().unwrap();
        let last = Failover { id: ID, question: 2, broken: node(2), excused: false, next: None };
        assert_eq!(fetch.expire(second, &peers), [last]);
        assert_eq!(fetch.deadline(), None);
        assert!(fetch.asked.is_empty() && fetch.requests.is_empty());
    }

    #[test]
    fn a_much_nearer_announcer_is_asked_too() {
        let (mut fetch, mut peers) = (Fetch::default(), peers());
        assert!(fetch.announced(Time::ZERO, ID, node(0), &peers));
        peers.remove(&node(1));
        peers.insert(Time::ZERO, node(1), Direction::Incoming, Default::default());
        let near = peers.get_mut(&node(1)).unwrap();
        near.ready = true;
        near.measured(Duration::from_millis(10));
        // The first should answer after 40 ms.
        let late = Time::ZERO + Duration::from_millis(30);
        assert!(!fetch.announced(late, ID, node(1), &peers), "its answer is nearly there");
        let (mut fetch, early) = (Fetch::default(), Time::ZERO + Duration::from_millis(20));
        fetch.announced(Time::ZERO, ID, node(0), &peers);
        assert!(fetch.announced(early, ID, node(1), &peers));
        assert!(!fetch.announced(early, ID, node(1), &peers), "once");
        let deadline = fetch.deadline().unwrap();
        assert_eq!(deadline, early + Duration::from_millis(40));
        let failover = Failover { id: ID, question: 0, broken: node(1), excused: false, next: Some(node(0)) };
        assert_eq!(fetch.expire(deadline, &peers), [failover], "the first is not given up");
    }

    #[test]
    fn arrival_ends_the_request_and_dead_links_are_skipped() {
        let (mut fetch, mut peers) = (Fetch::default(), peers());
        fetch.announced(Time::ZERO, ID, node(0), &peers);
        assert!(fetch.arrived(Time::ZERO, ID, node(0), 250));
        assert!(!fetch.arrived(Time::ZERO, ID, node(0), 250) && fetch.deadline().is_none());
        fetch.announced(Time::ZERO, ID, node(0), &peers);
        assert!(!fetch.arrived(Time::ZERO, ID, node(1), 250) && fetch.requests.is_empty(), "no answer, but here");
        for i in 0..9 {
            fetch.announced(Time::ZERO, ID, node(i), &peers);
        }
        assert_eq!(fetch.requests[&ID].others.len(), MAX_ALTERNATIVES);
        peers.remove(&node(1));
        let deadline = fetch.deadline().unwrap();
        assert_eq!(fetch.expire(deadline, &peers)[0].next, Some(node(2)));
    }

    #[test]
    fn a_long_answer_is_waited_for_and_what_is_missing_then_is_one_question() {
        let (mut fetch, peers) = (Fetch::default(), peers());
        let id = |number: u64| ShortId(number.to_be_bytes());
        fetch.new_question();
        (0..100).for_each(|number| assert!(fetch.announced(Time::ZERO, id(number), node(0), &peers)));
        for other in [1, 2] {
            (0..100).for_each(|number| assert!(!fetch.announced(Time::ZERO, id(number), node(other), &peers)));
        }
        let mut now = Time::ZERO;
        for number in 0..50 {
            now = now + Duration::from_millis(90);
            let is_given_up = now >= Time::ZERO + LONGEST;
            assert_eq!(!fetch.expire(now, &peers).is_empty(), is_given_up, "{now:?}");
            if is_given_up {
                break;
            }
            assert!(fetch.arrived(now, id(number), node(0), 250));
        }
        let left = fetch.requests.len();
        assert!((70..80).contains(&left), "{left}");
        // The next says nothing.
        let failovers = fetch.expire(fetch.deadline().unwrap(), &peers);
        assert_eq!(failovers.len(), left);
        assert!(failovers.iter().all(|failover| failover.broken == node(1) && failover.next == Some(node(2))));
        assert!(failovers.iter().all(|failover| failover.question == failovers[0].question));
        let last = fetch.link_lost(now, &node(2), &peers);
        assert_eq!(last.len(), left);
        assert!(last.iter().all(|failover| failover.question == last[0].question && failover.next.is_none()));
    }

    #[test]
    fn whoever_has_sent_as_much_as_it_has_to_is_excused_once() {
        let (mut fetch, peers) = (Fetch::default(), peers());
        let ids = [2, 3, 4].map(|i| ShortId([i; 8]));
        ids.iter().for_each(|id| assert!(fetch.announced(Time::ZERO, *id, node(0), &peers)));
        assert!(fetch.arrived(Time::ZERO, ids[0], node(0), FULL_ANSWER));
        let excused = |failovers: Vec<Failover>| failovers.iter().map(|f| f.excused).collect::<Vec<_>>();
        let deadline = fetch.deadline().unwrap();
        assert!(fetch.announced(deadline, ID, node(1), &peers));
        let later = [5, 6].map(|i| ShortId([i; 8]));
        later.iter().for_each(|id| assert!(fetch.announced(deadline, *id, node(0), &peers)));
        assert_eq!(excused(fetch.expire(deadline, &peers)), [true; 2]);
        assert_eq!(excused(fetch.expire(fetch.deadline().unwrap(), &peers)), [false; 3]);
    }

    #[test]
    fn one_neighbour_cannot_fill_the_table() {
        let (mut fetch, peers) = (Fetch::default(), peers());
        let asked = (0..2 * MAX_REQUESTS_PER_PEER as u64)
            .filter(|i| fetch.announced(Time::ZERO, ShortId(i.to_le_bytes()), node(0), &peers))
            .count();
        assert_eq!(asked, MAX_REQUESTS_PER_PEER);
        assert!(fetch.announced(Time::ZERO, ShortId([0xff; 8]), node(1), &peers));
    }
}
