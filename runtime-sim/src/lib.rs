//! The simulator of a circuit.
//!
//! [`World`] runs any number of servers and clients, the same state machines
//! that the production driver runs, on a clock and a network that it makes up
//! from a seed. A scenario puts them to work and breaks things; its checks say
//! what must hold all the same. The same seed is the same run, to the bit: the
//! trace hash says so.

mod drivers;
pub mod faults;
pub mod linear;
mod oracle;
pub mod planted;
pub mod report;
pub mod scenarios;
pub mod script;
pub mod shrink;
mod teller;
mod trace;
mod work;
mod world;

pub use drivers::{Stream, TurmoilNet, Wires};
pub use oracle::{Oracle, Truth};
pub use report::{Bar, Failure, Figure, Report};
pub use trace::Trace;
pub use world::{
    App, ClientIndex, Network, Quality, RECORD, STUCK, Seeds, ServerIndex, Settings, Sim, World, is_hopeless,
};
