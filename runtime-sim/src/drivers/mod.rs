//! The production server and client, each on a host of its own, on a network
//! made up by turmoil: what [`crate::World`] is for the state machines, with the
//! drivers around them.
//!
//! Hosts run in turn on one thread, and all time is turmoil's; so a seed is a
//! run here too.

mod ground;
mod machine;
mod net;
mod users;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use circuit_core::{Instant, Rng, Target, discovery::Group, session::ClusterKey};
use circuit_tokio::{Outside, Server, ServerConfig};

use crate::{
    Oracle, Report, ServerIndex,
    faults::{Fault, Hosts, Plan},
    oracle,
    scenarios::Telling,
};
pub(crate) use ground::Ground;
use ground::{PORT, Start, addr_of, at, ip_of};
use machine::Machine;
pub use net::{Stream, TurmoilNet, Wires};
pub(crate) use users::{Cast, Phase, Works};

/// Hosts run for so long at a time, one after the other.
const TICK: Duration = Duration::from_millis(5);
/// When simulations begin, after 1970.
const EPOCH: Duration = Duration::from_secs(1_400_000_000);
/// Where servers announce themselves.
const GROUP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(239, 1, 2, 3)), 11_023);

/// What hosts there are, and how far apart.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) servers: usize,
    pub(crate) cast: Cast,
    /// One way between two hosts takes at least this.
    pub(crate) delay: Duration,
    /// And at most this.
    pub(crate) longest: Duration,
    /// So many pieces may be on a connection before its writer waits.
    pub(crate) window: usize,
    /// Whether servers find each other by beacons alone.
    pub(crate) discover: bool,
    pub(crate) telling: Telling,
}

/// What is still to happen.
#[derive(Clone, Copy, Debug)]
enum Due {
    Begin(Fault),
    Over(Fault),
    Back(ServerIndex, bool),
}

/// What keeps things from passing one way: how many faults of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Way {
    /// It waits, and comes when this is over.
    held: u32,
    /// It is lost.
    lost: u32,
}

/// All hosts, and what goes wrong with them.
pub(crate) struct World {
    sim: turmoil::Sim<'static>,
    pub(crate) ground: Ground,
    pub(crate) works: Arc<Works>,
    servers: usize,
    hosts: usize,
    due: BTreeMap<(Instant, u64), Due>,
    count: u64,
    ways: BTreeMap<(usize, usize), Way>,
    plan: Plan,
}

/// Microseconds since 1970, for the host that runs.
fn wall() -> u64 {
    turmoil::since_epoch().map_or(0, |since| since.as_micros() as u64)
}

impl World {
    pub(crate) fn new(settings: &Settings, seed: u64, plan: &Plan, oracle: Oracle) -> Self {
        let rng = Rng::from_number(seed).fork("hosts");
        let clients = settings.cast.count();
        let ground = Ground::new(&rng, settings.servers, clients, oracle, settings.telling);
        let works = Works::new(&mut rng.fork("works"), ground.clone(), settings.cast);
        let sim = turmoil::Builder::new()
            .tick_duration(TICK)
            .epoch(UNIX_EPOCH + EPOCH)
            .simulation_duration(Duration::from_secs(1_000_000))
            .min_message_latency(settings.delay)
            .max_message_latency(settings.longest)
            .tcp_capacity(settings.window)
            .rng_seed(rng.fork("turmoil").u64())
            .build();
        let (servers, hosts) = (settings.servers, settings.servers + clients);
        let (due, ways) = Default::default();
        let mut world = Self { sim, ground, works, servers, hosts, due, count: 0, ways, plan: plan.clone() };
        world.populate(settings, &rng);
        for &(when, fault) in plan {
            world.later(when, Due::Begin(fault));
        }
        world
    }

    fn populate(&mut self, settings: &Settings, rng: &Rng) {
        let mut draws = rng.fork("boot");
        for server in 0..settings.servers {
            let boot = Duration::from_millis(if server == 0 { 0 } else { draws.below(2_000) });
            let before = draws.below(server.max(1) as u64) as usize;
            let seeds = if server == 0 { vec![1 % settings.servers] } else { vec![before] };
            let config = config(&seeds, settings.discover);
            let (ground, works) = (self.ground.clone(), self.works.clone());
            self.sim.host(ip_of(server), move || serve(ground.clone(), works.clone(), server, config.clone(), boot));
        }
        for client in 0..settings.cast.count() {
            let (works, rng) = (self.works.clone(), rng.clone());
            let ip = ip_of(settings.servers + client);
            self.sim.host(ip, move || users::run(works.clone(), client, rng.clone()));
        }
    }

    fn later(&mut self, when: Instant, due: Due) {
        self.count += 1;
        self.due.insert((when, self.count), due);
    }

    fn now(&self) -> Instant {
        at(self.sim.elapsed())
    }

    /// Lets all hosts run until `end`, or until something does not hold.
    pub(crate) fn run_until(&mut self, end: Instant) {
        while self.now() < end && self.ground.failure().is_none() {
            self.ground.set_now(self.now());
            while let Some(first) = self.due.first_entry().filter(|first| first.key().0 <= at(self.sim.elapsed())) {
                let due = first.remove();
                self.happen(due);
            }
            if let Err(error) = self.sim.step() {
                self.ground.fail(format!("a host has failed: {error}"));
            }
        }
        self.ground.set_now(self.now());
    }

    /// The same, as long as somebody waits to be let in.
    pub(crate) fn run_while_damped(&mut self, end: Instant) {
        let is_damped = |ground: &Ground| ground.oracle(|oracle, truth| oracle.is_damped(truth));
        while is_damped(&self.ground) && self.now() < end && self.ground.failure().is_none() {
            self.run_until(self.now() + Duration::from_secs(1));
        }
    }

    fn happen(&mut self, due: Due) {
        self.ground.wires.note(self.now().as_micros());
        self.ground.say(|| format!("{due:?}"));
        match due {
            Due::Begin(fault) => self.begin(fault),
            Due::Over(Fault::NoSpawn { server, .. }) => self.ground.fill(server, false),
            Due::Over(fault) => self.worsen(fault, false),
            Due::Back(server, same) => self.back(server, same),
        }
    }

    fn begin(&mut self, fault: Fault) {
        let over = self.now() + fault.lasting();
        match fault {
            Fault::Cut { .. } | Fault::Split { .. } | Fault::Weak { .. } => {
                self.worsen(fault, true);
                self.later(over, Due::Over(fault));
            }
            Fault::NoSpawn { server, .. } => {
                self.ground.fill(server, true);
                self.later(over, Due::Over(fault));
            }
            Fault::Reset { a, b } => self.ground.wires.reset(ip_of(a), ip_of(b)),
            Fault::Crash { server, back, same } => {
                self.kill(server);
                if self.ground.die(server) {
                    self.works.crashed(server);
                }
                self.later(self.now() + back, Due::Back(server, same));
            }
            Fault::Leave { server, back } => {
                self.ground.leave(server);
                self.later(self.now() + back, Due::Back(server, false));
            }
            Fault::CrashClient { client } => {
                self.kill(self.servers + client);
                self.works.replaced(client);
                self.sim.bounce(ip_of(self.servers + client));
            }
            // Nothing that a program or its network can be made to show here.
            Fault::Pause { .. }
            | Fault::Jump { .. }
            | Fault::FullDisk { .. }
            | Fault::Version { .. }
            | Fault::Datagrams { .. } => {}
        }
    }

    /// A host is gone, as if its plug were pulled: it says nothing any more,
    /// whatever its programs say while they are taken down.
    fn kill(&mut self, host: usize) {
        for other in (0..self.hosts).filter(|&other| other != host) {
            self.sim.partition(ip_of(host), ip_of(other));
        }
        self.sim.crash(ip_of(host));
        for other in (0..self.hosts).filter(|&other| other != host) {
            self.set(host, other);
        }
    }

    /// A server starts again, unless it has not ended yet.
    fn back(&mut self, server: ServerIndex, same: bool) {
        if self.sim.is_host_running(ip_of(server)) {
            if self.ground.is_leaving(server) {
                self.later(self.now() + Duration::from_secs(1), Due::Back(server, same));
            }
            return;
        }
        self.ground.prepare(server, same);
        self.sim.bounce(ip_of(server));
    }

    /// A fault of the network begins, or is over.
    fn worsen(&mut self, fault: Fault, begins: bool) {
        let of = |hosts: Hosts| (0..self.hosts).filter(move |&host| hosts.contain(host)).collect::<Vec<_>>();
        let (from, to, both) = match fault {
            Fault::Cut { a, b, .. } => (vec![a], vec![b], true),
            Fault::Split { below, .. } => (of(Hosts::below(below)), of(Hosts::from(below)), true),
            Fault::Weak { from, to, .. } => (of(from), of(to), false),
            _ => return,
        };
        // What a cut keeps back comes when it is over; all else is lost.
        let held = matches!(fault, Fault::Cut { .. });
        for (a, b) in from.iter().flat_map(|&a| to.iter().map(move |&b| (a, b))).filter(|(a, b)| a != b) {
            let ways = if both { vec![(a, b), (b, a)] } else { vec![(a, b)] };
            for (a, b) in ways {
                let way = self.ways.entry((a, b)).or_default();
                let count = if held { &mut way.held } else { &mut way.lost };
                *count = if begins { *count + 1 } else { count.saturating_sub(1) };
                self.ground.wires.cut(ip_of(a), ip_of(b), way.held + way.lost > 0);
            }
            self.set(a, b);
        }
    }

    /// Makes what is between two hosts as it should be.
    fn set(&self, a: usize, b: usize) {
        let way = |from, to| self.ways.get(&(from, to)).copied().unwrap_or_default();
        let (there, back) = (way(a, b), way(b, a));
        let (one, other) = (ip_of(a), ip_of(b));
        match (there.lost > 0, back.lost > 0) {
            (true, true) => self.sim.partition(one, other),
            // Turmoil cannot hold one way and cut the other.
            (true, false) | (false, true) if there.held > 0 => self.sim.partition(one, other),
            (true, false) => {
                self.sim.release(one, other);
                self.sim.partition_oneway(one, other);
            }
            (false, true) => {
                self.sim.release(one, other);
                self.sim.partition_oneway(other, one);
            }
            (false, false) if there.held > 0 => self.sim.hold(one, other),
            (false, false) => self.sim.release(one, other),
        }
    }

    /// What came of it so far.
    pub(crate) fn report(&self) -> Report {
        let (hash, events) = self.ground.wires.trace();
        Report {
            hash,
            events,
            simulated: self.sim.elapsed(),
            failure: self.ground.failure(),
            figures: Vec::new(),
            plan: self.plan.clone(),
            last: self.ground.last(),
        }
    }

    /// Nothing is left of clients that have gone.
    pub(crate) fn nothing_left(&self) {
        for (server, left) in self.ground.snapshots().into_iter().enumerate() {
            match left.map(|left| oracle::left(&left)) {
                None => self.ground.fail(format!("server {server} is not back")),
                Some(Some(what)) => self.ground.fail(format!("server {server} has not forgotten {what}")),
                Some(None) => {}
            }
        }
    }
}

fn config(seeds: &[ServerIndex], discover: bool) -> ServerConfig {
    let seeds = seeds.iter().filter(|_| !discover);
    let listen = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), PORT);
    ServerConfig {
        discover: Group::new(GROUP).ok().filter(|_| discover),
        join: seeds.map(|&seed| Target { addr: addr_of(seed), expect: None }).collect(),
        ..ServerConfig::new(listen, ClusterKey::public())
    }
}

/// A server, in one of its lives.
async fn serve(
    ground: Ground,
    works: Arc<Works>,
    server: ServerIndex,
    config: ServerConfig,
    boot: Duration,
) -> turmoil::Result {
    if turmoil::elapsed() < boot {
        tokio::time::sleep(boot).await;
    }
    let Start { identity, life, rng, stop } = ground.start(server);
    let net = TurmoilNet::new(ip_of(server), ground.wires.clone());
    let machine = Machine::new(ground.clone(), server, life);
    let mut running = Server::start_on(net, machine, &config, identity, &Outside { rng, wall }).await?;
    let told = tokio::select! {
        biased;
        () = stop.notified() => true,
        _ = running.ended() => false,
    };
    if told {
        running.stop().await;
    } else {
        ground.fail(format!("server {server} has ended by itself"));
    }
    if ground.die(server) {
        works.crashed(server);
    }
    Ok(())
}
