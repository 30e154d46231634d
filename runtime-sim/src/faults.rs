//! What goes wrong in a world, when, and for how long: drawn from the seed
//! before the world begins, so that a plan can be printed, replayed and cut
//! down.

use std::time::Duration;

use circuit_core::{Instant, Rng};

/// One thing that goes wrong. Hosts are numbered: the servers first, then the
/// clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing passes between two hosts, either way.
    Cut {
        /// One host.
        a: usize,
        /// The other.
        b: usize,
        /// For how long.
        lasting: Duration,
    },
    /// Nothing passes between the hosts below a number and the others.
    Split {
        /// Which number.
        below: usize,
        /// For how long.
        lasting: Duration,
    },
    /// A server is told to leave; another starts in its place.
    Leave {
        /// Which.
        server: usize,
        /// After how long.
        back: Duration,
    },
    /// Every connection between two hosts is reset, and what was on it lost.
    Reset {
        /// One host.
        a: usize,
        /// The other.
        b: usize,
    },
    /// A server stands still.
    Pause {
        /// Which.
        server: usize,
        /// For how long.
        lasting: Duration,
    },
    /// A server is killed, and started again.
    Crash {
        /// Which.
        server: usize,
        /// After how long.
        back: Duration,
        /// Whether under the same identity.
        same: bool,
    },
    /// A client is killed; another takes its place.
    CrashClient {
        /// Which, counted among the clients.
        client: usize,
    },
}

impl Fault {
    /// For how long it is felt.
    pub fn lasting(&self) -> Duration {
        match *self {
            Self::Cut { lasting, .. } | Self::Split { lasting, .. } | Self::Pause { lasting, .. } => lasting,
            Self::Crash { back, .. } => back,
            Self::Leave { back, .. } => back + Duration::from_secs(16), // should it stand still meanwhile
            Self::Reset { .. } | Self::CrashClient { .. } => Duration::ZERO,
        }
    }
}

/// Faults and when they happen, in order.
pub type Plan = Vec<(Instant, Fault)>;

/// How often each kind of fault happens, and to how many hosts.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// How many servers there are.
    pub servers: usize,
    /// How many clients.
    pub clients: usize,
    /// How many faults.
    pub faults: usize,
    /// From when to when.
    pub from: Instant,
    /// The end of it.
    pub until: Instant,
    /// Whether servers may be killed, or told to leave.
    pub crashes: bool,
}

impl Weather {
    /// Draws a plan.
    pub fn plan(&self, rng: &mut Rng) -> Plan {
        let span = self.until.since(self.from).as_micros() as u64;
        let mut plan: Plan =
            (0..self.faults).map(|_| (self.from + Duration::from_micros(rng.below(span)), self.fault(rng))).collect();
        let mut leaves = rng.fork("leaves");
        for (_, fault) in &mut plan {
            match *fault {
                Fault::Crash { server, back, .. } if leaves.chance(1, 3) => *fault = Fault::Leave { server, back },
                _ => {}
            }
        }
        plan.sort_by_key(|(at, _)| *at);
        plan
    }

    fn fault(&self, rng: &mut Rng) -> Fault {
        let hosts = (self.servers + self.clients) as u64;
        let server = rng.below(self.servers as u64) as usize;
        let other = rng.below(hosts) as usize;
        let b = if other == server { (other + 1) % hosts as usize } else { other };
        let lasting = Duration::from_millis(10 + rng.below(8_000));
        match rng.below(10) {
            0..3 => Fault::Reset { a: server, b },
            3..6 => Fault::Cut { a: server, b, lasting },
            6..8 => Fault::Pause { server, lasting },
            8 if self.crashes => Fault::Crash { server, back: lasting, same: rng.chance(1, 2) },
            8 => Fault::Reset { a: server, b },
            _ => Fault::CrashClient { client: rng.below(self.clients as u64) as usize },
        }
    }
}
