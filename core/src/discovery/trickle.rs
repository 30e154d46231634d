//! When a server speaks: the Trickle algorithm (RFC 6206).
//!
//! Time is cut into intervals. In the second half of each, at a random moment,
//! the server speaks, unless it heard enough others in that interval already.
//! Each interval is twice as long as the one before, up to a limit. So a start
//! is quick, idling is cheap, and a thousand servers on one wire together say
//! no more than a few would. Who is silent because of others has found them.
//!
//! News does not make the intervals short again, as in the RFC: who hears a
//! newcomer dials it, so there is nothing to say; and where nearly everybody is
//! silent, somebody not heard lately is no news.

use core::time::Duration;

use crate::{Instant, Rng};

/// The first interval.
const SHORTEST: Duration = Duration::from_millis(100);
/// The longest interval.
pub(super) const LONGEST: Duration = Duration::from_secs(16);
/// How many others in one interval are enough.
const ENOUGH: u32 = 2;

#[derive(Debug)]
pub(super) struct Trickle {
    interval: Duration,
    end: Instant,
    /// When to speak, if that is still to come.
    speak: Option<Instant>,
    heard: u32,
}

impl Trickle {
    pub(super) fn new(now: Instant, rng: &mut Rng) -> Self {
        let mut trickle = Self { interval: SHORTEST, end: now, speak: None, heard: 0 };
        trickle.begin(now, SHORTEST, rng);
        trickle
    }

    fn begin(&mut self, now: Instant, interval: Duration, rng: &mut Rng) {
        let half = interval / 2;
        let later = Duration::from_micros(rng.below(half.as_micros() as u64));
        *self = Self { interval, end: now + interval, speak: Some(now + half + later), heard: 0 };
    }

    /// Somebody else spoke.
    pub(super) const fn hear(&mut self) {
        self.heard = self.heard.saturating_add(1);
    }

    /// When [`Trickle::handle_timeout`] wants to be called.
    pub(super) fn due(&self) -> Instant {
        self.speak.unwrap_or(self.end)
    }

    /// Whether to speak now.
    pub(super) fn handle_timeout(&mut self, now: Instant, rng: &mut Rng) -> bool {
        let speaks = self.speak.take_if(|at| *at <= now).is_some() && self.heard < ENOUGH;
        if self.end <= now {
            self.begin(now, (self.interval * 2).min(LONGEST), rng);
        }
        speaks
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    /// When it speaks in its first minutes, hearing as many as `others` in each
    /// interval.
    fn spoken(others: u32, seed: u64) -> Vec<Instant> {
        let mut rng = Rng::from_number(seed);
        let mut trickle = Trickle::new(Instant::ZERO, &mut rng);
        let mut spoken = Vec::new();
        while trickle.due() < Instant::ZERO + Duration::from_secs(300) {
            let now = trickle.due();
            if trickle.heard == 0 {
                (0..others).for_each(|_| trickle.hear());
            }
            if trickle.handle_timeout(now, &mut rng) {
                spoken.push(now);
            }
        }
        spoken
    }

    #[test]
    fn one_alone_is_quick_and_then_slow_and_never_stops() {
        for seed in 0..50 {
            let spoken = spoken(0, seed);
            assert!(spoken.iter().filter(|at| at.as_micros() < 1_500_000).count() >= 3);
            assert!((15..40).contains(&spoken.len()), "{}", spoken.len());
            assert!(spoken.windows(2).all(|pair| pair[1].since(pair[0]) <= LONGEST * 3 / 2));
        }
    }

    #[test]
    fn one_that_hears_enough_is_silent() {
        assert!(spoken(ENOUGH - 1, 1).len() >= 15);
        assert!(spoken(ENOUGH, 1).is_empty());
    }
}
