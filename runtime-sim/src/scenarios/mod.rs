//! Scenarios by name.

mod boot;
mod channels;
mod cluster;
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
];

/// The scenario of a name.
pub fn find(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.name == name)
}

const fn seconds(seconds: u64) -> circuit_core::Instant {
    circuit_core::Instant::from_micros(Duration::from_secs(seconds).as_micros() as u64)
}
