//! What a log says of the servers that this one is to join, while they cannot be
//! reached. Whoever gave a wrong address, or another key, would wait for ever and
//! not know for what.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use circuit_core::{Target, links::LinkId};

/// Servers that were named at the start.
pub(super) struct Seeds {
    named: BTreeSet<SocketAddr>,
    /// Dials that are under way.
    dialled: BTreeMap<LinkId, SocketAddr>,
    /// Why each could not be reached, as was said last.
    said: BTreeMap<SocketAddr, String>,
}

impl Seeds {
    pub(super) fn new(targets: &[Target]) -> Self {
        let named = targets.iter().map(|target| target.addr).collect();
        Self { named, dialled: BTreeMap::new(), said: BTreeMap::new() }
    }

    /// An address is dialled.
    pub(super) fn dial(&mut self, link: LinkId, addr: SocketAddr) {
        if self.named.contains(&addr) {
            self.dialled.insert(link, addr);
        }
    }

    /// Somebody has answered.
    pub(super) fn up(&mut self, link: LinkId) {
        if let Some(addr) = self.dialled.remove(&link) {
            self.said.remove(&addr);
        }
    }

    /// A link is over: what is to be said, if it was never up and that was not said
    /// before.
    pub(super) fn down(&mut self, link: LinkId, why: &str) -> Option<String> {
        let addr = self.dialled.remove(&link)?;
        let is_new = self.said.insert(addr, why.to_owned()).is_none_or(|before| before != why);
        is_new.then(|| {
            format!(
                "{addr}, which is to be joined, was not reached: {why}. It is tried again and again; \
                 is it there, and has it the same key?"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_said_once_until_somebody_answers() {
        let addr = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let mut seeds = Seeds::new(&[Target { addr: addr(1), expect: None }]);
        let fail = |seeds: &mut Seeds, link, port, why| {
            seeds.dial(LinkId(link), addr(port));
            seeds.down(LinkId(link), why)
        };
        let said = fail(&mut seeds, 1, 1, "refused").expect("the first time");
        assert!(said.contains("127.0.0.1:1") && said.contains("refused"), "{said}");
        assert_eq!(fail(&mut seeds, 2, 1, "refused"), None);
        assert!(fail(&mut seeds, 3, 1, "no route").is_some());
        assert_eq!(fail(&mut seeds, 4, 2, "refused"), None, "nobody asked for that one");
        seeds.dial(LinkId(5), addr(1));
        seeds.up(LinkId(5));
        assert_eq!(seeds.down(LinkId(5), "reset"), None, "it was reached");
        assert!(fail(&mut seeds, 6, 1, "no route").is_some());
    }
}
