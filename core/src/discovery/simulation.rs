//! Many servers and a client on one wire that loses, repeats and damages.

use alloc::{collections::BTreeMap, vec::Vec};
use core::{net::SocketAddr, time::Duration};

use super::{
    tests::{WALL, group, interface, key},
    *,
};
use crate::{Instant, Rng, ServerId};

/// What the wire does to one in a hundred datagrams, at each that hears it.
#[derive(Clone, Copy)]
struct Wire {
    lost: u64,
    repeated: u64,
    damaged: u64,
}

const GOOD: Wire = Wire { lost: 0, repeated: 0, damaged: 0 };
const BAD: Wire = Wire { lost: 30, repeated: 20, damaged: 20 };

struct Host {
    announcer: Announcer,
    addr: SocketAddr,
    found: Vec<usize>,
    /// What it sent and heard, with 28 bytes of headers each.
    bytes: usize,
}

/// The client, at its own address.
const CLIENT: usize = usize::MAX;

struct World {
    now: Instant,
    rng: Rng,
    wire: Wire,
    hosts: Vec<Host>,
    finder: Option<Finder>,
    answered: Vec<Place>,
    flying: BTreeMap<(Instant, u64), (usize, SocketAddr, Vec<u8>)>,
    next: u64,
    /// Whether the even hosts and the odd ones hear each other.
    whole: bool,
}

fn addr(number: usize) -> SocketAddr {
    let [.., high, low] = number.to_be_bytes();
    SocketAddr::from(([10, 0, high, low], 11022))
}

impl World {
    fn new(seed: u64, servers: usize, wire: Wire) -> Self {
        let rng = Rng::from_number(seed);
        let hosts = (0..servers).map(|number| {
            let addr = addr(number);
            let own = Incarnation { id: ServerId(number as u64 + 1), start: 1 };
            let config = Config { own, reach: Reach { listen: addr, advertise: None }, group: group() };
            let mut announcer = Announcer::new(config, &key(1), rng.fork(&alloc::format!("{number}")));
            for face in announcer.faces(&[interface(2, &alloc::format!("{}", addr.ip()))]) {
                announcer.handle_up(Instant::ZERO, face);
            }
            Host { announcer, addr, found: Vec::new(), bytes: 0 }
        });
        Self {
            now: Instant::ZERO,
            hosts: hosts.collect(),
            finder: None,
            answered: Vec::new(),
            flying: BTreeMap::new(),
            next: 0,
            whole: true,
            rng: rng.fork("world"),
            wire,
        }
    }

    fn run(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        loop {
            let timers = self.hosts.iter().filter_map(|host| host.announcer.poll_timeout());
            let finder = self.finder.iter().filter(|finder| !finder.is_over(self.now)).map(Finder::poll_timeout);
            let flying = self.flying.keys().next().map(|&(at, _)| at);
            let next = timers.chain(finder).chain(flying).min().unwrap_or(end);
            if next > end {
                self.now = end;
                return;
            }
            self.now = next;
            self.arrive();
            let wall = self.wall();
            for number in 0..self.hosts.len() {
                self.hosts[number].announcer.handle_timeout(self.now, wall);
                self.drain(number);
            }
            self.drain_client();
        }
    }

    fn wall(&self) -> u64 {
        WALL + self.now.as_micros()
    }

    fn arrive(&mut self) {
        while let Some(first) = self.flying.first_entry()
            && first.key().0 <= self.now
        {
            let (to, from, packet) = first.remove();
            let (now, wall) = (self.now, self.wall());
            if to == CLIENT {
                let _ = self.finder.as_mut().map(|finder| finder.handle_datagram(2, &packet));
            } else {
                let host = &mut self.hosts[to];
                host.bytes += packet.len() + 28;
                let _ = host.announcer.handle_datagram(now, wall, 2, from, &packet);
                self.drain(to);
            }
        }
    }

    fn drain(&mut self, number: usize) {
        while let Some(output) = self.hosts[number].announcer.poll_output() {
            match output {
                Output::Found(place) => self.hosts[number].found.push(place.incarnation.id.0 as usize - 1),
                Output::Send { packet, to, .. } => {
                    self.hosts[number].bytes += packet.len() + 28;
                    let from = self.hosts[number].addr;
                    if to == group().addr() {
                        self.everybody(number, from, &packet);
                    } else {
                        self.fly(CLIENT, from, &packet);
                    }
                }
            }
        }
    }

    fn drain_client(&mut self) {
        let Some(mut finder) = self.finder.take() else {
            return;
        };
        finder.handle_timeout(self.now, self.wall());
        while let Some(output) = finder.poll_output() {
            match output {
                Output::Found(place) => self.answered.push(place),
                Output::Send { packet, .. } => self.everybody(CLIENT, "10.9.9.9:9".parse().unwrap(), &packet),
            }
        }
        self.finder = Some(finder);
    }

    fn everybody(&mut self, sender: usize, from: SocketAddr, packet: &[u8]) {
        for to in 0..self.hosts.len() {
            if self.whole || sender == CLIENT || to % 2 == sender % 2 {
                self.fly(to, from, packet);
            }
        }
    }

    fn fly(&mut self, to: usize, from: SocketAddr, packet: &[u8]) {
        if self.rng.chance(self.wire.lost, 100) {
            return;
        }
        let copies = 1 + u64::from(self.rng.chance(self.wire.repeated, 100));
        for _ in 0..copies {
            let mut packet = packet.to_vec();
            if self.rng.chance(self.wire.damaged, 100) {
                let bit = self.rng.below(8 * packet.len() as u64) as usize;
                packet[bit / 8] ^= 1 << (bit % 8);
            }
            self.next += 1;
            let at = self.now + Duration::from_micros(100 + self.rng.below(2000));
            self.flying.insert((at, self.next), (to, from, packet));
        }
    }

    /// Whether who dials whom it found makes all of them one cluster.
    fn is_one(&self) -> bool {
        let (mut reached, mut next) = (Vec::from([0]), 0);
        while let Some(&number) = reached.get(next) {
            next += 1;
            for other in 0..self.hosts.len() {
                let found = self.hosts[number].found.contains(&other) || self.hosts[other].found.contains(&number);
                if found && !reached.contains(&other) {
                    reached.push(other);
                }
            }
        }
        reached.len() == self.hosts.len()
    }
}

#[test]
fn all_find_each_other_on_a_bad_wire() {
    for seed in 0..20 {
        for servers in [2, 3, 10, 40] {
            let mut world = World::new(seed, servers, BAD);
            world.run(10);
            assert!(world.is_one(), "seed {seed}, {servers} servers");
        }
    }
}

#[test]
fn on_a_good_wire_two_seconds_are_enough() {
    for seed in 0..20 {
        for servers in [2, 10, 60] {
            let mut world = World::new(seed, servers, GOOD);
            world.run(2);
            assert!(world.is_one(), "seed {seed}, {servers} servers");
        }
    }
}

#[test]
fn halves_that_were_apart_find_each_other_again() {
    for seed in 0..20 {
        let mut world = World::new(seed, 10, GOOD);
        world.run(60);
        world.whole = false;
        world.run(300);
        world.whole = true;
        for host in &mut world.hosts {
            host.found.clear();
        }
        world.run(40);
        let across =
            world.hosts.iter().enumerate().any(|(own, host)| host.found.iter().any(|other| other % 2 != own % 2));
        assert!(across, "seed {seed}");
    }
}

/// Bytes a second and server, once it is quiet.
fn idle(servers: usize) -> usize {
    let mut world = World::new(1, servers, GOOD);
    world.run(120);
    let sum = |world: &World| world.hosts.iter().map(|host| host.bytes).sum::<usize>();
    let before = sum(&world);
    world.run(600);
    (sum(&world) - before) / (600 * servers)
}

#[test]
fn an_idle_server_costs_little_however_many_there_are() {
    for servers in [1, 2, 10, 60, 200] {
        let cost = idle(servers);
        assert!(cost <= 40, "{cost} bytes a second with {servers} servers");
    }
}

#[test]
fn a_client_finds_some_server_and_is_not_buried() {
    for seed in 0..20 {
        for servers in [1, 3, 60, 200] {
            let mut world = World::new(seed, servers, BAD);
            world.run(30);
            let (now, deadline) = (world.now, world.now + Duration::from_secs(30));
            let mut finder = Finder::new(group(), &key(1), Rng::from_number(seed), now, deadline);
            finder.handle_up(interface(2, "10.9.9.9"));
            world.finder = Some(finder);
            world.drain_client();
            world.run(1);
            let answers = world.answered.len();
            world.run(29);
            assert!(!world.answered.is_empty(), "seed {seed}, {servers} servers");
            assert!(answers <= 64, "seed {seed}, {servers} servers: {answers} answers");
        }
    }
}

#[test]
fn who_has_another_key_finds_nobody() {
    let mut world = World::new(1, 5, GOOD);
    world.run(5);
    let deadline = world.now + Duration::from_secs(5);
    let mut finder = Finder::new(group(), &key(2), Rng::from_number(1), world.now, deadline);
    finder.handle_up(interface(2, "10.9.9.9"));
    world.finder = Some(finder);
    world.drain_client();
    world.run(6);
    let counts = world.finder.map(|finder| finder.counts());
    assert_eq!((world.answered, counts), (Vec::new(), Some(Counts::default())), "nothing even comes");
    assert!(world.hosts.iter().all(|host| host.announcer.counts().forged >= 5));
}
