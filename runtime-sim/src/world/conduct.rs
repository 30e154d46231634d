//! What no server may do, whatever goes wrong: looked at as it does it.

use std::collections::BTreeMap;

use circuit_core::{
    links::LinkId,
    wire::{CloseReason, Frame},
};

use super::{
    ServerIndex, Sim,
    net::{ConnectionId, End, Side},
    server::Server,
};
use crate::oracle::{Speaker, Speech};

/// What servers did so far that forbids something.
#[derive(Debug, Default)]
pub(super) struct Conduct {
    speech: Speech,
    /// Of two links, which was closed for which.
    closed_for: BTreeMap<ConnectionId, ConnectionId>,
}

impl Sim {
    /// A server says something.
    pub(super) fn check_speech(&mut self, server: ServerIndex, frame: &Frame) {
        let Server { life, id, sees, .. } = &self.servers[server];
        let by = Speaker { server, life: *life, id: *id };
        if let Err(fault) = self.conduct.speech.judge(by, |host| sees.contains(&host), frame) {
            self.fail(fault);
        }
    }

    /// A server closes a link. Of two that met, the ends do not each close the one
    /// that the other keeps. (Of two that one end dialled they may, where they heard
    /// of them in another order.)
    pub(super) fn check_close(&mut self, server: ServerIndex, link: LinkId, reason: CloseReason) {
        if reason != CloseReason::Duplicate {
            return;
        }
        let life = self.servers[server].life;
        let Some(&(closed, _)) = self.ends.get(&End::Server { index: server, life, link }) else { return };
        if let [kept] = self.with_the_same(server, closed)[..]
            && self.met(closed, kept)
        {
            self.conduct.closed_for.insert(closed, kept);
            if self.conduct.closed_for.get(&kept) == Some(&closed) {
                self.fail(format!("server {server} closed a link for one that was closed for it"));
            }
        }
    }

    /// Whether of two links each end dialled one.
    fn met(&self, one: ConnectionId, other: ConnectionId) -> bool {
        self.end_of(one, Side::Near) != self.end_of(other, Side::Near)
    }

    /// The links of a server with the one that this link is with, without it.
    fn with_the_same(&self, server: ServerIndex, link: ConnectionId) -> Vec<ConnectionId> {
        let ends = |id| [Side::Near, Side::Far].into_iter().filter_map(move |side| self.end_of(id, side));
        let peer = |id| ends(id).find(|&one| one != server);
        let (first, last) = (Self::first_end(server), Self::first_end(server + 1));
        let own = self.ends.range(first..last).map(|(_, (id, _))| *id);
        own.filter(|&one| one != link && peer(one) == peer(link)).collect()
    }
}
