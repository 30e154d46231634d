//! The three messages before the first record, from either end.

use alloc::boxed::Box;

use snow::{HandshakeState, TransportState};

use super::{
    Failure, Peer, Role,
    keys::{Credentials, KeySet, id_of_public},
    noise::{self, MESSAGE_1, MESSAGE_2, MESSAGE_3},
    preamble::{self, ACCEPTED, ANSWER, HELLO, MAC},
    record::{Incoming, Outgoing},
};
use crate::{Rng, ServerId};

/// A handshake that is under way.
pub(super) enum Handshake {
    /// The hello was sent; the answer is awaited.
    Dialled { noise: Box<HandshakeState>, mac: [u8; MAC], key: KeySet, expect: Option<ServerId> },
    /// The hello is awaited.
    Accepting { credentials: Box<Credentials>, rng: Box<Rng> },
    /// The answer was sent; the third message is awaited.
    Answered { noise: Box<HandshakeState>, role: Role },
    /// It was left half done by a failure.
    Broken,
}

/// What came of looking at the bytes that have come.
pub(super) enum Step {
    /// More bytes are needed.
    Wait,
    /// There may be more to do with those that came.
    Again,
    /// Both sides are proven.
    Done(Box<TransportState>, Peer),
}

impl From<snow::Error> for Failure {
    fn from(_: snow::Error) -> Self {
        Self::Handshake
    }
}

impl Handshake {
    pub(super) fn dial(
        credentials: &Credentials,
        role: Role,
        expect: Option<ServerId>,
        rng: &Rng,
    ) -> Result<(Self, [u8; HELLO]), Failure> {
        let key = credentials.dial_key().ok_or(Failure::UnknownKey)?.clone();
        let prologue = preamble::prologue(role, &key);
        let mut noise = noise::handshake(true, &key, &credentials.identity, &prologue, rng)?;
        let mut message_1 = [0; MESSAGE_1];
        noise.write_message(&[], &mut message_1)?;
        let hello = preamble::hello(prologue, &message_1, &key);
        let mac = *hello.last_chunk().ok_or(Failure::Handshake)?;
        Ok((Self::Dialled { noise: Box::new(noise), mac, key, expect }, hello))
    }

    pub(super) fn accept(credentials: &Credentials, rng: &Rng) -> Self {
        Self::Accepting { credentials: Box::new(credentials.clone()), rng: Box::new(rng.clone()) }
    }

    /// Goes as far as the bytes allow.
    pub(super) fn step(&mut self, incoming: &mut Incoming, outgoing: &mut Outgoing) -> Result<Step, Failure> {
        match core::mem::replace(self, Self::Broken) {
            Self::Dialled { noise, mac, key, expect } => {
                let Some(answer) = incoming.waiting().first_chunk::<ANSWER>() else {
                    *self = Self::Dialled { noise, mac, key, expect };
                    return Ok(Step::Wait);
                };
                preamble::read_answer(answer, &mac, &key)?;
                let Some(answer) = incoming.take(ACCEPTED) else {
                    *self = Self::Dialled { noise, mac, key, expect };
                    return Ok(Step::Wait);
                };
                let message_2 = answer.last_chunk::<MESSAGE_2>().ok_or(Failure::Handshake)?;
                finish_dial(noise, message_2, expect, outgoing)
            }
            Self::Accepting { credentials, rng } => {
                if !preamble::may_be_hello(incoming.waiting()) {
                    return Err(Failure::BadMagic);
                }
                let Some(hello) = incoming.take(HELLO) else {
                    *self = Self::Accepting { credentials, rng };
                    return Ok(Step::Wait);
                };
                let hello = hello.first_chunk().ok_or(Failure::BadMagic)?;
                let (noise, role) = answer_hello(&credentials, &rng, hello, outgoing)?;
                *self = Self::Answered { noise, role };
                Ok(Step::Again)
            }
            Self::Answered { mut noise, role } => {
                let Some(message_3) = incoming.take(MESSAGE_3) else {
                    *self = Self::Answered { noise, role };
                    return Ok(Step::Wait);
                };
                noise.read_message(message_3, &mut [])?;
                done(*noise, role)
            }
            Self::Broken => Err(Failure::Handshake),
        }
    }
}

fn finish_dial(
    mut noise: Box<HandshakeState>,
    message_2: &[u8; MESSAGE_2],
    expect: Option<ServerId>,
    outgoing: &mut Outgoing,
) -> Result<Step, Failure> {
    noise.read_message(message_2, &mut [])?;
    let found = noise.get_remote_static().map(id_of_public).ok_or(Failure::Handshake)?;
    if let Some(expected) = expect.filter(|&expected| expected != found) {
        return Err(Failure::WrongServer { expected, found });
    }
    let mut message_3 = [0; MESSAGE_3];
    noise.write_message(&[], &mut message_3)?;
    outgoing.push_clear(&message_3);
    done(*noise, Role::Server)
}

fn answer_hello(
    credentials: &Credentials,
    rng: &Rng,
    hello: &[u8; HELLO],
    outgoing: &mut Outgoing,
) -> Result<(Box<HandshakeState>, Role), Failure> {
    let (hello, key) = preamble::read_hello(hello, |tag| credentials.key_for(tag))?;
    if hello.version != preamble::VERSION {
        outgoing.push_clear(&preamble::answer(false, &hello.mac, key));
        return Err(Failure::Version { theirs: hello.version });
    }
    let mut noise = noise::handshake(false, key, &credentials.identity, &hello.prologue, rng)?;
    noise.read_message(&hello.message_1, &mut [])?;
    let mut message_2 = [0; MESSAGE_2];
    noise.write_message(&[], &mut message_2)?;
    outgoing.push_clear(&preamble::answer(true, &hello.mac, key));
    outgoing.push_clear(&message_2);
    Ok((Box::new(noise), hello.role))
}

fn done(noise: HandshakeState, role: Role) -> Result<Step, Failure> {
    let id = noise.get_remote_static().map(id_of_public).ok_or(Failure::Handshake)?;
    let noise = noise.into_transport_mode()?;
    Ok(Step::Done(Box::new(noise), Peer { role, id }))
}
