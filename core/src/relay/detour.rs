//! Through whom a server is reached that cannot be reached directly.

use alloc::{collections::BTreeMap, vec::Vec};

use crate::{ServerId, membership::View};

/// How many other servers are tried before a host counts as unreachable.
const MAX_TRIED: usize = 3;

#[derive(Debug, Default)]
pub(super) struct Detours {
    through: BTreeMap<ServerId, ServerId>,
    /// Who was tried for whom and did not do, since anybody did.
    tried: BTreeMap<ServerId, BTreeMap<ServerId, Fault>>,
}

/// What was wrong with a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It was one, and it broke: it may be one again.
    Broke,
    /// It was none.
    NoWay,
}

impl Detours {
    pub(super) fn get(&self, target: ServerId) -> Option<ServerId> {
        self.through.get(&target).copied()
    }

    pub(super) fn remove(&mut self, target: ServerId) -> Option<ServerId> {
        self.tried.remove(&target);
        self.through.remove(&target)
    }

    /// The servers that are reached through `through`.
    pub(super) fn through(&self, through: ServerId) -> Vec<ServerId> {
        self.through.iter().filter(|&(_, &by)| by == through).map(|(&target, _)| target).collect()
    }

    /// Chooses one of those that can be reached to go through, from now on: rather
    /// one whose way did not break. After [`MAX_TRIED`] that had no way there is
    /// none, once; then the search begins anew.
    pub(super) fn choose(
        &mut self,
        target: ServerId,
        reachable: impl Iterator<Item = ServerId>,
        view: &View,
    ) -> Option<ServerId> {
        let tried = self.tried.entry(target).or_default();
        let had_none = tried.values().filter(|fault| **fault == Fault::NoWay).count();
        let choice = reachable
            .filter(|id| *id != target && tried.get(id) != Some(&Fault::NoWay) && view.live(*id).is_some())
            .min_by_key(|id| (tried.contains_key(id), id.0 ^ target.0));
        match choice {
            Some(through) if had_none < MAX_TRIED => {
                self.through.insert(target, through);
                Some(through)
            }
            _ => {
                self.remove(target);
                None
            }
        }
    }

    /// The way through `through` to `target` is none, for now. Whether it was the
    /// choice until now.
    pub(super) fn avoid(&mut self, target: ServerId, through: ServerId, fault: Fault) -> bool {
        let chosen = self.through.get(&target) == Some(&through);
        if chosen {
            self.through.remove(&target);
            self.tried.entry(target).or_default().insert(through, fault);
        }
        chosen
    }

    /// Something came from `target` by `through`: if that is the choice, whoever was
    /// tried before may do next time.
    pub(super) fn confirm(&mut self, target: ServerId, through: ServerId) {
        if self.through.get(&target) == Some(&through) {
            self.tried.remove(&target);
        }
    }
}
