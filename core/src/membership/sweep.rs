//! Looking around after a mass death.
//!
//! Who has lost most of its neighbours looks along the rings at once, twice as far
//! whenever a side of a ring has nobody left: the dead between two that live are
//! looked after by these, however many they are, and nobody has to look at all.

use alloc::{collections::BTreeSet, vec::Vec};
use core::time::Duration;

use super::{Membership, edges::Edge, rings, rings::Rings};
use crate::{Instant, ServerId};

/// How far along each side of a ring at first.
const FAR: usize = 16;
/// With fewer neighbours than this everybody is one.
const FEW: usize = 6;
/// Who stands along a side is looked up again after this long: somebody of whom
/// nothing can be found keeps a sweep open, and others come and go.
const OLD: Duration = Duration::from_secs(30);

/// Servers that are observed though they are no neighbours, until each is found
/// well or gone.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    far: usize,
    since: Instant,
    /// Who stands along each side, the nearest first.
    sides: Vec<Vec<ServerId>>,
    /// Who of them was not found well or gone yet.
    open: BTreeSet<ServerId>,
}

impl Sweep {
    /// Who is observed.
    pub(super) const fn open(&self) -> &BTreeSet<ServerId> {
        &self.open
    }

    /// A server was found well or gone: whether that was the last one.
    pub(super) fn close(&mut self, id: ServerId) -> bool {
        let last = self.open.remove(&id) && self.open.is_empty();
        if last {
            *self = Self::default();
        }
        last
    }

    const fn is_under_way(&self) -> bool {
        self.far > 0
    }

    fn is_old(&self, now: Instant) -> bool {
        self.since + OLD <= now
    }
}

impl Membership {
    /// When most neighbours are lost, or none gives a sign, perhaps most servers are
    /// lost, or this one is cut off from them. Unless it is this
    /// one that was found gone: then it is likelier that nobody hears it, and
    /// nobody needs to be asked before it is heard.
    pub(super) fn look_around(&mut self, now: Instant) {
        let neighbours = self.rings.set();
        let lost = neighbours.iter().filter(|&&id| self.is_lost(id)).count();
        let is_known = |id| self.edges.get(id).is_some_and(Edge::is_known);
        let cut_off = neighbours.iter().all(|&id| self.is_in_doubt(now, id)) && neighbours.iter().any(is_known);
        if self.trial.is_some() || self.sweep.is_old(now) {
            self.sweep = Sweep::default();
        }
        let many_lost = neighbours.len() >= FEW && (2 * lost >= neighbours.len() || cut_off);
        if self.trial.is_none() && (self.sweep.is_under_way() || many_lost) {
            self.look_further(now);
        }
        self.rewatch(now);
    }

    /// Looks along each side until there is somebody who may be well.
    fn look_further(&mut self, now: Instant) {
        let before = &self.sweep;
        let gives_signs = |id| !self.is_in_doubt(now, id);
        let may_be_well = |side: &Vec<ServerId>| side.iter().any(|&id| self.view.live(id).is_some() && gives_signs(id));
        if before.is_under_way() && (before.sides.iter().all(may_be_well) || before.far >= self.view.len()) {
            return;
        }
        let far = FAR.max(2 * before.far);
        let since = if before.is_under_way() { before.since } else { now };
        let seen: BTreeSet<ServerId> = before.sides.iter().flatten().copied().chain(self.rings.set()).collect();
        let sides = rings::sides(self.me, self.view.ids(), far);
        let mut open = before.open.clone();
        open.extend(sides.iter().flatten().filter(|id| !seen.contains(id)));
        // Where everybody is a neighbour there is nobody else to look at.
        self.sweep = if open.is_empty() { Sweep::default() } else { Sweep { far, since, sides, open } };
    }

    /// Who stands in for those that are lost: the next along the rings.
    pub(super) fn stand_ins(&self, lost: &BTreeSet<ServerId>) -> BTreeSet<ServerId> {
        if self.sweep.is_under_way() {
            let next = |side: &Vec<ServerId>| side.iter().copied().find(|&id| self.may_be_well(id));
            return self.sweep.sides.iter().filter_map(next).collect();
        }
        Rings::among(self.me, self.view.ids().filter(|id| !lost.contains(id))).set()
    }

    /// Whether a server is observed, and gives no sign.
    fn is_in_doubt(&self, now: Instant, id: ServerId) -> bool {
        self.edges.get(&id).is_some_and(|edge| edge.is_in_doubt(now))
    }

    /// Whether any neighbour gives a sign.
    pub(super) fn hears_neighbours(&self, now: Instant) -> bool {
        let gives_signs = |id| self.edges.contains_key(&id) && !self.is_in_doubt(now, id);
        self.rings.set().into_iter().any(gives_signs)
    }

    fn may_be_well(&self, id: ServerId) -> bool {
        self.view.live(id).is_some() && !self.edges.get(&id).is_some_and(Edge::is_down)
    }

    /// A neighbour that is not observed yet counts as lost: it has just become one.
    fn is_lost(&self, id: ServerId) -> bool {
        self.edges.get(&id).is_none_or(Edge::is_down)
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::{
        super::{
            message::{Message, Opinion, Why},
            rig::{ME, Rig, alive},
        },
        *,
    };

    const ALL: u64 = 2_000;

    /// Lets time pass. Only every fifth server can be dialled.
    fn live(rig: &mut Rig, span: Duration) {
        let until = rig.now + span;
        while rig.now < until {
            for id in core::mem::take(&mut rig.wanted) {
                if is_well(ServerId(id)) {
                    rig.meet(id);
                    rig.answer(id);
                } else {
                    rig.act(|one, now| one.handle_failed(now, ServerId(id), now));
                }
            }
            rig.live(Duration::from_millis(50), &[]);
        }
    }

    fn is_well(id: ServerId) -> bool {
        id.0.is_multiple_of(5)
    }

    #[test]
    fn who_lost_most_neighbours_looks_after_the_dead_up_to_the_next_on_each_side_and_no_further() {
        let mut rig = Rig::among(1);
        (2..=ALL).for_each(|id| rig.act(|one, now| one.adopt(now, alive(id))));
        let sides = rings::sides(ME, (1..=ALL).map(ServerId), ALL as usize);
        let mut most = 0;
        for _ in 0..40 {
            live(&mut rig, Duration::from_millis(100));
            most = most.max(rig.one.degree());
        }
        for side in sides {
            let dead = side.iter().take_while(|id| !is_well(**id));
            let unseen = dead.filter(|id| rig.sees(id.0) && rig.one.opinion_of(**id) != Opinion::Down);
            assert_eq!(unseen.count(), 0);
        }
        assert!(most > 10 * FAR / 2 && most < 10 * FAR * 4, "{most} edges");
    }

    #[test]
    fn whom_it_looks_at_for_once_is_told_no_news_and_that_it_need_tell_none() {
        let mut rig = Rig::among(1);
        (2..=ALL).for_each(|id| rig.act(|one, now| one.adopt(now, alive(id))));
        live(&mut rig, Duration::from_secs(3));
        let beats = |rig: &Rig, why: Why| {
            let beats = rig.said.iter().filter(|(_, said)| matches!(said, Message::Beat(beat) if beat.why == why));
            beats.map(|(to, _)| *to).collect::<BTreeSet<_>>()
        };
        let (looked, neighbours) = (beats(&rig, Why::Look), beats(&rig, Why::Neighbour));
        let told: BTreeSet<u64> = rig.one.flood_targets(rig.now).into_iter().map(|(id, _)| id.0).collect();
        assert!(looked.len() > 2 * told.len() && !told.is_empty(), "{looked:?} {told:?}");
        assert!(told.is_subset(&neighbours), "{told:?} {neighbours:?}");
    }

    #[test]
    fn where_everybody_is_a_neighbour_there_is_nobody_else_to_look_at() {
        let all = |first: u64| first..first + FEW as u64;
        let are_neighbours = |first: &u64| Rings::among(ME, all(*first).map(ServerId)).set().len() == FEW;
        let others = all((2..).find(are_neighbours).unwrap());
        let mut rig = Rig::new();
        others.clone().for_each(|id| rig.meet(id));
        rig.answer_all(&[]);
        others.clone().skip(1).for_each(|id| rig.crash(id));
        rig.live(Duration::from_millis(300), &[]);
        assert!(others.skip(1).all(|id| rig.one.is_lost(ServerId(id)) && rig.sees(id)));
        rig.act(Membership::look_around);
        assert!(!rig.one.sweep.is_under_way() && rig.one.sweep.open.is_empty());
    }

    #[test]
    fn who_stands_along_a_side_is_looked_up_again_after_a_while() {
        let mut rig = Rig::among(1);
        (2..=ALL).for_each(|id| rig.act(|one, now| one.adopt(now, alive(id))));
        live(&mut rig, Duration::from_secs(1));
        (ALL + 1..ALL + ALL / 10).for_each(|id| rig.act(|one, now| one.adopt(now, alive(id))));
        let has_newcomers = |rig: &mut Rig| {
            rig.act(Membership::look_around);
            assert!(rig.one.sweep.is_under_way());
            rig.one.sweep.sides.iter().flatten().any(|id| id.0 > ALL)
        };
        assert!(!has_newcomers(&mut rig));
        rig.now += OLD;
        assert!(has_newcomers(&mut rig));
    }

    #[test]
    fn a_side_on_which_nobody_is_left_is_looked_along_twice_as_far() {
        let mut rig = Rig::among(1);
        (2..=ALL).for_each(|id| rig.act(|one, now| one.adopt(now, alive(id))));
        let mut far = BTreeSet::new();
        for _ in 0..20 {
            for id in core::mem::take(&mut rig.wanted) {
                rig.act(|one, now| one.handle_failed(now, ServerId(id), now));
            }
            rig.pass(Duration::from_millis(100));
            far.insert(rig.one.sweep.far);
        }
        assert!(far.iter().take(3).eq(&[0, FAR, 2 * FAR]), "{far:?}");
    }
}
