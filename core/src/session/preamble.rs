//! What stands in the clear before the handshake, and the MAC that is checked
//! before any curve arithmetic is done for a stranger.
//!
//! ```text
//! hello   "CRCT" version:2 role:1 0 tag:8 | noise message 1 | mac:32
//! answer  "CRCA" version:2 verdict:1 0 mac:32 [noise message 2]
//! ```
//! The MACs are keyed by the cluster's key; the hello's covers all before it,
//! the answer's covers the hello's MAC too, so that no answer fits another
//! hello. The first 16 bytes of the hello are the handshake's prologue.

use super::{
    Failure, Role,
    keys::KeySet,
    noise::{MESSAGE_1, MESSAGE_2},
};
use crate::mac::{equal, mac};

/// The version of everything that follows the preamble.
pub const VERSION: u16 = 1;

pub(super) const HELLO: usize = PROLOGUE + MESSAGE_1 + MAC;
pub(super) const ANSWER: usize = HEAD + MAC;
pub(super) const ACCEPTED: usize = ANSWER + MESSAGE_2;
pub(super) const PROLOGUE: usize = 16;
pub(super) const MAC: usize = 32;
const HEAD: usize = 8;

const HELLO_MAGIC: &[u8; 4] = b"CRCT";
const ANSWER_MAGIC: &[u8; 4] = b"CRCA";

/// The first 16 bytes that a dialling side sends.
pub(super) fn prologue(role: Role, key: &KeySet) -> [u8; PROLOGUE] {
    let [m0, m1, m2, m3] = *HELLO_MAGIC;
    let [v0, v1] = VERSION.to_be_bytes();
    let role = match role {
        Role::Client => 0,
        Role::Server => 1,
    };
    let [t0, t1, t2, t3, t4, t5, t6, t7] = key.tag;
    [m0, m1, m2, m3, v0, v1, role, 0, t0, t1, t2, t3, t4, t5, t6, t7]
}

/// The whole first message of a dialling side.
pub(super) fn hello(prologue: [u8; PROLOGUE], message_1: &[u8; MESSAGE_1], key: &KeySet) -> [u8; HELLO] {
    let mut hello = [0; HELLO];
    let (head, rest) = hello.split_at_mut(PROLOGUE);
    let (noise, seal) = rest.split_at_mut(MESSAGE_1);
    head.copy_from_slice(&prologue);
    noise.copy_from_slice(message_1);
    seal.copy_from_slice(&mac(&key.preamble, &[&prologue, message_1]));
    hello
}

/// A first message that was found to be in order.
#[derive(Debug)]
pub(super) struct Hello {
    pub(super) version: u16,
    pub(super) role: Role,
    pub(super) prologue: [u8; PROLOGUE],
    pub(super) message_1: [u8; MESSAGE_1],
    pub(super) mac: [u8; MAC],
}

/// Reads a first message; `key_for` finds the key that belongs to a tag.
pub(super) fn read_hello<'k>(
    bytes: &[u8; HELLO],
    key_for: impl FnOnce([u8; 8]) -> Option<&'k KeySet>,
) -> Result<(Hello, &'k KeySet), Failure> {
    let (prologue, rest) = bytes.split_first_chunk::<PROLOGUE>().ok_or(Failure::BadMagic)?;
    let (message_1, rest) = rest.split_first_chunk::<MESSAGE_1>().ok_or(Failure::BadMagic)?;
    let seal = rest.first_chunk::<MAC>().ok_or(Failure::BadMagic)?;
    let [m0, m1, m2, m3, v0, v1, role, zero, tag @ ..] = prologue;
    if [*m0, *m1, *m2, *m3] != *HELLO_MAGIC {
        return Err(Failure::BadMagic);
    }
    let key = key_for(*tag).ok_or(Failure::UnknownKey)?;
    if !equal(&mac(&key.preamble, &[prologue, message_1]), seal) {
        return Err(Failure::BadMac);
    }
    let role = match (role, zero) {
        (0, 0) => Role::Client,
        (1, 0) => Role::Server,
        _ => return Err(Failure::BadMagic),
    };
    let version = u16::from_be_bytes([*v0, *v1]);
    Ok((Hello { version, role, prologue: *prologue, message_1: *message_1, mac: *seal }, key))
}

/// Whether a first message could still become one: as soon as four bytes are
/// there, an HTTP request or a TLS hello is known for what it is.
pub(super) fn may_be_hello(bytes: &[u8]) -> bool {
    bytes.iter().zip(HELLO_MAGIC).all(|(found, wanted)| found == wanted)
}

/// The clear part of the answer to a hello.
pub(super) fn answer(accepted: bool, hello: &[u8], key: &KeySet) -> [u8; ANSWER] {
    let mut answer = [0; ANSWER];
    let (head, seal) = answer.split_at_mut(HEAD);
    let [m0, m1, m2, m3] = *ANSWER_MAGIC;
    let [v0, v1] = VERSION.to_be_bytes();
    head.copy_from_slice(&[m0, m1, m2, m3, v0, v1, u8::from(!accepted), 0]);
    seal.copy_from_slice(&mac(&key.preamble, &[hello, head]));
    answer
}

/// Reads the clear part of an answer: in order only if it accepts.
pub(super) fn read_answer(bytes: &[u8; ANSWER], hello: &[u8], key: &KeySet) -> Result<(), Failure> {
    let (head, seal) = bytes.split_first_chunk::<HEAD>().ok_or(Failure::BadMagic)?;
    let [m0, m1, m2, m3, v0, v1, verdict, _] = head;
    if [*m0, *m1, *m2, *m3] != *ANSWER_MAGIC {
        return Err(Failure::BadMagic);
    }
    if !equal(&mac(&key.preamble, &[hello, head]), seal) {
        return Err(Failure::BadMac);
    }
    match verdict {
        0 => Ok(()),
        _ => Err(Failure::Version { theirs: u16::from_be_bytes([*v0, *v1]) }),
    }
}
