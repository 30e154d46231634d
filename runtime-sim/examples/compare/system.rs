//! What is compared: anything that tells its servers who is there.

use std::collections::BTreeSet;

use circuit_core::Instant;
use circuit_sim::{
    Settings,
    faults::{Fault, Plan},
};

/// A server, in one of its lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Who {
    pub(crate) server: usize,
    pub(crate) life: u32,
}

/// An observer came to see somebody, or not to see him any more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sight {
    pub(crate) at: Instant,
    pub(crate) by: usize,
    pub(crate) of: Who,
    pub(crate) here: bool,
}

/// What was sent, each message with its seal.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

/// Where, and what goes wrong there.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) servers: usize,
    pub(crate) seed: u64,
    pub(crate) plan: Plan,
}

impl Setup {
    /// As the scenarios of membership have it.
    pub(crate) fn settings(&self) -> Settings {
        Settings::data_centre(self.servers, self.seed)
    }

    /// Whether the servers are far from each other.
    pub(crate) fn is_wide(&self) -> bool {
        self.plan.iter().any(|(_, fault)| matches!(fault, Fault::Weak { slow, .. } if !slow.is_zero()))
    }
}

/// Servers that see each other, in a world.
pub(crate) trait System {
    /// Lets it go on until then.
    fn run_until(&mut self, at: Instant);
    /// Who is there in truth.
    fn alive(&self) -> BTreeSet<Who>;
    /// Who is there, as a server sees it that is there itself.
    fn view(&self, server: usize) -> BTreeSet<Who>;
    /// What was sent so far.
    fn traffic(&self) -> Traffic;
    /// What anybody came to see so far, in order.
    fn sights(&self) -> &[Sight];
}
