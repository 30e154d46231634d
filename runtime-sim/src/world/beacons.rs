//! Servers that find each other by beacons, on a wire for all of them that may
//! lose, repeat and damage datagrams.

use std::{net::SocketAddr, time::Duration};

use circuit_core::{
    Incarnation, Rng, Target,
    discovery::{Announcer, Config, Group, Interface, Output, Reach},
    session::ClusterKey,
};

use super::{Happening, ServerIndex, Sim, effects::Mishap, server::WALL};
use crate::faults::Fault;

/// The one interface of every host.
const INTERFACE: u32 = 2;

/// How bad the wire is: out of a hundred datagrams, at each that hears it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wire {
    /// How many faults make it bad.
    bad: i32,
}

impl Wire {
    const LOST: u64 = 30;
    const REPEATED: u64 = 20;
    const DAMAGED: u64 = 20;
}

fn group() -> Option<Group> {
    Group::new(SocketAddr::from(([228, 8, 8, 8], 7_711))).ok()
}

const fn is_bad(fault: &Fault) -> bool {
    matches!(fault, Fault::Datagrams { .. })
}

impl Sim {
    /// A server that has started announces itself.
    pub(super) fn announce(&mut self, server: ServerIndex) {
        let found = &self.servers[server];
        let own = Incarnation { id: found.id, start: found.start };
        let Some(group) = group().filter(|_| self.settings.discover) else {
            return;
        };
        let config = Config { own, reach: Reach { listen: found.addr, advertise: None }, group };
        let seed = self.rng.u64();
        let mut announcer = Announcer::new(config, &ClusterKey::public(), Rng::from_number(seed));
        let interface = Interface {
            index: INTERFACE,
            addr: found.addr.ip(),
            up: true,
            multicast: true,
            loopback: false,
            point_to_point: false,
        };
        let now = found.clock.read(self.now);
        for face in announcer.faces(&[interface]) {
            announcer.handle_up(now, face);
        }
        self.servers[server].announcer = Some(announcer);
        self.servers[server].speaks = None;
        self.drain_announcer(server);
    }

    /// It is time for a server to speak, perhaps.
    pub(super) fn speak(&mut self, server: ServerIndex, life: u32) {
        let wall = self.wall();
        let now = self.servers[server].clock.read(self.now);
        if self.servers[server].life != life || self.servers[server].speaks.is_none_or(|at| at > self.now) {
            return; // an earlier one was set since, and has done its work
        }
        self.servers[server].speaks = None;
        if let Some(announcer) = &mut self.servers[server].announcer {
            announcer.handle_timeout(now, wall);
            self.drain_announcer(server);
        }
    }

    /// A datagram arrives at a server.
    pub(super) fn datagram(&mut self, server: ServerIndex, from: ServerIndex, packet: &[u8]) {
        let wall = self.wall();
        let (from, now) = (self.servers[from].addr, self.servers[server].clock.read(self.now));
        if self.servers[server].node.is_some()
            && let Some(announcer) = &mut self.servers[server].announcer
        {
            // What is refused is counted, and nothing follows.
            let _ = announcer.handle_datagram(now, wall, INTERFACE, from, packet);
            self.drain_announcer(server);
        }
    }

    fn drain_announcer(&mut self, server: ServerIndex) {
        while let Some(output) = self.servers[server].announcer.as_mut().and_then(Announcer::poll_output) {
            match output {
                // Servers send to the group alone: nobody here asks.
                Output::Send { packet, .. } => {
                    for other in (0..self.servers.len()).filter(|&other| other != server) {
                        self.send_datagram(server, other, &packet);
                    }
                }
                Output::Found(place) => {
                    let target = Target { addr: place.addr, expect: Some(place.incarnation.id) };
                    self.command(server, |node, now| node.meet(now, target));
                }
            }
        }
        let clock = self.servers[server].clock;
        let due = self.servers[server].announcer.as_ref().and_then(Announcer::poll_timeout);
        let (at, life) = (due.map(|due| clock.when(due).max(self.now)), self.servers[server].life);
        if let Some(at) = at.filter(|at| self.servers[server].speaks.is_none_or(|speaks| *at < speaks)) {
            self.servers[server].speaks = Some(at);
            self.schedule(at, Happening::Speak(server, life));
        }
    }

    fn send_datagram(&mut self, from: ServerIndex, to: ServerIndex, packet: &[u8]) {
        self.trace.bytes(packet);
        let bad = self.wire.bad > 0;
        if self.network.quality(from, to).loses(&mut self.rng) {
            return self.effects.feel_packet(from, to, Mishap::Lost);
        }
        if bad && self.rng.chance(Wire::LOST, 100) {
            self.effects.datagrams.lost += 1;
            return self.effects.feel_all(is_bad);
        }
        let copies = 1 + usize::from(bad && self.rng.chance(Wire::REPEATED, 100));
        self.effects.datagrams.repeated += copies as u64 - 1;
        for _ in 0..copies {
            let mut packet = packet.to_vec();
            if bad && self.rng.chance(Wire::DAMAGED, 100) {
                let at = self.rng.below(packet.len() as u64) as usize;
                packet[at] ^= 1 << self.rng.below(8);
                self.effects.datagrams.damaged += 1;
            }
            let late = if bad { Duration::from_millis(self.rng.below(500)) } else { Duration::ZERO };
            let at = self.now + self.delay() + late;
            self.schedule(at, Happening::Datagram(to, from, packet.into()));
        }
        if bad {
            self.effects.feel_all(is_bad); // it is late at least
        }
    }

    /// The wire is bad from now on, or by `count` less.
    pub(super) fn spoil(&mut self, fault: Fault, count: i32) {
        self.wire.bad += count;
        if count > 0 {
            self.schedule(self.now + fault.lasting(), Happening::Over(fault));
            self.effects.begin(fault);
        } else {
            self.effects.end(fault);
        }
    }

    /// What time it is for everybody, in microseconds since 1970.
    fn wall(&self) -> u64 {
        WALL + self.now.as_micros()
    }
}
