//! A rate, with room for a burst.

use core::time::Duration;

use crate::Instant;

/// Tokens that come back one at a time.
#[derive(Debug)]
pub(super) struct Bucket {
    /// When it would be full: each token taken moves it on by one `gap`.
    full: Instant,
    gap: Duration,
    size: u32,
}

impl Bucket {
    /// A full one of `size` tokens, each of which comes back after `gap`.
    pub(super) const fn new(size: u32, gap: Duration) -> Self {
        Self { full: Instant::ZERO, gap, size }
    }

    /// Takes a token, if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let full = self.full.max(now) + self.gap;
        let fits = full.since(now) <= self.gap * self.size;
        if fits {
            self.full = full;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut bucket = Bucket::new(3, Duration::from_secs(1));
        let mut taken = |seconds| {
            let now = Instant::ZERO + Duration::from_secs(seconds);
            (0..10).filter(|_| bucket.take(now)).count()
        };
        assert_eq!([taken(0), taken(1), taken(3), taken(100)], [3, 1, 2, 3]);
    }
}
