//! The one keyed hash that everything here uses: HMAC-SHA256.

use hmac::{Hmac, Mac, digest::generic_array::GenericArray};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// The MAC of the concatenated `parts` under `key`.
pub(crate) fn mac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    // A key shorter than the hash's block is padded with zeros (RFC 2104).
    let mut block = [0; 64];
    block[..32].copy_from_slice(key);
    let mut state = Hmac::<Sha256>::new(GenericArray::from_slice(&block));
    for part in parts {
        state.update(part);
    }
    state.finalize().into_bytes().into()
}

/// Whether two MACs are the same, in a time that does not tell where they
/// differ.
pub(crate) fn equal(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}
