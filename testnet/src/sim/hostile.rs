//! Nodes that run the shipping engine and mislead all their neighbours in the relay.
//!
//! An honest node's engine is left alone. A hostile one's works as usual too, but what it gets and sends passes through
//! [`Mischief`], which changes messages, adds some, holds some back or drops them. Nobody breaks the protocol openly:
//! who does is banned at once and can do no harm.

use std::{
    collections::{BTreeSet, VecDeque},
    str::FromStr,
};

use clap::ValueEnum;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use starling_wire::{BoundedVec, Kind, Labels, Message, ShortId};

use super::{
    Scenario,
    relay::{Action, Cx, NEVER, Relay, Wire},
    starling::{Frame, Starling},
};

/// How long [`Attack::Late`] holds a push back, in microseconds: longer than a transaction takes to all nodes, and than
/// most requests wait for an answer.
const HOLD_US: u64 = 500_000;

/// Labels that [`Attack::FalseLabels`] has at hand: those of the last second at 50 transactions per second.
const RECENT: usize = 64;

/// What hostile nodes do to all their neighbours. Whatever is not said here they do as honest nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Attack {
    /// Every PUSH carries the labels of another that was sent lately, drawn anew for each neighbour. This misleads more
    /// than random labels, of which neighbours know nothing and go by the link alone: with 30 % hostile nodes of 500,
    /// the last honest node (95th percentile) comes after 1.2 to 1.3 times the shortest path instead of 1.1 times.
    /// Random ones cost a little more traffic instead (3.6 copies, not 3.4).
    FalseLabels,
    /// Every PUSH that comes, the first copy too, is answered with PRUNE at once.
    PruneAll,
    /// No PRUNE is sent.
    NeverPrune,
    /// Every transaction is announced to all neighbours but the one that brought it, as soon as it comes, and sent to
    /// nobody, asked for or not.
    Withhold,
    /// Every PUSH is sent 500 ms late, answers to IWANT too; all else in time.
    Late,
}

impl Attack {
    /// The name on the command line and in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::FalseLabels => "false-labels",
            Self::PruneAll => "prune-all",
            Self::NeverPrune => "never-prune",
            Self::Withhold => "withhold",
            Self::Late => "late",
        }
    }
}

/// `KIND@SHARE`: so many of the nodes are hostile, from the start on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Hostile {
    /// What they do.
    pub(crate) attack: Attack,
    /// Of all nodes, 0 to 1.
    pub(crate) share: f64,
}

impl FromStr for Hostile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, share) = text.split_once('@').ok_or("hostile nodes are KIND@SHARE, for example withhold@0.05")?;
        let attack = Attack::from_str(kind.trim(), false).map_err(|_| {
            let names: Vec<&str> = Attack::value_variants().iter().map(|attack| attack.name()).collect();
            format!("hostile nodes cannot do `{kind}`; there are {}", names.join(", "))
        })?;
        let share: f64 = share.trim().parse().map_err(|_| format!("`{share}` is no number"))?;
        if !(0.0..=1.0).contains(&share) {
            return Err("the share is from 0 to 1".to_owned());
        }
        Ok(Self { attack, share })
    }
}

/// What a hostile node does to the messages, with what it must remember for that: never more than the ids of the
/// scenario's transactions, or the pushes of [`HOLD_US`].
enum Mischief {
    FalseLabels { rng: Box<ChaCha8Rng>, recent: VecDeque<Labels> },
    PruneAll,
    NeverPrune,
    Withhold { links: usize, announced: BTreeSet<ShortId> },
    Late { held: VecDeque<Held> },
}

/// A push that is sent later.
struct Held {
    /// In microseconds since the start of the world.
    until: u64,
    slot: usize,
    frame: Frame,
}

impl Mischief {
    /// For a node with so many links.
    fn new(attack: Attack, links: usize, rng: ChaCha8Rng) -> Self {
        match attack {
            Attack::FalseLabels => Self::FalseLabels { rng: Box::new(rng), recent: VecDeque::new() },
            Attack::PruneAll => Self::PruneAll,
            Attack::NeverPrune => Self::NeverPrune,
            Attack::Withhold => Self::Withhold { links, announced: BTreeSet::new() },
            Attack::Late => Self::Late { held: VecDeque::new() },
        }
    }

    /// A message came. Says whether the engine may know of it.
    fn hear(&mut self, cx: &mut Cx<'_, Frame>, from: usize, frame: &Frame) -> bool {
        match self {
            Self::PruneAll => {
                if let Some(id) = pushed(frame) {
                    tell(cx, from, id, Message::Prune);
                }
                true
            }
            Self::Withhold { links, announced } => {
                if let Some(id) = pushed(frame)
                    && announced.insert(id)
                {
                    // On a link that is down, nothing is sent.
                    (0..*links).filter(|slot| *slot != from).for_each(|slot| tell(cx, slot, id, Message::IHave));
                }
                // The engine believes that it sent what is asked for, and would blame whoever asks.
                frame.kind() != Kind::IWant.index()
            }
            Self::FalseLabels { .. } | Self::NeverPrune | Self::Late { .. } => true,
        }
    }

    /// The engine sends a message: gives what is sent now instead.
    fn say(&mut self, now: u64, slot: usize, frame: Frame) -> Option<Frame> {
        let is = |kind: Kind| frame.kind() == kind.index();
        match self {
            Self::FalseLabels { rng, recent } => match frame.message() {
                Some(Message::Push { labels, tx }) => {
                    // The same to several neighbours counts once: else true labels would be drawn often.
                    if recent.back() != Some(&labels) {
                        recent.push_back(labels);
                    }
                    if recent.len() > RECENT {
                        recent.pop_front();
                    }
                    let labels = recent[rng.random_range(0..recent.len())];
                    Some(Frame::new(&Message::Push { labels, tx }))
                }
                _ => Some(frame),
            },
            // What the engine would prune was pruned when it came.
            Self::PruneAll | Self::NeverPrune => (!is(Kind::Prune)).then_some(frame),
            Self::Withhold { .. } => (!is(Kind::Push)).then_some(frame),
            Self::Late { held } => {
                if !is(Kind::Push) {
                    return Some(frame);
                }
                held.push_back(Held { until: now + HOLD_US, slot, frame });
                None
            }
        }
    }

    /// When [`Self::release`] has work.
    fn deadline(&self) -> u64 {
        match self {
            Self::Late { held } => held.front().map_or(NEVER, |held| held.until),
            _ => NEVER,
        }
    }

    /// Sends what was held back for long enough.
    fn release(&mut self, cx: &mut Cx<'_, Frame>) {
        if let Self::Late { held } = self {
            while let Some(Held { slot, frame, .. }) = held.pop_front_if(|held| held.until <= cx.now) {
                cx.send(slot, frame);
            }
        }
    }

    /// A link is gone, and with it what was held back for it.
    fn link_lost(&mut self, slot: usize) {
        if let Self::Late { held } = self {
            held.retain(|held| held.slot != slot);
        }
    }
}

/// The transaction that a frame pushes.
fn pushed(frame: &Frame) -> Option<ShortId> {
    match frame.message() {
        Some(Message::Push { tx, .. }) => Some(tx.short_id()),
        _ => None,
    }
}

/// Sends a message about one transaction.
fn tell<const MAX: usize>(
    cx: &mut Cx<'_, Frame>,
    slot: usize,
    id: ShortId,
    message: fn(BoundedVec<ShortId, MAX>) -> Message,
) {
    BoundedVec::chunks(&[id]).for_each(|ids| cx.send(slot, Frame::new(&message(ids))));
}

/// A node with the shipping engine, honest or not.
pub(crate) struct Node {
    starling: Starling,
    /// `None` for an honest node.
    mischief: Option<Mischief>,
}

impl Node {
    /// The nodes of a scenario.
    pub(crate) fn nodes(scenario: &Scenario) -> Vec<Self> {
        let Scenario { topology, catalog, gossip, faults, victims, seed, .. } = scenario;
        let mut seeds = ChaCha8Rng::seed_from_u64(*seed);
        seeds.set_stream(7);
        Starling::nodes(topology, catalog, gossip, *seed)
            .into_iter()
            .enumerate()
            .map(|(node, starling)| {
                let hostile = faults.hostile.filter(|_| victims.hostile[node]);
                let mischief = hostile.map(|Hostile { attack, .. }| {
                    let rng = ChaCha8Rng::seed_from_u64(seeds.next_u64());
                    Mischief::new(attack, topology.arcs_of(node).len(), rng)
                });
                Self { starling, mischief }
            })
            .collect()
    }

    /// Lets the engine do something, and if the node is hostile, edits what it sends.
    fn act(&mut self, cx: &mut Cx<'_, Frame>, what: impl FnOnce(&mut Starling, &mut Cx<'_, Frame>)) {
        let first = cx.actions.len();
        what(&mut self.starling, cx);
        let Some(mischief) = &mut self.mischief else { return };
        for action in cx.actions.split_off(first) {
            match action {
                Action::Send { slot, message } => {
                    if let Some(message) = mischief.say(cx.now, slot, message) {
                        cx.send(slot, message);
                    }
                }
                action => cx.act(action),
            }
        }
    }
}

impl Relay for Node {
    type Message = Frame;

    fn kinds() -> Vec<&'static str> {
        Starling::kinds()
    }

    fn connected(&mut self, cx: &mut Cx<'_, Frame>, slot: usize, outgoing: bool, rtt_us: u32) {
        self.act(cx, |starling, cx| starling.connected(cx, slot, outgoing, rtt_us));
    }

    fn disconnected(&mut self, cx: &mut Cx<'_, Frame>, slot: usize) {
        if let Some(mischief) = &mut self.mischief {
            mischief.link_lost(slot);
        }
        self.act(cx, |starling, cx| starling.disconnected(cx, slot));
    }

    fn congested(&mut self, cx: &mut Cx<'_, Frame>, slot: usize, congested: bool) {
        self.act(cx, |starling, cx| starling.congested(cx, slot, congested));
    }

    fn message(&mut self, cx: &mut Cx<'_, Frame>, slot: usize, message: Frame) {
        if self.mischief.as_mut().is_none_or(|mischief| mischief.hear(cx, slot, &message)) {
            self.act(cx, |starling, cx| starling.message(cx, slot, message));
        }
    }

    fn submit(&mut self, cx: &mut Cx<'_, Frame>, tx: u32) {
        self.act(cx, |starling, cx| starling.submit(cx, tx));
    }

    fn verified(&mut self, cx: &mut Cx<'_, Frame>) {
        self.act(cx, Starling::verified);
    }

    fn deadline(&self) -> u64 {
        self.starling.deadline().min(self.mischief.as_ref().map_or(NEVER, Mischief::deadline))
    }

    fn timeout(&mut self, cx: &mut Cx<'_, Frame>) {
        if let Some(mischief) = &mut self.mischief {
            mischief.release(cx);
        }
        if self.starling.deadline() <= cx.now {
            self.act(cx, Starling::timeout);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        super::traffic::{Catalog, Origins},
        *,
    };
    use crate::load::LoadSpec;

    /// Mischief of a node with four links, and transactions.
    fn setting(attack: Attack) -> (Mischief, Catalog) {
        let load = LoadSpec { seed: 1, rate: 10.0, duration: Duration::from_secs(2), tx_size: 250 };
        let mischief = Mischief::new(attack, 4, ChaCha8Rng::seed_from_u64(1));
        (mischief, Catalog::new(&load, Origins::Uniform, 5).unwrap())
    }

    /// The messages that a call sends, with their links.
    fn sent(catalog: &Catalog, now: u64, call: impl FnOnce(&mut Cx<'_, Frame>)) -> Vec<(usize, Message)> {
        let (mut actions, mut payloads) = (Vec::new(), Vec::new());
        call(&mut Cx { now, catalog, actions: &mut actions, payloads: &mut payloads });
        let sends = actions.into_iter().map(|action| match action {
            Action::Send { slot, message } => (slot, message.message().unwrap()),
            other => panic!("{other:?}"),
        });
        sends.collect()
    }

    fn push(catalog: &Catalog, tx: usize) -> Message {
        Message::Push { labels: [tx as u8; 3], tx: (*catalog.entries[tx].tx).clone() }
    }

    fn id(catalog: &Catalog, tx: usize) -> BoundedVec<ShortId, { starling_wire::limits::MAX_IDS }> {
        BoundedVec::new(vec![catalog.entries[tx].tx.short_id()]).unwrap()
    }

    /// What becomes of a message that the engine sends.
    fn said(mischief: &mut Mischief, message: &Message) -> Option<Message> {
        mischief.say(0, 0, Frame::new(message)).map(|frame| frame.message().unwrap())
    }

    #[test]
    fn labels_are_those_of_other_pushes() {
        let (mut mischief, catalog) = setting(Attack::FalseLabels);
        let mut lies = 0;
        for number in 0..catalog.len() {
            let Some(Message::Push { labels, tx }) = said(&mut mischief, &push(&catalog, number)) else { panic!() };
            assert_eq!(tx.id(), catalog.entries[number].tx.id());
            assert!(usize::from(labels[0]) <= number && labels == [labels[0]; 3]);
            lies += usize::from(labels != [number as u8; 3]);
        }
        assert!(lies > catalog.len() / 2, "{lies}");
        let prune = Message::Prune(id(&catalog, 0));
        assert_eq!(said(&mut mischief, &prune), Some(prune.clone()));
    }

    #[test]
    fn every_push_is_pruned_or_none() {
        let (mut all, catalog) = setting(Attack::PruneAll);
        let (mut never, _) = setting(Attack::NeverPrune);
        let frame = Frame::new(&push(&catalog, 3));
        for _ in 0..2 {
            let answer = sent(&catalog, 0, |cx| assert!(all.hear(cx, 2, &frame)));
            assert_eq!(answer, [(2, Message::Prune(id(&catalog, 3)))]);
        }
        assert_eq!(sent(&catalog, 0, |cx| assert!(never.hear(cx, 2, &frame))), []);
        for mischief in [&mut all, &mut never] {
            assert_eq!(said(mischief, &Message::Prune(id(&catalog, 3))), None, "not by the engine");
            assert_eq!(said(mischief, &push(&catalog, 3)), Some(push(&catalog, 3)));
        }
    }

    #[test]
    fn what_is_withheld_is_announced_once_to_all_others() {
        let (mut mischief, catalog) = setting(Attack::Withhold);
        let frame = Frame::new(&push(&catalog, 3));
        let announcement = Message::IHave(id(&catalog, 3));
        let first = sent(&catalog, 0, |cx| assert!(mischief.hear(cx, 1, &frame)));
        assert_eq!(first, [0, 2, 3].map(|slot| (slot, announcement.clone())));
        assert_eq!(sent(&catalog, 0, |cx| assert!(mischief.hear(cx, 2, &frame))), []);
        let request = Frame::new(&Message::IWant(id(&catalog, 3)));
        assert_eq!(sent(&catalog, 0, |cx| assert!(!mischief.hear(cx, 0, &request))), []);
        assert_eq!(said(&mut mischief, &push(&catalog, 3)), None);
        assert_eq!(said(&mut mischief, &announcement), Some(announcement.clone()));
    }

    #[test]
    fn pushes_are_late_and_nothing_else() {
        let (mut mischief, catalog) = setting(Attack::Late);
        assert_eq!(mischief.deadline(), NEVER);
        for (now, slot) in [(1_000, 0), (1_001, 1), (2_000, 2)] {
            assert!(mischief.say(now, slot, Frame::new(&push(&catalog, slot))).is_none());
        }
        let announcement = Message::IHave(id(&catalog, 3));
        assert_eq!(said(&mut mischief, &announcement), Some(announcement.clone()));
        mischief.link_lost(1);
        assert_eq!(mischief.deadline(), 1_000 + HOLD_US);
        assert_eq!(sent(&catalog, 999 + HOLD_US, |cx| mischief.release(cx)), []);
        assert_eq!(sent(&catalog, 1_999 + HOLD_US, |cx| mischief.release(cx)), [(0, push(&catalog, 0))]);
        assert_eq!(sent(&catalog, 2_000 + HOLD_US, |cx| mischief.release(cx)), [(2, push(&catalog, 2))]);
        assert_eq!(mischief.deadline(), NEVER);
    }

    #[test]
    fn attacks_are_read_and_what_makes_no_sense_is_refused() {
        for attack in Attack::value_variants() {
            let text = format!("{}@0.05", attack.name());
            assert_eq!(text.parse(), Ok(Hostile { attack: *attack, share: 0.05 }));
        }
        for bad in ["withhold", "withhold@", "withhold@2", "withhold@-1", "polite@0.1", "0.1@withhold"] {
            assert!(bad.parse::<Hostile>().is_err(), "{bad}");
        }
    }
}
