//! The production driver of a circuit, its effects, and the client library.
//!
//! The core decides, this crate does: it moves bytes between sockets and
//! [`circuit_core::session::Session`]s, runs processes, and keeps time.

pub mod client;
mod discovery;
mod driver;
mod host;
mod journal;
mod keys;
mod net;
mod process;
mod server;
mod state;
mod wire;

pub use circuit_core::discovery::{BadGroup, Group};
pub use client::{Circuit, Dial};
pub use driver::Clock;
pub use host::{Host, LocalHost};
pub use journal::Journal;
pub use keys::{read_key, system_rng, write_key};
pub use net::{Net, TokioNet};
pub use server::{Server, ServerConfig};
pub use state::{Identity, StateDir};
pub use wire::Wire;
