//! The production driver of a circuit, its effects, and the client library.
//!
//! The core decides, this crate does: it moves bytes between sockets and
//! [`circuit_core::session::Session`]s, runs processes, and keeps time.

pub mod client;
#[cfg(feature = "docker")]
mod container;
mod discovery;
mod driver;
mod host;
mod journal;
mod keys;
mod names;
mod net;
#[cfg(not(feature = "docker"))]
mod no_containers;
mod outside;
mod process;
mod server;
mod state;
mod wire;

#[cfg(not(feature = "docker"))]
use no_containers as container;

pub use circuit_core::{
    discovery::{BadGroup, Group},
    elements::ContainerRules,
};
pub use client::{Circuit, Dial};
pub use driver::Clock;
pub use host::{Host, LocalHost};
pub use journal::Journal;
pub use keys::{read_key, system_rng, write_key};
pub use net::{Net, TokioNet};
pub use outside::Outside;
pub use process::{keep, raise_descriptors};
pub use server::{Server, ServerConfig, runtime};
pub use state::{Identity, StateDir};
pub use wire::Wire;
