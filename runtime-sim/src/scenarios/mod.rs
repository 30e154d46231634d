//! Scenarios by name.

mod apart;
mod boot;
mod channels;
mod cluster;
mod crash;
mod idle;
mod members;

use std::{ops::Range, time::Duration};

use crate::Report;

/// Something that a world is put through.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What happens, in a line.
    pub about: &'static str,
    /// Which seeds a quick look takes.
    pub smoke: Range<u64>,
    /// And how many servers, if fewer than the scenario has.
    pub small: Option<usize>,
    /// Runs it.
    pub run: fn(&Options) -> Report,
}

/// How to run a scenario.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Which world.
    pub seed: u64,
    /// How many servers, if not as many as the scenario would have.
    pub nodes: Option<usize>,
    /// Whether to print everything that happens.
    pub trace: bool,
}

/// All scenarios.
pub const ALL: &[Scenario] = &[
    Scenario {
        name: "channels",
        about: "clients on channels and anchors under cuts, resets, pauses, crashes and restarts",
        smoke: 0..100,
        small: None,
        run: channels::run,
    },
    Scenario {
        name: "members",
        about: "up to 200 servers that start, leave, die, stand still and are cut off from each other",
        smoke: 1..16,
        small: None,
        run: members::run,
    },
    Scenario {
        name: "boot",
        about: "2,000 servers start at once and join through one",
        smoke: 0..2,
        small: Some(100),
        run: boot::run,
    },
    Scenario {
        name: "crash",
        about: "10 of 1,000 servers die at once",
        smoke: 0..2,
        small: Some(100),
        run: crash::crash,
    },
    Scenario {
        name: "stalled",
        about: "128 servers, of which up to 32 stand still for nearly 4 s, and one dies",
        smoke: 0..2,
        small: Some(40),
        run: crash::stalled,
    },
    Scenario {
        name: "partition",
        about: "100 servers in two or three parts for ten minutes, or one of them alone",
        smoke: 0..3,
        small: Some(30),
        run: apart::partition,
    },
    Scenario {
        name: "merge",
        about: "two circuits of 1,000 become one by a join",
        smoke: 0..2,
        small: Some(60),
        run: apart::merge,
    },
    Scenario {
        name: "restart",
        about: "4,500 of 5,000 servers are killed and start again at once",
        smoke: 0..2,
        small: Some(60),
        run: crash::restart,
    },
    Scenario {
        name: "orphan",
        about: "the only seed of 500 servers dies after the boot, and later another",
        smoke: 0..2,
        small: Some(60),
        run: crash::orphan,
    },
    Scenario {
        name: "idle",
        about: "1,000 servers, and 100, in which nothing happens",
        smoke: 0..1,
        small: Some(120),
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
