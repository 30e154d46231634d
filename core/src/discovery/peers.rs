//! Whom a server heard on one interface, and when it says so.

use alloc::collections::BTreeMap;
use core::time::Duration;

use super::Place;
use crate::{Instant, Rng};

/// The most that are kept, for each interface; those heard least recently go
/// first.
const MAX_PEERS: usize = 256;
/// One that was silent for so long is not counted any more.
const FORGET: Duration = Duration::from_secs(600);
/// One that is heard is said to be so again after this: it may have been lost
/// and found.
const REMIND: Duration = Duration::from_secs(10);
/// With every peer more, it is said up to this much later, so that a crowd does
/// not dial a newcomer all at once: by then most have heard of it otherwise.
const SPREAD: Duration = Duration::from_millis(10);

#[derive(Debug, Default)]
pub(super) struct Peers(BTreeMap<Place, Peer>);

#[derive(Debug)]
struct Peer {
    heard: Instant,
    /// When it will be said, or was last.
    told: Instant,
}

impl Peers {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Somebody was heard: when to say so, if at all.
    pub(super) fn hear(&mut self, now: Instant, place: Place, rng: &mut Rng) -> Option<Instant> {
        self.0.retain(|_, peer| now.since(peer.heard) < FORGET);
        let spread = SPREAD * u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        let later = now + Duration::from_micros(rng.below(spread.as_micros() as u64));
        if let Some(peer) = self.0.get_mut(&place) {
            peer.heard = now;
            if peer.told > now || now.since(peer.told) < REMIND {
                return None;
            }
            peer.told = later;
        } else {
            self.0.insert(place, Peer { heard: now, told: later });
            self.shrink();
        }
        Some(later)
    }

    fn shrink(&mut self) {
        if self.0.len() > MAX_PEERS {
            let longest_silent = self.0.iter().min_by_key(|(_, peer)| peer.heard).map(|(&place, _)| place);
            if let Some(place) = longest_silent {
                self.0.remove(&place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Incarnation, ServerId};

    fn place(number: u64) -> Place {
        let addr = "10.0.0.1:1".parse().unwrap();
        Place { incarnation: Incarnation { id: ServerId(number), start: 1 }, addr }
    }

    #[test]
    fn it_is_said_at_once_and_again_but_not_always() {
        let (mut peers, mut rng) = (Peers::default(), Rng::from_number(1));
        let mut hear = |seconds| {
            let now = Instant::ZERO + Duration::from_secs(seconds);
            peers.hear(now, place(1), &mut rng).map(|at| at.since(now) <= SPREAD)
        };
        assert_eq!([hear(0), hear(9), hear(11), hear(12)], [Some(true), None, Some(true), None]);
        peers.hear(Instant::ZERO + Duration::from_secs(700), place(2), &mut rng);
        assert_eq!(peers.len(), 1, "the other was forgotten");
    }

    #[test]
    fn a_crowd_takes_its_time_and_is_bounded() {
        let (mut peers, mut rng) = (Peers::default(), Rng::from_number(1));
        let mut latest = Instant::ZERO;
        for number in 1..1000 {
            latest = latest.max(peers.hear(Instant::from_micros(number), place(number), &mut rng).unwrap());
            assert!(peers.len() <= MAX_PEERS);
        }
        assert!(latest > Instant::ZERO + Duration::from_secs(1));
        assert!(latest < Instant::ZERO + Duration::from_secs(3));
        let newest = peers.hear(Instant::from_micros(1000), place(999), &mut rng);
        assert_eq!(newest, None, "the oldest went");
    }
}
