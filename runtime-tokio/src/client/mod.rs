//! The client library: a circuit as a program uses it.
//!
//! [`Circuit::dial`] connects to one server and reaches every host through it.
//! [`Anchor`]s are places in the one namespace; [`Chan`], [`Proc`], [`Select`],
//! [`Nameserver`] and [`Subscription`] are handles of what stands there. A handle
//! is only a name: it stays usable when its host is out of reach, and works again
//! when the host is back. [`Circuit::select`] does one of several things.
//!
//! Every error has a class (see [`circuit_core::ErrorClass`]): the application's,
//! the host's, or the connection's. A lost connection is made again and every
//! call goes on where it was; what cannot be known is
//! [`circuit_core::ErrorKind::Unknown`], and can be asked about with
//! [`Pending::answer`].

mod anchor;
mod call;
mod chan;
mod choose;
mod container;
mod dial;
mod driver;
mod nameserver;
mod proc;
mod select;
mod stream;
mod subscription;

pub use anchor::{Anchor, Element, Ended, Entry, LogMark};
pub use call::Pending;
pub use chan::{Chan, Message, Sent};
pub use choose::{Clause, Outcome};
pub use circuit_core::Target;
pub use dial::{Circuit, Dial, DialError, Members};
pub use driver::Refusal;
pub use nameserver::Nameserver;
pub use proc::{Output, Proc};
pub use select::Select;
pub use stream::{Receiving, Sending};
pub use subscription::{Event, Happened, Subscription};
