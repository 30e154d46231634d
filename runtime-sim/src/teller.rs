//! Tells what happens, as far as anybody wants to know.

use std::{
    collections::VecDeque,
    io::{self, Write},
};

use circuit_core::Instant;

use crate::scenarios::Telling;

/// So much of what happened last is kept, where it is to be told.
const LAST: usize = 30;

/// What has happened in a world, for people.
#[derive(Debug)]
pub(crate) struct Teller {
    telling: Telling,
    last: VecDeque<String>,
}

impl Teller {
    pub(crate) const fn new(telling: Telling) -> Self {
        Self { telling, last: VecDeque::new() }
    }

    pub(crate) fn say(&mut self, now: Instant, what: impl FnOnce() -> String) {
        match self.telling {
            Telling::Nothing => {}
            Telling::All => {
                if writeln!(io::stdout(), "{now:?} {}", what()).is_err() {
                    self.telling = Telling::Nothing; // nobody reads on
                }
            }
            Telling::Last => {
                if self.last.len() == LAST {
                    self.last.pop_front();
                }
                self.last.push_back(format!("{now:?} {}", what()));
            }
        }
    }

    /// The last that happened, if that was kept.
    pub(crate) fn last(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }
}
