//! Values as bytes: postcard, held to one form for each value.
//!
//! Reading is parsing. [`decode`] gives a value or says what was wrong and
//! where; it never allocates from a length that it has not checked, and it
//! refuses the second spellings of a value that postcard alone would take
//! (over-long varints). The lengths of whole lists are checked by [`list`].

mod flavor;
pub mod list;
pub mod octets;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::{cell::Cell, fmt};

use serde::{Serialize, de::DeserializeOwned};

use flavor::{Append, Compare, Track};

/// Why bytes are no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// What was wrong.
    pub what: &'static str,
    /// At which byte of what was being decoded.
    pub offset: usize,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.offset)
    }
}

impl core::error::Error for DecodeError {}

/// Appends `value` to `out`.
pub fn encode<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    // Appending to memory cannot fail, and no wire type has a map or a
    // sequence of unknown length.
    let written = postcard::serialize_with_flavor(value, Append(out));
    debug_assert!(written.is_ok(), "a wire type that postcard cannot write");
}

/// Reads one value from the front of `bytes`; also says how long it was.
///
/// # Errors
/// [`DecodeError`] with what is wrong and where: a value cut short, an unknown
/// tag, a boolean that is not 0 or 1, bytes that are not UTF-8, an over-long
/// number.
pub fn decode<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Result<(T, usize), DecodeError> {
    let (at, suspect) = (Cell::new(0), Cell::new(false));
    let mut reader = postcard::Deserializer::from_flavor(Track::new(bytes, &at, &suspect));
    let value = T::deserialize(&mut reader).map_err(|error| explain(&error, at.get()))?;
    let length = at.get();
    let original = bytes.get(..length).unwrap_or(bytes);
    if suspect.get() && postcard::serialize_with_flavor(&value, Compare::new(original, &at)).is_err() {
        return Err(DecodeError { what: "a value that is not in its shortest form", offset: at.get() });
    }
    Ok((value, length))
}

/// Reads one value that must fill `bytes` exactly.
///
/// # Errors
/// As [`decode`], and for trailing bytes.
pub fn decode_whole<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Result<T, DecodeError> {
    let (value, length) = decode(bytes)?;
    if length == bytes.len() { Ok(value) } else { Err(DecodeError { what: "bytes after the value", offset: length }) }
}

fn explain(error: &postcard::Error, offset: usize) -> DecodeError {
    use postcard::Error as E;
    let what = match error {
        E::DeserializeUnexpectedEnd => "a value cut short",
        E::DeserializeBadVarint => "a number out of range",
        E::DeserializeBadBool => "a boolean that is not 0 or 1",
        E::DeserializeBadChar => "a character out of range",
        E::DeserializeBadUtf8 => "text that is not UTF-8",
        E::DeserializeBadOption => "an option that is not 0 or 1",
        _ => "an unknown tag or a value out of range",
    };
    DecodeError { what, offset }
}
