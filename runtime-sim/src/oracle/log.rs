//! What one observer saw, in one of its lives.

use std::collections::HashMap;

use circuit_core::{
    Epoch, Instant, ServerId,
    membership::{Event, View},
};

use super::returns::Returns;

/// Views of fewer are compared one by one at every event.
const LARGE: usize = 256;

/// Numbers for ids, so that what is known of all is an array.
#[derive(Debug, Default)]
pub(super) struct Ids(HashMap<ServerId, usize>, Vec<ServerId>);

impl Ids {
    pub(super) fn number(&mut self, id: ServerId) -> usize {
        *self.0.entry(id).or_insert_with(|| {
            self.1.push(id);
            self.1.len() - 1
        })
    }

    fn get(&self, id: ServerId) -> Option<usize> {
        self.0.get(&id).copied()
    }
}

/// An observer's log of joins and leaves, and what follows from it.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// All of it, if somebody wants to compare it.
    events: Option<Vec<Event>>,
    count: u64,
    /// By number of the id: the epoch of the last join, and whether no leave
    /// followed.
    seen: Vec<(Epoch, bool)>,
    present: usize,
    pub(super) returns: Returns,
}

impl Log {
    pub(super) fn new(keeps: bool) -> Self {
        Self { events: keeps.then(Vec::new), ..Self::default() }
    }

    /// What happened, if that is kept.
    pub(crate) fn events(&self) -> &[Event] {
        self.events.as_deref().unwrap_or_default()
    }

    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// Who is there, as of the last event.
    pub(super) fn present<'a>(&'a self, ids: &'a Ids) -> impl Iterator<Item = ServerId> {
        self.seen.iter().zip(&ids.1).filter(|((_, present), _)| *present).map(|(_, id)| *id)
    }

    /// P1, that numbers are consecutive, that who leaves is who joined (P6), and
    /// that nobody comes back too often.
    pub(super) fn add(&mut self, now: Instant, event: Event, number: usize) -> Result<(), &'static str> {
        self.count += 1;
        if event.seq != self.count {
            return Err("an event out of order");
        }
        if let Some(events) = &mut self.events {
            events.push(event);
        }
        if self.seen.len() <= number {
            self.seen.resize(number + 1, (Epoch::default(), false));
        }
        let Some((last, present)) = self.seen.get_mut(number) else {
            return Ok(());
        };
        match (event.joined, *present) {
            (false, false) => return Err("a leave without a join (P1)"),
            (true, true) => return Err("a join without a leave (P1)"),
            // It may have risen since, which is no event.
            (false, true) if last.start != event.epoch.start || *last > event.epoch => {
                return Err("a leave of another incarnation than joined (P6)");
            }
            (false, true) => self.present -= 1,
            (true, false) if *last >= event.epoch => return Err("a join at an epoch that was before (P1)"),
            (true, false) => {
                if last.start == event.epoch.start && self.returns.back(now, event.id) {
                    return Err("before this somebody came back alone, and had come back not long before");
                }
                *last = event.epoch;
                self.present += 1;
            }
        }
        *present = event.joined;
        Ok(())
    }

    /// What is there is the fold of the log (P2). While things happen the view may
    /// be ahead of what was told of it, and with large views who is there is looked
    /// at now and then only. When all is `whole`, all was told.
    pub(super) fn differs(&self, view: &View, ids: &Ids, whole: bool) -> Option<&'static str> {
        if view.events() != self.count {
            let behind = view.events() > self.count;
            let fault = if behind {
                "not all of its events were told (P2)"
            } else {
                "there are more events than the view knows of (P2)"
            };
            return (whole || !behind).then_some(fault);
        }
        let same = view.len() == self.present && (!(whole || self.is_due(view)) || self.is_fold_of(view, ids));
        (!same).then_some("its view is not the fold of its log (P2)")
    }

    /// Whether it is time to compare one by one: what that costs is the square
    /// of the view, and must not be its cube.
    fn is_due(&self, view: &View) -> bool {
        let every = 1 + (view.len() / LARGE).pow(2) as u64;
        self.count.is_multiple_of(every)
    }

    fn is_fold_of(&self, view: &View, ids: &Ids) -> bool {
        view.all_live().all(|record| {
            // A rise is no event; another start is another incarnation.
            let seen = ids.get(record.id).and_then(|number| self.seen.get(number));
            seen.is_some_and(|(epoch, present)| *present && epoch.start == record.epoch.start)
        })
    }
}
