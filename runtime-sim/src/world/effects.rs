//! What came of what went wrong: a fault that nobody felt has tested nothing.

use super::{End, ServerIndex, Sim, network::rules_of};
use crate::faults::{ALWAYS, Fault};

/// The faults that last at present, and those that were felt.
#[derive(Debug, Default)]
pub(super) struct Effects {
    active: Vec<Fault>,
    felt: Vec<Fault>,
    /// How many of the active ones were not felt so far.
    unfelt: usize,
    pub(super) datagrams: Datagrams,
}

/// What a bad wire did to datagrams.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Datagrams {
    /// How many it lost.
    pub(crate) lost: u64,
    /// How many it repeated.
    pub(crate) repeated: u64,
    /// How many it damaged.
    pub(crate) damaged: u64,
}

/// What happened to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mishap {
    /// It waits, or nobody answers it.
    Held,
    /// It is lost, and sent again.
    Lost,
    /// It is late.
    Slow,
}

impl Effects {
    pub(super) fn begin(&mut self, fault: Fault) {
        self.active.push(fault);
        self.unfelt += usize::from(!self.felt.contains(&fault));
    }

    pub(super) fn end(&mut self, fault: Fault) {
        if let Some(place) = self.active.iter().position(|one| *one == fault) {
            self.active.remove(place);
            self.unfelt -= usize::from(!self.felt.contains(&fault) && self.unfelt > 0);
        }
    }

    /// A fault has done something.
    pub(super) fn feel(&mut self, fault: Fault) {
        if !self.felt.contains(&fault) {
            self.felt.push(fault);
            self.unfelt -= self.active.iter().filter(|one| **one == fault).count().min(self.unfelt);
        }
    }

    /// Those that last and are such have done something.
    pub(super) fn feel_all(&mut self, is_such: impl Fn(&Fault) -> bool) {
        if self.unfelt > 0 {
            let such: Vec<Fault> = self.active.iter().copied().filter(is_such).collect();
            such.into_iter().for_each(|fault| self.feel(fault));
        }
    }

    /// Something happened to a packet from a host to another.
    pub(super) fn feel_packet(&mut self, from: usize, to: usize, mishap: Mishap) {
        self.feel_all(|fault| {
            rules_of(*fault).iter().any(|rule| {
                let does = match mishap {
                    Mishap::Held => rule.loss == ALWAYS,
                    Mishap::Lost => rule.loss > 0,
                    Mishap::Slow => !rule.slow.is_zero(),
                };
                does && rule.from.contain(from) && rule.to.contain(to)
            })
        });
    }
}

impl Sim {
    /// Whether anything came of a fault.
    pub(crate) fn was_felt(&self, fault: &Fault) -> bool {
        self.effects.felt.contains(fault)
    }

    /// What became of datagrams.
    pub(crate) const fn datagrams(&self) -> Datagrams {
        self.effects.datagrams
    }

    /// Whether the clock of any server is fast or slow.
    pub(crate) fn has_drifted(&self) -> bool {
        self.servers.iter().any(|server| server.clock.drifts())
    }

    /// Something that is to befall a server or a client does, if that is there.
    pub(super) fn befall(&mut self, fault: Fault) {
        let is_there = match fault {
            Fault::Crash { server, .. } | Fault::Leave { server, .. } | Fault::Jump { server, .. } => {
                self.servers[server].node.is_some() && !self.servers[server].leaving
            }
            Fault::CrashClient { client } => {
                self.ends.contains_key(&End::Client { index: client, dial: self.clients[client].dial })
            }
            Fault::Reset { a, b } => self.is_busy(a, b),
            _ => false,
        };
        if is_there {
            self.effects.feel(fault);
        }
    }

    /// A server stands still when it has something to do.
    pub(super) fn feel_pause(&mut self, server: ServerIndex) {
        let (now, until) = (self.now, self.servers[server].paused);
        if std::mem::replace(&mut self.servers[server].pause_felt, until) == until {
            return;
        }
        for &(at, fault) in self.plan.iter().take_while(|(at, _)| *at <= now) {
            if matches!(fault, Fault::Pause { server: paused, lasting } if paused == server && now < at + lasting) {
                self.effects.feel(fault);
            }
        }
    }
}
