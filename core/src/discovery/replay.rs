//! No beacon counts twice.

use alloc::collections::BTreeSet;
use core::time::Duration;

use super::Refusal;

/// How far a beacon's time may be from this clock's, either way.
pub const WINDOW: Duration = Duration::from_secs(30);
/// Beacons that are remembered. Only verified ones are: who has no key cannot
/// fill it.
const MEMORY: usize = 4096;

/// The beacons of the window, by when they were sent. What had to be forgotten
/// raises the floor under which nothing is believed, so a repetition never
/// passes, however many came between.
#[derive(Debug, Default)]
pub(super) struct Replay {
    heard: BTreeSet<(u64, u64)>,
    floor: Option<u64>,
}

impl Replay {
    /// Takes a verified beacon in. `wall` and `sent` are microseconds since
    /// 1970.
    pub(super) fn take(&mut self, wall: u64, sent: u64, nonce: u64) -> Result<(), Refusal> {
        let window = WINDOW.as_micros() as u64;
        if sent.abs_diff(wall) > window {
            return Err(Refusal::Clock);
        }
        // This clock was set back: what was forgotten is of a time that has not come.
        if self.floor.is_some_and(|floor| floor > wall.saturating_add(2 * window)) {
            *self = Self::default();
        }
        if self.floor.is_some_and(|floor| sent <= floor) || !self.heard.insert((sent, nonce)) {
            return Err(Refusal::Repeated);
        }
        let oldest = wall.saturating_sub(window);
        while let Some(&(sent, _)) = self.heard.first()
            && (sent < oldest || self.heard.len() > MEMORY)
        {
            self.heard.pop_first();
            self.floor = self.floor.max(Some(sent));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WALL: u64 = 1_700_000_000_000_000;

    #[test]
    fn a_clock_that_is_set_back_shuts_nobody_out() {
        let mut replay = Replay::default();
        for second in 0..100 {
            assert_eq!(replay.take(WALL + second * 1_000_000, WALL + second * 1_000_000, second), Ok(()));
        }
        let before = WALL - 3_600_000_000;
        assert_eq!(replay.take(before, before, 1), Ok(()));
        assert_eq!(replay.take(before, before, 1), Err(Refusal::Repeated));
    }

    #[test]
    fn thirty_one_seconds_are_too_many_either_way() {
        let mut replay = Replay::default();
        for (seconds, fits) in [(29, true), (30, true), (31, false)] {
            let apart = seconds * 1_000_000;
            assert_eq!(replay.take(WALL, WALL - apart, 1).is_ok(), fits);
            assert_eq!(replay.take(WALL, WALL + apart, 1).is_ok(), fits);
        }
    }

    #[test]
    fn memory_is_bounded_and_what_was_forgotten_is_still_refused() {
        let mut replay = Replay::default();
        for nonce in 0..3 * MEMORY as u64 {
            replay.take(WALL, WALL + nonce, nonce).unwrap();
            assert!(replay.heard.len() <= MEMORY);
        }
        for nonce in 0..3 * MEMORY as u64 {
            assert_eq!(replay.take(WALL, WALL + nonce, nonce), Err(Refusal::Repeated));
        }
    }

    proptest! {
        #[test]
        fn nothing_passes_twice(
            beacons in prop::collection::vec((0_u64..70, 0_u64..3, 0_u64..70), 0..200)
        ) {
            let (mut replay, mut passed) = (Replay::default(), BTreeSet::new());
            for (sent, nonce, wall) in beacons {
                let sent = WALL + sent * 1_000_000;
                if replay.take(WALL + wall * 1_000_000, sent, nonce).is_ok() {
                    prop_assert!(passed.insert((sent, nonce)));
                }
            }
        }
    }
}
