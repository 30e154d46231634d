//! News on their way to everybody: passed on once, by whoever hears them first,
//! in the order in which they were heard, a few milliseconds' worth together,
//! and to nobody who has told the same in the meantime.

use alloc::vec::Vec;
use core::time::Duration;

use hashbrown::{HashTable, hash_table::Entry};

use super::{
    Membership, Output,
    message::{MAX_RECORDS, Message, News},
    roster::hash,
};
use crate::{Instant, ServerId};

/// How long news wait for more.
const BATCH: Duration = Duration::from_millis(10);
/// How long, while they never end: fewer and larger messages, and more of the
/// neighbours have told the same before it is told to them.
const STREAM: Duration = Duration::from_millis(100);
/// Along how many of the rings it is told who joined: over two everybody hears
/// it from about three others, over all from more than ten. Who is missed has a
/// view that differs from its neighbours', and hears by that.
const JOIN_RINGS: usize = 2;

#[derive(Debug)]
pub(super) struct Flood {
    waiting: Vec<Waiting>,
    /// Where the news of each server are among those; the last, if there are two.
    places: HashTable<u32>,
    /// Who told something that waits: [`Waiting::told_by`] counts in this order.
    tellers: Vec<ServerId>,
    /// When something was sent the last time.
    sent: Instant,
    pub(super) due: Instant,
}

/// News, and who has told them; of more tellers than there are bits, some.
#[derive(Debug)]
struct Waiting {
    news: News,
    told_by: u64,
}

impl Default for Flood {
    fn default() -> Self {
        let (waiting, places, tellers) = (Vec::new(), HashTable::new(), Vec::new());
        Self { waiting, places, tellers, sent: Instant::ZERO, due: Instant::NEVER }
    }
}

impl Flood {
    /// Adds what `from` said, or this server itself.
    pub(super) fn push(&mut self, news: News, from: Option<ServerId>, now: Instant) {
        if self.waiting.is_empty() {
            let streams = self.sent > Instant::ZERO && now.since(self.sent) < STREAM;
            self.due = now + if streams { STREAM } else { BATCH };
        }
        let told_by = from.map_or(0, |from| self.teller(from));
        let (id, place) = (news.record.id, u32::try_from(self.waiting.len()).unwrap_or(u32::MAX));
        self.waiting.push(Waiting { news, told_by });
        let Self { waiting, places, .. } = self;
        let rehash = |&place: &u32| id_at(waiting, place).map_or(0, hash);
        match places.entry(hash(id), |&place| id_at(waiting, place) == Some(id), rehash) {
            Entry::Occupied(mut found) => *found.get_mut() = place,
            Entry::Vacant(free) => drop(free.insert(place)),
        }
    }

    /// Notes that `from` told something, and says whether the same waits here:
    /// then it is no news.
    pub(super) fn is_told(&mut self, news: &News, from: ServerId) -> bool {
        let id = news.record.id;
        let place = self.places.find(hash(id), |&place| id_at(&self.waiting, place) == Some(id)).copied();
        let teller = if place.is_some() { self.teller(from) } else { 0 };
        let waiting = place.and_then(|place| self.waiting.get_mut(place as usize));
        let same = waiting.filter(|waiting| waiting.news == *news);
        same.map(|waiting| waiting.told_by |= teller).is_some()
    }

    /// The bit of a teller.
    fn teller(&mut self, id: ServerId) -> u64 {
        let known = self.tellers.iter().position(|teller| *teller == id);
        bit(known.unwrap_or_else(|| {
            self.tellers.push(id);
            self.tellers.len() - 1
        }))
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

/// Whom it is about what waits at a place.
fn id_at(waiting: &[Waiting], place: u32) -> Option<ServerId> {
    waiting.get(place as usize).map(|waiting| waiting.news.record.id)
}

/// The bit of somebody in `told_by`; those after the first 64 have none.
fn bit(place: usize) -> u64 {
    1_u64.checked_shl(u32::try_from(place).unwrap_or(u32::MAX)).unwrap_or(0)
}

impl Membership {
    /// Sends each neighbour what waits and it has not told, and says who they
    /// are.
    pub(super) fn flush(&mut self, now: Instant) -> Vec<ServerId> {
        let flood = core::mem::take(&mut self.flood);
        self.flood.sent = now;
        let targets = self.flood_targets(now);
        let near = self.rings.within(JOIN_RINGS);
        for &(id, link) in &targets {
            let told = flood.tellers.iter().position(|teller| *teller == id).map_or(0, bit);
            let is_near = near.contains(&id);
            let untold = flood.waiting.iter().filter(|waiting| waiting.told_by & told == 0);
            let untold = untold.map(|waiting| waiting.news).filter(|news| is_near || !news.is_join());
            let mut untold: Vec<News> = untold.collect();
            while !untold.is_empty() {
                let rest = untold.split_off(untold.len().min(MAX_RECORDS));
                self.out.push_back(Output::Send(link, Message::News(untold).encode()));
                untold = rest;
            }
        }
        targets.into_iter().map(|(id, _)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::{
        super::{
            Record,
            rig::{Rig, alive},
        },
        *,
    };
    use crate::Epoch;

    #[test]
    fn news_go_to_all_neighbours_once_together_and_not_back() {
        let mut rig = Rig::among(4);
        rig.news(2, alive(8), false);
        rig.news(2, alive(9), false);
        rig.news(2, alive(9), false);
        assert!(rig.news_of(8).is_empty());
        rig.pass(STREAM);
        let with_news = |rig: &Rig| {
            let news = rig.said.iter().filter(|(_, message)| matches!(message, Message::News(_)));
            news.map(|(to, _)| *to).collect::<Vec<u64>>()
        };
        assert_eq!(with_news(&rig), [3, 4]);
        assert_eq!((rig.news_of(8).len(), rig.news_of(9).len()), (2, 2));
        rig.forget();
        rig.news(3, alive(9), false);
        rig.pass(STREAM);
        assert_eq!(with_news(&rig), [], "old news are no news");
    }

    #[test]
    fn who_joins_is_told_along_two_rings_and_who_goes_along_all() {
        let mut rig = Rig::among(60);
        let told = |rig: &Rig| rig.said.iter().filter(|(_, said)| matches!(said, Message::News(_))).count();
        let neighbours = rig.one.rings.set();
        let stranger = (2..60).find(|&id| !neighbours.contains(&ServerId(id))).expect("no neighbour");
        rig.forget();
        rig.news(stranger, alive(90), false);
        rig.pass(STREAM);
        let near = rig.one.rings.within(JOIN_RINGS).iter().filter(|id| id.0 != 90).count();
        assert!(near <= 2 * JOIN_RINGS && near < neighbours.len());
        assert_eq!((told(&rig), rig.news_of(90).len()), (near, near));
        rig.forget();
        rig.news(stranger, Record { epoch: Epoch { start: 1, rise: 1 }, ..alive(90) }, true);
        rig.pass(STREAM);
        assert!(told(&rig) >= neighbours.len() && told(&rig) > 2 * near);
    }

    #[test]
    fn nobody_is_told_what_it_has_told_in_the_meantime() {
        let mut rig = Rig::among(4);
        rig.news(2, alive(8), false);
        rig.news(3, alive(9), false);
        rig.news(3, alive(8), false);
        rig.pass(STREAM);
        let told = |rig: &Rig, id: u64| {
            let about = |message: &Message| match message {
                Message::News(all) => all.iter().any(|news| news.record.id == ServerId(id)),
                _ => false,
            };
            rig.said.iter().filter(|(_, message)| about(message)).map(|(to, _)| *to).collect::<Vec<u64>>()
        };
        assert_eq!((told(&rig, 8), told(&rig, 9)), (vec![4], vec![2, 4]));
    }

    #[test]
    fn what_was_told_otherwise_is_told_as_it_is() {
        let mut rig = Rig::among(3);
        rig.news(2, alive(8), false);
        let risen = Record { epoch: Epoch { start: 1, rise: 1 }, ..alive(8) };
        rig.news(3, risen, false);
        rig.news(3, alive(8), false);
        rig.pass(STREAM);
        let said = |to: u64| rig.said.iter().filter(move |(id, _)| *id == to).map(|(_, message)| message.clone());
        let of = |record| News { record, verdict: false };
        assert_eq!(said(2).collect::<Vec<_>>(), [Message::News(vec![of(risen)])]);
        assert_eq!(said(3).collect::<Vec<_>>(), [Message::News(vec![of(alive(8))])]);
    }

    #[test]
    fn news_that_never_end_make_fewer_messages() {
        let mut rig = Rig::among(3);
        rig.live(STREAM, &[]);
        for (rise, wait) in [(1, BATCH), (2, STREAM), (3, STREAM)] {
            rig.forget();
            rig.news(2, Record { epoch: Epoch { start: 1, rise }, ..alive(8) }, false);
            rig.pass(wait - Duration::from_millis(1));
            assert_eq!(rig.news_of(8).len(), 0);
            rig.pass(Duration::from_millis(1));
            assert_eq!(rig.news_of(8).len(), 1);
        }
    }
}
