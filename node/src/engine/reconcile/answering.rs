//! Comparisons in which this node answers: what it gives of its pool.

use std::collections::BTreeMap;

use starling_mempool::{Budget, Mempool};
use starling_wire::{
    BoundedVec, Digest, GetSymbols, Message, NodeId, ShortId, Sketch, Slice,
    limits::{MAX_IDS, MAX_SYMBOLS},
    sketch::{Encoder, Symbol},
};

use super::{MAX_SESSION, MAX_SLICE, Output, PATIENCE, SYMBOLS, Time, send};

/// Least symbols in a first answer: mostly enough for eight ids. Ten are under way between neighbours at 100 transactions a
/// second.
const FIRST_SYMBOLS: usize = 16;

/// Most symbols in a first answer that were not wished for, because the numbers of ids differ.
const MAX_FIRST: usize = 256;

/// A difference by less than this is never answered with ids alone.
const LEAST_OFFER: usize = 32;

/// Comparisons in which this node can give more symbols, at one time; the oldest gives way. Each keeps 32 bytes for each id.
const MAX_ANSWERING: usize = 8;

/// Bytes of an id.
const ID: usize = size_of::<ShortId>();

/// Ids that can be looked at again for more symbols, most of which they are not in, in the time it takes to mix one in.
const LOOKS: usize = 32;

/// What any digest costs: it is looked up what is held, and what of it waits to be heard of again.
const DIGEST: usize = 256;

const _: () = assert!(MAX_FIRST <= MAX_SYMBOLS && MAX_SESSION >= MAX_SYMBOLS);
const _: () = assert!(DIGEST + 2 * MAX_SLICE + MAX_SYMBOLS * Symbol::BYTES <= SYMBOLS.burst as usize);

/// What follows from a digest.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nothing is to be said, as both hold the same.
    Equal,
    /// It was answered, or is not to be.
    Given,
    /// The neighbour holds so much more that this node should ask instead.
    Ask,
}

/// One comparison.
#[derive(Debug)]
struct Answering {
    salt: u64,
    /// `None` if it gave way. The neighbour cannot know and may ask for more.
    encoder: Option<Encoder>,
    /// When it last sent symbols.
    last: Time,
}

/// All of them, one for each neighbour.
#[derive(Debug, Default)]
pub(super) struct Answers(BTreeMap<NodeId, Answering>);

impl Answers {
    /// A link was lost.
    pub(super) fn forget(&mut self, peer: &NodeId) {
        self.0.remove(peer);
    }

    /// Forgets those with which nobody went on.
    pub(super) fn expire(&mut self, now: Time) {
        self.0.retain(|_, answering| now - answering.last < PATIENCE);
    }

    /// A neighbour begins a comparison. `budget` is what it has used up of [`SYMBOLS`].
    pub(super) fn digest(
        &mut self,
        now: Time,
        peer: NodeId,
        digest: &Digest,
        budget: &mut Budget,
        pool: &Mempool,
        out: &mut impl FnMut(Output),
    ) -> Answer {
        let Digest { salt, slice, holds, wanted } = *digest;
        if !budget.take(now.since_start(), DIGEST, SYMBOLS) {
            return Answer::Given;
        }
        let held = pool.fingerprint(slice);
        let (own, theirs) = (held.count as usize, holds.count as usize);
        // To know what a narrow slice holds means to look at all of it, and somebody may have filled it on purpose.
        let looks = if slice.bits() > Mempool::SUMMED_BITS { 0 } else { own };
        budget.spend(now.since_start(), own - looks, SYMBOLS);
        if held == holds {
            return Answer::Equal;
        }
        let mut take = |bytes| budget.take(now.since_start(), bytes, SYMBOLS);
        let (larger, surplus) = (own.max(theirs), own.abs_diff(theirs));
        if surplus >= (larger / 2).max(LEAST_OFFER) || larger > 2 * MAX_SLICE {
            if own < theirs {
                return if take(looks + ID) { Answer::Ask } else { Answer::Given };
            }
            if take(own.min(MAX_IDS) * ID) {
                offer(peer, salt, slice, own, pool, out);
            }
            return Answer::Given;
        }
        // The surplus differs, but for what has come since the digest was sent, so that less than enough is given for it. What
        // else differs the neighbour may know from other comparisons.
        let first = (surplus * 5 / 4).clamp(FIRST_SYMBOLS, MAX_FIRST).max(wanted.into());
        if take(looks + first * Symbol::BYTES) {
            let mut encoder = Encoder::new(salt, pool.short_ids(slice.range()));
            let symbols = encoder.next_symbols(first);
            out(send(peer, sketch(salt, encoder.len(), 0, symbols)));
            self.insert(peer, Answering { salt, encoder: Some(encoder), last: now });
        }
        Answer::Given
    }

    /// A neighbour asks for more symbols; says whether it may. `budget` is what it has used up of [`SYMBOLS`].
    pub(super) fn get_symbols(
        &mut self,
        now: Time,
        peer: NodeId,
        request: &GetSymbols,
        budget: &mut Budget,
        out: &mut impl FnMut(Output),
    ) -> bool {
        let (from, count) = (request.from as usize, usize::from(request.count));
        let Some(answering) = self.0.get_mut(&peer).filter(|answering| answering.salt == request.salt) else {
            return false;
        };
        let Some(encoder) = &mut answering.encoder else { return true };
        if encoder.made() != from || from + count > MAX_SESSION {
            return false;
        }
        let cost = encoder.len() / LOOKS + count * Symbol::BYTES;
        if budget.take(now.since_start(), cost, SYMBOLS) {
            answering.last = now;
            let symbols = encoder.next_symbols(count);
            out(send(peer, sketch(request.salt, encoder.len(), from, symbols)));
        }
        true
    }

    fn insert(&mut self, peer: NodeId, answering: Answering) {
        let able = |(other, answering): &(&NodeId, &mut Answering)| **other != peer && answering.encoder.is_some();
        if self.0.iter_mut().filter(able).count() >= MAX_ANSWERING
            && let Some((_, oldest)) = self.0.iter_mut().filter(able).min_by_key(|(_, answering)| answering.last)
        {
            oldest.encoder = None;
        }
        self.0.insert(peer, answering);
    }
}

/// Announces what a neighbour lacks most of: all that there is, or of all ids the best.
fn offer(peer: NodeId, salt: u64, slice: Slice, own: usize, pool: &Mempool, out: &mut impl FnMut(Output)) {
    out(send(peer, sketch(salt, own, 0, Vec::new())));
    let ids: Vec<ShortId> = if own <= MAX_IDS {
        pool.short_ids(slice.range()).collect()
    } else if slice == Slice::ALL {
        pool.iter().take(MAX_IDS).map(|tx| tx.short_id()).collect()
    } else {
        // To find the best of a part would mean to look at all.
        return;
    };
    for ids in BoundedVec::chunks(&ids) {
        out(send(peer, Message::IHave(ids)));
    }
}

fn sketch(salt: u64, count: usize, from: usize, symbols: Vec<Symbol>) -> Message {
    // Both callers keep to the limit.
    let symbols = BoundedVec::chunks(&symbols).next().unwrap_or_default();
    Message::Sketch(Sketch { salt, count: count as u32, from: from as u32, symbols })
}
