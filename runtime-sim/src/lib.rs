//! The simulator of a circuit.
//!
//! [`World`] runs any number of servers and clients, the same state machines
//! that the production driver runs, on a clock and a network that it makes up
//! from a seed. A scenario puts them to work and breaks things; its checks say
//! what must hold all the same. The same seed is the same run, to the bit: the
//! trace hash says so.

pub mod faults;
mod oracle;
pub mod report;
pub mod scenarios;
mod trace;
mod world;

pub use oracle::Oracle;
pub use report::{Bar, Failure, Figure, Report};
pub use trace::Trace;
pub use world::{App, ClientIndex, Seeds, ServerIndex, Settings, Sim, World};
