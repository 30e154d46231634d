//! Keys: the cluster's, which admits, and a server's own, which names it.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::noise;
use crate::{Rng, ServerId, mac::mac};

/// The secret that all servers and clients of one circuit share.
///
/// As text it is 32 bytes in base64, on one line.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct ClusterKey([u8; 32]);

impl ClusterKey {
    /// What stands in for a key where there is none: everybody knows it, so it
    /// keeps nobody out, but the same code runs with a key and without.
    pub const fn public() -> Self {
        Self(*b"circuit without a key: all enter")
    }

    /// A new key from a generator that must have come from the system's own
    /// randomness.
    pub fn generate(rng: &mut Rng) -> Self {
        Self(rng.seed())
    }

    /// Reads a key as [`ClusterKey::to_text`] writes it; a newline at the end
    /// is fine.
    ///
    /// # Errors
    /// [`BadKey`], which never repeats what it read.
    pub fn from_text(text: &str) -> Result<Self, BadKey> {
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        let bytes = Zeroizing::new(STANDARD.decode(text).map_err(|_| BadKey::NotBase64)?);
        let bytes: [u8; 32] = bytes.as_slice().try_into().map_err(|_| BadKey::Length(bytes.len()))?;
        if bytes == [0; 32] { Err(BadKey::Zero) } else { Ok(Self(bytes)) }
    }

    /// The key as one line of text, without a newline.
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(self.0))
    }

    /// A key derived from this one for one purpose.
    pub(crate) fn derive(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(mac(&self.0, &[purpose.as_bytes()]))
    }
}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterKey") // never its bytes
    }
}

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadKey {
    /// It is not base64.
    NotBase64,
    /// It is of so many bytes rather than 32.
    Length(usize),
    /// All of it is zero.
    Zero,
}

impl fmt::Display for BadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBase64 => f.write_str("the key is not base64"),
            Self::Length(length) => write!(f, "the key is {length} bytes long and not 32"),
            Self::Zero => f.write_str("the key is all zero"),
        }
    }
}

impl core::error::Error for BadKey {}

/// The private half of a static key; the public half names its owner.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct StaticKey([u8; 32]);

impl StaticKey {
    /// A new key.
    pub fn generate(rng: &mut Rng) -> Self {
        Self(rng.seed())
    }

    /// The key that was saved as these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The secret bytes, to be saved where nobody else can read them.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The id of the server that has this key.
    pub fn server_id(&self) -> ServerId {
        id_of_public(&noise::public_half(&self.0))
    }
}

impl fmt::Debug for StaticKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StaticKey") // never its bytes
    }
}

/// The id that belongs to a public key. Zero means "the server I dialled" on
/// the wire, so the one key in 2^64 that hashes to it is moved aside.
pub(super) fn id_of_public(public: &[u8]) -> ServerId {
    let hash = Sha256::digest(public);
    let mut first = [0; 8];
    for (to, from) in first.iter_mut().zip(hash) {
        *to = from;
    }
    ServerId(u64::from_be_bytes(first).max(1))
}

/// What one end of a session brings to the handshake.
#[derive(Clone)]
pub struct Credentials {
    pub(super) keys: Box<[KeySet]>,
    pub(super) identity: StaticKey,
}

impl Credentials {
    /// Dials with `key` and admits those who have it.
    pub fn new(key: &ClusterKey, identity: StaticKey) -> Self {
        Self { keys: Vec::from([KeySet::of(key)]).into_boxed_slice(), identity }
    }

    /// The id that others will see.
    pub fn server_id(&self) -> ServerId {
        self.identity.server_id()
    }

    /// The key to dial with.
    pub(super) fn dial_key(&self) -> Option<&KeySet> {
        self.keys.first()
    }

    /// The key that a caller says it has.
    pub(super) fn key_for(&self, tag: [u8; 8]) -> Option<&KeySet> {
        self.keys.iter().find(|key| key.tag == tag)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials") // never their bytes
    }
}

/// What a cluster key is used for in a session, each derived on its own.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(super) struct KeySet {
    /// Which key it is, in the clear.
    pub(super) tag: [u8; 8],
    /// Keys the MAC of the first message.
    pub(super) preamble: [u8; 32],
    /// Goes into the Noise handshake.
    pub(super) psk: [u8; 32],
}

impl KeySet {
    fn of(key: &ClusterKey) -> Self {
        let [t0, t1, t2, t3, t4, t5, t6, t7, ..] = *key.derive("circuit key tag");
        let tag = [t0, t1, t2, t3, t4, t5, t6, t7];
        Self { tag, preamble: *key.derive("circuit preamble"), psk: *key.derive("circuit psk") }
    }
}
