//! Who is here, as this server sees it.

mod view;

pub use view::{Record, State, View};
