//! Bytes that are shared, within values: as one run, and not each by itself.

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use serde::{
    Deserializer, Serializer,
    de::{Error, Visitor},
};

/// Writes them.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(bytes: &Bytes, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_bytes(bytes)
}

/// Reads them.
///
/// # Errors
/// Those of the deserializer.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
    struct Octets;
    impl Visitor<'_> for Octets {
        type Value = Bytes;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes")
        }
        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
            Ok(Bytes::copy_from_slice(bytes))
        }
        fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
            Ok(bytes.into())
        }
    }
    from.deserialize_bytes(Octets)
}

/// The same, or why there are none.
pub mod or_errno {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    enum Octets {
        Bytes(#[serde(with = "super")] Bytes),
        Errno(i32),
    }

    /// Writes them.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(result: &Result<Bytes, i32>, to: S) -> Result<S::Ok, S::Error> {
        match result {
            Ok(bytes) => Octets::Bytes(bytes.clone()).serialize(to),
            Err(errno) => Octets::Errno(*errno).serialize(to),
        }
    }

    /// Reads them.
    ///
    /// # Errors
    /// Those of the deserializer.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Result<Bytes, i32>, D::Error> {
        Octets::deserialize(from).map(|octets| match octets {
            Octets::Bytes(bytes) => Ok(bytes),
            Octets::Errno(errno) => Err(errno),
        })
    }
}
