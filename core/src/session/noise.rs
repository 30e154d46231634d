//! Noise `XXpsk3_25519_ChaChaPoly_SHA256` by snow, with the randomness
//! injected and low-order points refused.

use alloc::boxed::Box;

use snow::{
    Builder, Error, HandshakeState,
    params::{CipherChoice, DHChoice, HashChoice, NoiseParams},
    resolvers::{BoxedCryptoResolver, CryptoResolver, DefaultResolver},
    types::{Cipher, Dh, Hash, Random},
};

use super::keys::{KeySet, StaticKey};
use crate::Rng;

const PATTERN: &str = "Noise_XXpsk3_25519_ChaChaPoly_SHA256";

/// Bytes that sealing adds.
pub(super) const TAG: usize = 16;
/// Bytes of the three handshake messages, without payloads. In a psk pattern
/// the first is sealed too, though by nothing secret.
pub(super) const MESSAGE_1: usize = 32 + TAG;
pub(super) const MESSAGE_2: usize = 32 + 32 + TAG + TAG;
pub(super) const MESSAGE_3: usize = 32 + TAG + TAG;

/// One end of a handshake.
pub(super) fn handshake(
    initiator: bool,
    key: &KeySet,
    identity: &StaticKey,
    prologue: &[u8],
    rng: &Rng,
) -> Result<HandshakeState, Error> {
    let params: NoiseParams = PATTERN.parse()?;
    let resolver: BoxedCryptoResolver = Box::new(Resolver(rng.fork("noise")));
    let builder = Builder::with_resolver(params, resolver)
        .psk(3, &key.psk)?
        .local_private_key(identity.as_bytes())?
        .prologue(prologue)?;
    if initiator { builder.build_initiator() } else { builder.build_responder() }
}

/// The public half of a private key.
pub(super) fn public_half(private: &[u8; 32]) -> [u8; 32] {
    let mut public = [0; 32];
    if let Some(mut dh) = contributory() {
        dh.set(private);
        public.copy_from_slice(dh.pubkey());
    }
    public
}

/// Curve25519 that refuses low-order points.
pub(super) fn contributory() -> Option<Box<dyn Dh>> {
    let inner = DefaultResolver.resolve_dh(&DHChoice::Curve25519)?;
    Some(Box::new(Contributory(inner)))
}

/// Snow's own primitives, but with our randomness and a stricter curve.
struct Resolver(Rng);

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Injected(self.0.clone())))
    }

    fn resolve_dh(&self, _: &DHChoice) -> Option<Box<dyn Dh>> {
        contributory()
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}

struct Injected(Rng);

impl Random for Injected {
    fn try_fill_bytes(&mut self, into: &mut [u8]) -> Result<(), Error> {
        self.0.fill(into);
        Ok(())
    }
}

/// Curve25519 that refuses a shared secret of zero, which is what an all-zero
/// or low-order public key leads to (RFC 7748, section 6.1), and that wipes
/// its private half when it goes.
struct Contributory(Box<dyn Dh>);

impl Dh for Contributory {
    fn name(&self) -> &'static str {
        self.0.name()
    }
    fn pub_len(&self) -> usize {
        self.0.pub_len()
    }
    fn priv_len(&self) -> usize {
        self.0.priv_len()
    }
    fn set(&mut self, private: &[u8]) {
        self.0.set(private);
    }
    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), Error> {
        self.0.generate(rng)
    }
    fn pubkey(&self) -> &[u8] {
        self.0.pubkey()
    }
    fn privkey(&self) -> &[u8] {
        self.0.privkey()
    }
    fn dh(&self, public: &[u8], out: &mut [u8]) -> Result<(), Error> {
        self.0.dh(public, out)?;
        if out.iter().all(|&byte| byte == 0) { Err(Error::Dh) } else { Ok(()) }
    }
}

impl Drop for Contributory {
    fn drop(&mut self) {
        self.0.set(&[0; 32]);
    }
}
