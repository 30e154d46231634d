#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

extern crate alloc;

pub mod calls;
pub mod client;
pub mod codec;
pub mod discovery;
pub mod dns;
pub mod effect;
pub mod elements;
mod error;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;
mod id;
pub mod links;
mod mac;
pub mod membership;
pub mod namespace;
pub mod node;
pub mod oplog;
mod path;
pub mod relay;
mod rng;
pub mod select;
pub mod session;
mod time;
pub mod timers;
mod url;
pub mod wire;

pub use error::{Error, ErrorClass, ErrorKind};
pub use id::{Epoch, Incarnation, NotAServer, ServerId};
pub use path::{AnchorPath, BadPath, MAX_COMPONENT, MAX_DEPTH, Path};
pub use rng::Rng;
pub use time::Instant;
pub use url::{BadUrl, Target, Url};
