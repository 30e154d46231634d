//! Through whom a server is reached that cannot be reached directly.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use crate::{ServerId, membership::View};

/// How many other servers are tried before a host counts as unreachable.
const MAX_TRIED: usize = 3;

#[derive(Debug, Default)]
pub(super) struct Detours {
    through: BTreeMap<ServerId, ServerId>,
    /// Who was tried for whom and did not do.
    tried: BTreeMap<ServerId, BTreeSet<ServerId>>,
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

    /// Chooses one of those that can be reached to go through, from now on.
    /// After [`MAX_TRIED`] that would not do there is none, once; then the
    /// search begins anew.
    pub(super) fn choose(
        &mut self,
        target: ServerId,
        reachable: impl Iterator<Item = ServerId>,
        view: &View,
    ) -> Option<ServerId> {
        let tried = self.tried.entry(target).or_default();
        let choice = reachable
            .filter(|id| *id != target && !tried.contains(id) && view.live(*id).is_some())
            .min_by_key(|id| id.0 ^ target.0);
        match choice {
            Some(through) if tried.len() < MAX_TRIED => {
                self.through.insert(target, through);
                Some(through)
            }
            _ => {
                self.remove(target);
                None
            }
        }
    }

    /// `through` could not reach `target`. Whether it was the choice until now.
    pub(super) fn avoid(&mut self, target: ServerId, through: ServerId) -> bool {
        let chosen = self.through.get(&target) == Some(&through);
        if chosen {
            self.through.remove(&target);
            self.tried.entry(target).or_default().insert(through);
        }
        chosen
    }
}
