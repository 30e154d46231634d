//! Scenarios by name.

mod apart;
mod blackhole;
mod boot;
mod channels;
mod chaos;
mod churn;
mod cluster;
mod crash;
mod idle;
mod members;
mod mishaps;
mod overlay;
mod selects;
mod turmoil;
mod weak;

use std::{
    any::Any,
    ops::{Range, RangeInclusive},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Mutex,
    time::Duration,
};

use crate::{Failure, Report, faults::Plan};

/// Something that a world is put through.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What happens, in a line.
    pub about: &'static str,
    /// With how many servers it says what it is to say.
    pub servers: RangeInclusive<usize>,
    /// Which seeds a quick look takes.
    pub smoke: Range<u64>,
    /// And how many servers, if fewer than the scenario has.
    pub small: Option<usize>,
    /// With how many, and on how many seeds, mistakes are looked for that show only
    /// among many.
    pub large: Option<(usize, u64)>,
    /// What it is made of; [`Scenario::report`] runs it.
    pub run: fn(&Options) -> Report,
}

impl Scenario {
    /// Runs it. That something in it panics is a failure like any other: which
    /// seed did it is known, and the next can be run.
    pub fn report(&self, options: &Options) -> Report {
        let happening = Mutex::default();
        let options = Options { happening: Some(&happening), ..*options };
        catch_unwind(AssertUnwindSafe(|| (self.run)(&options))).unwrap_or_else(|panic| Report {
            failure: Some(Failure {
                at: circuit_core::Instant::ZERO,
                what: format!("it panicked: {}", words(&*panic)),
            }),
            plan: happening.into_inner().unwrap_or_default(),
            ..Report::default()
        })
    }
}

/// What a panic says.
fn words(panic: &dyn Any) -> &str {
    let formatted = panic.downcast_ref::<String>().map(String::as_str);
    formatted.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word")
}

/// As many servers as a world can have.
const MOST: usize = 1 << 16;

/// How to run a scenario.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// Which world.
    pub seed: u64,
    /// How many servers, if not as many as the scenario would have.
    pub nodes: Option<usize>,
    /// Which of the faults that were planned happen, by their numbers in the
    /// plan; all, if nothing is said.
    pub faults: Option<&'a [usize]>,
    /// What is told of what happens.
    pub telling: Telling,
    /// Where it is noted what happens of the plan: a run that panics says nothing
    /// any more.
    pub happening: Option<&'a Mutex<Plan>>,
}

/// What is told of what happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Telling {
    /// Nothing.
    #[default]
    Nothing,
    /// The last of it, in the report.
    Last,
    /// All of it, at once, on standard output.
    All,
}

impl Options<'_> {
    /// The run of a seed, with all that the scenario chooses.
    pub const fn of(seed: u64) -> Self {
        Self { seed, nodes: None, faults: None, telling: Telling::Nothing, happening: None }
    }

    /// The part of a plan that happens.
    pub fn cut(&self, plan: Plan) -> Plan {
        let plan = match self.faults {
            None => plan,
            Some(faults) => faults.iter().filter_map(|&number| plan.get(number).copied()).collect(),
        };
        if let Some(mut happening) = self.happening.and_then(|happening| happening.lock().ok()) {
            happening.clone_from(&plan);
        }
        plan
    }
}

/// All scenarios.
pub const ALL: &[Scenario] = &[
    Scenario {
        name: "channels",
        about: "clients on channels and anchors under cuts, resets, pauses, crashes and restarts",
        servers: 2..=MOST,
        smoke: 0..100,
        small: None,
        large: None,
        run: channels::run,
    },
    Scenario {
        name: "members",
        about: "up to 200 servers that start, leave, die, stand still and are cut off from each other",
        servers: 2..=MOST,
        smoke: 1..16,
        small: None,
        large: None,
        run: members::run,
    },
    Scenario {
        name: "selects",
        about: "clients that choose among the same few channels, and change their minds",
        servers: 2..=MOST,
        smoke: 0..20,
        small: None,
        large: None,
        run: selects::run,
    },
    Scenario {
        name: "chaos",
        about: "random clusters, random faults of every kind, and clients at work",
        servers: 2..=MOST,
        smoke: 0..100,
        small: None,
        large: None,
        run: chaos::run,
    },
    Scenario {
        name: "turmoil",
        about: "the production server and client, with the same faults, clients and checks",
        servers: 2..=100,
        smoke: 0..5,
        small: Some(4),
        large: None,
        run: turmoil::run,
    },
    Scenario {
        name: "boot",
        about: "2,000 servers start at once and join through one",
        servers: 2..=MOST,
        smoke: 0..2,
        small: Some(100),
        large: None,
        run: boot::run,
    },
    Scenario {
        name: "crash",
        about: "10 of 1,000 servers die at once",
        servers: 2..=MOST,
        smoke: 0..2,
        small: Some(100),
        large: Some((1_000, 2)),
        run: crash::crash,
    },
    Scenario {
        name: "stalled",
        about: "128 servers, of which up to 32 stand still for up to 4 s, and one dies",
        servers: 2..=MOST,
        smoke: 0..2,
        small: Some(40),
        large: None,
        run: crash::stalled,
    },
    Scenario {
        name: "partition",
        about: "100 servers in two or three parts for ten minutes, or one of them alone",
        servers: 2..=MOST,
        smoke: 0..3,
        small: Some(30),
        large: Some((100, 10)),
        run: apart::partition,
    },
    Scenario {
        name: "merge",
        about: "two circuits of 1,000 become one by a join",
        servers: 2..=MOST,
        smoke: 0..2,
        small: Some(60),
        large: None,
        run: apart::merge,
    },
    Scenario {
        name: "restart",
        about: "4,500 of 5,000 servers are killed and start again at once",
        servers: 2..=MOST,
        smoke: 0..2,
        small: Some(60),
        large: None,
        run: crash::restart,
    },
    Scenario {
        name: "orphan",
        about: "the only seed of 500 servers dies after the boot, and later another",
        servers: 2..=MOST,
        smoke: 0..2,
        small: Some(60),
        large: None,
        run: crash::orphan,
    },
    Scenario {
        name: "flipflop",
        about: "10 of 1,000 servers hear nothing for 20 s, again and again",
        servers: 2..=MOST,
        smoke: 0..2,
        small: Some(60),
        large: Some((1_000, 1)),
        run: weak::flipflop,
    },
    Scenario {
        name: "lossy",
        about: "10 of 1,000 servers lose four in five of the packets that they send",
        servers: 2..=MOST,
        smoke: 0..2,
        small: Some(60),
        large: Some((1_000, 2)),
        run: weak::lossy,
    },
    Scenario {
        name: "blackhole",
        about: "two of 100 servers cannot reach each other, and a client of one calls the other",
        servers: 3..=MOST,
        smoke: 0..2,
        small: Some(3),
        large: Some((100, 5)),
        run: blackhole::blackhole,
    },
    Scenario {
        name: "wan",
        about: "200 servers in two data centres, 300 ms apart, between which 1 % is lost",
        servers: 2..=MOST,
        smoke: 0..2,
        small: Some(40),
        large: None,
        run: weak::wan,
    },
    Scenario {
        name: "massacre",
        about: "of 10,000 servers 10 to 99 % die at once",
        servers: 4..=MOST,
        smoke: 0..5,
        small: Some(100),
        large: Some((2_000, 5)),
        run: overlay::massacre,
    },
    Scenario {
        name: "expander",
        about: "the overlay of 1,000 servers is looked at every second, at rest and in churn",
        servers: 10..=MOST,
        smoke: 0..1,
        small: Some(100),
        large: None,
        run: overlay::expander,
    },
    Scenario {
        name: "churn",
        about: "200 servers that stay for 60, 30 or 10 s",
        servers: 2..=MOST,
        smoke: 0..1,
        small: Some(40),
        large: None,
        run: churn::churn,
    },
    Scenario {
        name: "idle",
        about: "1,000 servers, and 100, in which nothing happens",
        servers: 10..=MOST,
        smoke: 0..1,
        small: Some(120),
        large: None,
        run: idle::run,
    },
];

/// The scenario of a name.
pub fn find(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.name == name)
}

/// Whoever is killed comes back after so long: not while anybody looks.
const FOR_GOOD: Duration = Duration::from_secs(1_000_000);

const fn seconds(seconds: u64) -> circuit_core::Instant {
    circuit_core::Instant::from_micros(Duration::from_secs(seconds).as_micros() as u64)
}

/// Where all servers are, as if by discovery: everybody may dial everybody.
pub(crate) fn all_servers(sim: &crate::Sim) -> Vec<circuit_core::Target> {
    let targets =
        (0..sim.settings().servers).map(|server| circuit_core::Target { addr: sim.server_addr(server), expect: None });
    targets.collect()
}
