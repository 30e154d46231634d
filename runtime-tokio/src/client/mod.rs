//! The client library: a circuit as a program uses it.
//!
//! [`Circuit::dial`] connects to one server and reaches every host through it.
//! [`Anchor`]s are places in the one namespace; [`Chan`], [`Proc`] and
//! [`Subscription`] are handles of what stands there. A handle is only a name: it stays usable when its host
//! is out of reach, and works again when the host is back.
//!
//! Every error has a class (see [`circuit_core::ErrorClass`]): the application's,
//! the host's, or the connection's. A lost connection is made again and every
//! call goes on where it was; what cannot be known is
//! [`circuit_core::ErrorKind::Unknown`], and can be asked about with
//! [`Pending::answer`].

mod anchor;
mod call;
mod chan;
mod dial;
mod driver;
mod proc;
mod stream;
mod subscription;

pub use anchor::{Anchor, Element, Entry, LogMark};
pub use call::Pending;
pub use chan::{Chan, Message, Sent};
pub use circuit_core::Target;
pub use dial::{Circuit, Dial, DialError, Members};
pub use driver::Refusal;
pub use proc::{Output, Proc};
pub use stream::{Receiving, Sending};
pub use subscription::{Event, Happened, Subscription};
