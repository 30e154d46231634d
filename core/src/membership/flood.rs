//! News on their way to everybody: passed on once, by whoever hears them first,
//! in the order in which they were heard, a few milliseconds' worth together.

use alloc::vec::Vec;
use core::time::Duration;

use super::{
    Membership, Output,
    message::{MAX_RECORDS, Message, News},
};
use crate::{Instant, ServerId};

/// How long news wait for more.
const BATCH: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(super) struct Flood {
    waiting: Vec<News>,
    /// Who all of them came from, if that is one.
    origin: Option<ServerId>,
    pub(super) due: Instant,
}

impl Default for Flood {
    fn default() -> Self {
        Self { waiting: Vec::new(), origin: None, due: Instant::NEVER }
    }
}

impl Flood {
    /// Adds what `from` said, or this server itself.
    pub(super) fn push(&mut self, news: News, from: Option<ServerId>, now: Instant) {
        if self.waiting.is_empty() {
            self.due = now + BATCH;
            self.origin = from;
        } else if self.origin != from {
            self.origin = None;
        }
        self.waiting.push(news);
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

impl Membership {
    /// Sends what waits to all neighbours, and says who they are.
    pub(super) fn flush(&mut self, now: Instant) -> Vec<ServerId> {
        let Flood { waiting, origin, .. } = core::mem::take(&mut self.flood);
        let mut targets = self.flood_targets(now);
        targets.retain(|(id, _)| Some(*id) != origin);
        for batch in waiting.chunks(MAX_RECORDS) {
            let body = Message::News(batch.to_vec()).encode();
            self.out.extend(targets.iter().map(|&(_, link)| Output::Send(link, body.clone())));
        }
        targets.into_iter().map(|(id, _)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::rig::{Rig, alive},
        *,
    };

    #[test]
    fn news_go_to_all_neighbours_once_together_and_not_back() {
        let mut rig = Rig::among(4);
        rig.news(2, alive(8), false);
        rig.news(2, alive(9), false);
        rig.news(2, alive(9), false);
        assert!(rig.news_of(8).is_empty());
        rig.pass(BATCH);
        let with_news = |rig: &Rig| {
            let news = rig.said.iter().filter(|(_, message)| matches!(message, Message::News(_)));
            news.map(|(to, _)| *to).collect::<Vec<u64>>()
        };
        assert_eq!(with_news(&rig), [3, 4]);
        assert_eq!((rig.news_of(8).len(), rig.news_of(9).len()), (2, 2));
        rig.forget();
        rig.news(3, alive(9), false);
        rig.pass(BATCH);
        assert_eq!(with_news(&rig), [], "old news are no news");
    }
}
