//! What goes wrong in a world, when, and for how long: drawn from the seed
//! before the world begins, so that a plan can be printed, replayed and cut
//! down.

use std::time::Duration;

use circuit_core::{Instant, Rng};

/// A server that leaves waits at most so long until others have heard it.
const GOES: Duration = Duration::from_secs(1);

/// The loss, of a thousand packets, that nothing gets through.
pub const ALWAYS: u16 = 1_000;

/// Some hosts: those from a number to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hosts {
    from: usize,
    until: usize,
}

impl Hosts {
    /// Everybody.
    pub const ALL: Self = Self { from: 0, until: usize::MAX };

    /// One host.
    pub const fn one(host: usize) -> Self {
        Self { from: host, until: host + 1 }
    }

    /// Those below a number.
    pub const fn below(until: usize) -> Self {
        Self { from: 0, until }
    }

    /// Those from a number on.
    pub const fn from(from: usize) -> Self {
        Self { from, until: usize::MAX }
    }

    /// Whether a host is one of them.
    pub const fn contain(self, host: usize) -> bool {
        self.from <= host && host < self.until
    }
}

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
    /// From some hosts to others packets are lost, or late: in this direction
    /// alone.
    Weak {
        /// From whom.
        from: Hosts,
        /// To whom.
        to: Hosts,
        /// How many are lost of a thousand: with [`ALWAYS`] it is cut.
        loss: u16,
        /// How much later the others come.
        slow: Duration,
        /// For how long.
        lasting: Duration,
    },
    /// A server's clock jumps, as that of a machine that slept.
    Jump {
        /// Which.
        server: usize,
        /// How far.
        ahead: Duration,
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
    /// No process can be started on a server.
    NoSpawn {
        /// Which.
        server: usize,
        /// For how long.
        lasting: Duration,
    },
    /// Nothing can be written to the disk of a server: it goes on, and cannot be
    /// started again under its identity.
    FullDisk {
        /// Which.
        server: usize,
        /// For how long.
        lasting: Duration,
    },
    /// A server is started anew as another version, which the others do not
    /// understand, and at last as the old one again.
    Version {
        /// Which.
        server: usize,
        /// For how long.
        lasting: Duration,
    },
    /// Datagrams are lost, repeated, damaged and late.
    Datagrams {
        /// For how long.
        lasting: Duration,
    },
    /// A client is killed; another takes its place.
    CrashClient {
        /// Which, counted among the clients.
        client: usize,
    },
}

impl Fault {
    /// For how long it may be felt: what was lost again and again is sent again
    /// only after as long as that took.
    pub fn felt(&self) -> Duration {
        match *self {
            Self::Weak { loss: 1..ALWAYS, lasting, .. } => lasting + Duration::from_secs(20),
            _ => self.lasting(),
        }
    }

    /// For how long it lasts.
    pub fn lasting(&self) -> Duration {
        match *self {
            Self::Cut { lasting, .. }
            | Self::Split { lasting, .. }
            | Self::Weak { lasting, .. }
            | Self::NoSpawn { lasting, .. }
            | Self::FullDisk { lasting, .. }
            | Self::Version { lasting, .. }
            | Self::Datagrams { lasting }
            | Self::Pause { lasting, .. } => lasting,
            Self::Crash { back, .. } => back,
            Self::Leave { back, .. } => back + GOES,
            Self::Reset { .. } | Self::CrashClient { .. } | Self::Jump { .. } => Duration::ZERO,
        }
    }
}

/// Faults and when they happen, in order.
pub type Plan = Vec<(Instant, Fault)>;

/// When nothing of a plan is felt any more.
pub fn calm(plan: &Plan) -> Instant {
    plan.iter().map(|(at, fault)| *at + fault.felt()).max().unwrap_or_default()
}

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
