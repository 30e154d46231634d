//! What a packet carries: a message and its payload, encoded or not yet.
//!
//! Where a message is made it stays a value until it is sealed into a record;
//! where it arrives it stays bytes until it reaches the part that it is for. A
//! server that passes it on never looks inside.

use alloc::{boxed::Box, vec::Vec};

use bytes::{Buf, Bytes};
use serde::{Serialize, de::DeserializeOwned};

use super::call::{ToClient, ToHost};
use crate::codec::{self, DecodeError};

/// The body of a packet.
#[derive(Clone, Debug, PartialEq)]
pub enum Load {
    /// As it came.
    Encoded(Bytes),
    /// From a client to a host, with the bytes of a stream behind it.
    ToHost(Box<(ToHost, Bytes)>),
    /// From a host to a client, with the bytes of a stream behind it.
    ToClient(Box<(ToClient, Bytes)>),
}

impl Load {
    /// A message from a client.
    pub fn from_client(message: ToHost, payload: Bytes) -> Self {
        Self::ToHost(Box::new((message, payload)))
    }

    /// A message from a host.
    pub fn from_host(message: ToClient, payload: Bytes) -> Self {
        Self::ToClient(Box::new((message, payload)))
    }

    /// About how many bytes it is: exactly those of the payload, and some for
    /// the message.
    pub fn len(&self) -> usize {
        match self {
            Self::Encoded(bytes) => bytes.len(),
            Self::ToHost(both) => 32 + both.1.len(),
            Self::ToClient(both) => 32 + both.1.len(),
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends it to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Encoded(bytes) => out.extend_from_slice(bytes),
            Self::ToHost(both) => {
                codec::encode(&both.0, out);
                out.extend_from_slice(&both.1);
            }
            Self::ToClient(both) => {
                codec::encode(&both.0, out);
                out.extend_from_slice(&both.1);
            }
        }
    }

    /// The message to a host that it is, and its payload.
    ///
    /// # Errors
    /// [`DecodeError`] when it is none, or has a payload that it should not.
    pub fn to_host(self) -> Result<(ToHost, Bytes), DecodeError> {
        match self {
            Self::Encoded(bytes) => {
                let carries = |message: &ToHost| matches!(message, ToHost::Call { .. } | ToHost::Data { .. });
                read(bytes, carries)
            }
            Self::ToHost(both) => Ok(*both),
            Self::ToClient(_) => Err(WRONG_WAY),
        }
    }

    /// The message to a client that it is, and its payload.
    ///
    /// # Errors
    /// [`DecodeError`] when it is none, or has a payload that it should not.
    pub fn to_client(self) -> Result<(ToClient, Bytes), DecodeError> {
        match self {
            Self::Encoded(bytes) => read(bytes, |message: &ToClient| matches!(message, ToClient::Data { .. })),
            Self::ToClient(both) => Ok(*both),
            Self::ToHost(_) => Err(WRONG_WAY),
        }
    }
}

const WRONG_WAY: DecodeError = DecodeError { what: "a message that goes the other way", offset: 0 };

/// Takes the message off the front, and leaves the payload.
fn read<T: Serialize + DeserializeOwned>(
    mut bytes: Bytes,
    carries_payload: impl FnOnce(&T) -> bool,
) -> Result<(T, Bytes), DecodeError> {
    let (message, length) = codec::decode::<T>(&bytes)?;
    bytes.advance(length);
    if bytes.is_empty() || carries_payload(&message) {
        Ok((message, bytes))
    } else {
        Err(DecodeError { what: "bytes after the value", offset: length })
    }
}
