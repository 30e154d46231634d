//! Handshakes of whoever connects: bounded, as nobody knows yet who that is.

use core::{net::IpAddr, time::Duration};

use super::{Link, LinkId, Links, MAX_LINKS, Stage};
use crate::{Instant, wire::CloseReason};

/// Handshakes under way, in all and from one address.
pub const MAX_HANDSHAKES: usize = 1_024;
/// Handshakes under way from one address.
pub const MAX_HANDSHAKES_PER_SOURCE: usize = 256;
/// Where there is no room for another handshake, one that has taken this long
/// gives way: whoever has the key needs a few round trips.
pub(super) const GIVES_WAY: Duration = Duration::from_millis(500);

impl Links {
    /// The world happened: somebody connected from `source`. No number means
    /// that there are too many already, and the connection is to be dropped.
    pub fn handle_incoming(&mut self, now: Instant, source: IpAddr) -> Option<LinkId> {
        if self.links.len() >= MAX_LINKS {
            return None;
        }
        if self.handshakes.get(&source).is_some_and(|&count| count >= MAX_HANDSHAKES_PER_SOURCE) {
            self.make_way(now, |from| from == source)?;
        } else if self.handshakes.values().sum::<usize>() >= MAX_HANDSHAKES {
            self.make_way(now, |_| true)?;
        }
        *self.handshakes.entry(source).or_default() += 1;
        let link = self.next();
        self.links.insert(link, Link::new(now, Stage::Incoming { source }));
        Some(link)
    }

    /// Ends the oldest handshake from such a source, if it is old.
    fn make_way(&mut self, now: Instant, which: impl Fn(IpAddr) -> bool) -> Option<()> {
        let is_old = |link: &Link| {
            link.since + GIVES_WAY <= now && matches!(link.stage, Stage::Incoming { source } if which(source))
        };
        let (&oldest, _) = self.links.iter().find(|(_, link)| is_old(link))?;
        self.close(now, oldest, CloseReason::Slow);
        Some(())
    }

    /// A handshake is over, one way or the other.
    pub(super) fn forget_handshake(&mut self, source: IpAddr) {
        if let Some(count) = self.handshakes.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.handshakes.remove(&source);
            }
        }
    }
}
