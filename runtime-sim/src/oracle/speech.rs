//! What servers may not say, whatever goes wrong.

use std::collections::BTreeMap;

use circuit_core::{
    ServerId,
    wire::{Frame, Load, call::ToClient, route::End},
};

use crate::ServerIndex;

/// Who says something: which server, in which of its lives, and as whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Speaker {
    pub(crate) server: ServerIndex,
    pub(crate) life: u32,
    pub(crate) id: ServerId,
}

/// What servers said so far that forbids something.
#[derive(Debug, Default)]
pub(crate) struct Speech {
    /// The last attachment under each registration that a host has confirmed, in
    /// which of its lives.
    attached: BTreeMap<(ServerIndex, u32, u64), u32>,
}

impl Speech {
    /// A server, which sees these, says something.
    pub(crate) fn judge(&mut self, by: Speaker, sees: impl Fn(ServerId) -> bool, frame: &Frame) -> Result<(), String> {
        let Frame::Packet(route, load) = frame else { return Ok(()) };
        let Speaker { server, life, id } = by;
        if route.to != End::Client {
            return Ok(());
        }
        // No client hears from a host that its own server sees no more.
        if route.via == ServerId::DIAL_IN && !sees(route.host) {
            return Err(format!("server {server} let {} speak, which had left (P7)", route.host));
        }
        let Load::ToClient(said) = load else { return Ok(()) };
        match said.0 {
            ToClient::Attached { attempt, registration, .. } if route.host == id => {
                self.judge_attached((server, life, registration), attempt)
            }
            _ => Ok(()),
        }
    }

    /// No attachment that a later one has overtaken is taken for the present one.
    fn judge_attached(&mut self, of: (ServerIndex, u32, u64), attempt: u32) -> Result<(), String> {
        match self.attached.insert(of, attempt) {
            Some(before) if before >= attempt => {
                Err(format!("server {} took attachment {attempt} for later than {before}", of.0))
            }
            _ => Ok(()),
        }
    }
}
