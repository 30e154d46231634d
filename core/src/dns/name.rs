//! Names as packets have them: labels, each behind its length, up to the root.

use alloc::{boxed::Box, format, string::String, vec::Vec};
use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::text::BadRecord;

/// The most bytes of a name.
pub(super) const MAX_NAME: usize = 255;
/// The most bytes of a label.
pub(super) const MAX_LABEL: usize = 63;

/// A domain name, absolute, with the case that it was written in.
///
/// ```
/// use circuit_core::dns::Name;
/// let name: Name = "Miek.nl".parse().unwrap();
/// assert_eq!(name.to_string(), "Miek.nl.");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(Box<[u8]>);

impl Name {
    /// The bytes of it in a packet, none of them compressed.
    pub fn as_wire(&self) -> &[u8] {
        &self.0
    }

    /// The name that `wire` begins with. It must not be compressed.
    pub(super) fn from_wire(wire: &[u8]) -> Option<Self> {
        length(wire).and_then(|length| wire.get(..length)).map(|name| Self(name.into()))
    }

    /// The name that stands at column `at` of a text.
    pub(super) fn parse(text: &str, at: usize) -> Result<Self, BadRecord> {
        let bad = |place: usize, what: &str| Err(BadRecord::new(at + place, what));
        if text.is_empty() {
            return bad(0, "a name is missing");
        }
        if text == "@" {
            return bad(0, "'@' stands for an origin, and there is none: write the whole name");
        }
        let (mut wire, mut label) = (Vec::new(), Vec::new());
        let mut rest = if text == "." { "" } else { text };
        while !rest.is_empty() {
            let place = text.len() - rest.len();
            if let Some(after) = rest.strip_prefix('.') {
                if label.is_empty() {
                    return bad(place, "a label is empty");
                }
                push_label(&mut wire, &mut label);
                rest = after;
                continue;
            }
            let (byte, after) = unescape(rest).map_err(|what| BadRecord::new(at + place, what))?;
            if byte > 127 && !rest.starts_with('\\') {
                return bad(place, "a name must be ASCII: write an international one in its xn-- form");
            }
            if label.len() == MAX_LABEL {
                return bad(place, "a label is over 63 bytes");
            }
            label.push(byte);
            rest = after;
        }
        if !label.is_empty() {
            push_label(&mut wire, &mut label);
        }
        wire.push(0);
        if wire.len() > MAX_NAME {
            return bad(0, "the name is over 255 bytes");
        }
        Ok(Self(wire.into()))
    }
}

fn push_label(wire: &mut Vec<u8>, label: &mut Vec<u8>) {
    wire.push(label.len() as u8); // at most 63
    wire.append(label);
}

/// The byte that `text` begins with, which may be escaped, and what follows it.
pub(super) fn unescape(text: &str) -> Result<(u8, &str), &'static str> {
    const BAD: &str = "after '\\' stands a character, or the three digits of a byte";
    let Some(escaped) = text.strip_prefix('\\') else {
        let (&byte, _) = text.as_bytes().split_first().ok_or("something is missing")?;
        if byte > 127 {
            // Of more than one byte: the caller takes it byte by byte.
            return Ok((byte, ""));
        }
        return Ok((byte, text.get(1..).unwrap_or_default()));
    };
    let first = escaped.bytes().next().ok_or(BAD)?;
    if first.is_ascii_digit() {
        let digits = escaped.get(..3).ok_or(BAD)?;
        let byte = digits.parse().map_err(|_| BAD)?;
        return Ok((byte, escaped.get(3..).unwrap_or_default()));
    }
    if first > 127 {
        return Err(BAD);
    }
    Ok((first, escaped.get(1..).unwrap_or_default()))
}

/// How long the name is that `wire` begins with, if there is a whole one and it
/// is not compressed.
pub(super) fn length(wire: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let label = usize::from(*wire.get(at)?);
        at += 1 + label;
        if label > MAX_LABEL || at > MAX_NAME || at > wire.len() {
            return None;
        }
        if label == 0 {
            return Some(at);
        }
    }
}

/// The labels of a name, first to last, without the root.
pub(super) fn labels(mut wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    core::iter::from_fn(move || {
        let (&length, rest) = wire.split_first().filter(|(length, _)| **length > 0)?;
        let (label, after) = rest.split_at_checked(usize::from(length))?;
        wire = after;
        Some(label)
    })
}

/// The last `count` labels of a name.
pub(super) fn suffix(wire: &[u8], count: usize) -> &[u8] {
    let skip = labels(wire).count().saturating_sub(count);
    let start: usize = labels(wire).take(skip).map(|label| 1 + label.len()).sum();
    wire.get(start..).unwrap_or_default()
}

/// Writes a name as text.
pub(super) fn write(wire: &[u8], out: &mut String) {
    let before = out.len();
    for label in labels(wire) {
        for &byte in label {
            match byte {
                b'.' | b'\\' | b'"' | b'(' | b')' | b';' | b'@' | b'$' => out.extend(['\\', char::from(byte)]),
                b'!'..=b'~' => out.push(char::from(byte)),
                _ => out.push_str(&format!("\\{byte:03}")),
            }
        }
        out.push('.');
    }
    if out.len() == before {
        out.push('.');
    }
}

impl core::str::FromStr for Name {
    type Err = BadRecord;
    fn from_str(text: &str) -> Result<Self, BadRecord> {
        Self::parse(text, 1)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        write(&self.0, &mut text);
        f.write_str(&text)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Wire;
        impl de::Visitor<'_> for Wire {
            type Value = Name;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a domain name")
            }
            fn visit_bytes<E: de::Error>(self, wire: &[u8]) -> Result<Name, E> {
                match length(wire) {
                    Some(length) if length == wire.len() => Ok(Name(wire.into())),
                    _ => Err(E::custom("no domain name")),
                }
            }
        }
        from.deserialize_bytes(Wire)
    }
}

/// A name as a key: its labels from the root down, in lower case, each behind
/// its length. Whatever is beneath a name has its key as a prefix, so that a
/// zone is one range.
pub(super) struct Key {
    bytes: [u8; MAX_NAME],
    length: usize,
    labels: usize,
}

impl Key {
    pub(super) fn of(wire: &[u8]) -> Self {
        let (mut bytes, mut count) = ([0; MAX_NAME], 0);
        let length: usize = labels(wire).map(|label| 1 + label.len()).sum();
        let mut end = length;
        for label in labels(wire) {
            let start = end.saturating_sub(1 + label.len());
            if let Some([first, to @ ..]) = bytes.get_mut(start..end) {
                *first = label.len() as u8; // at most 63
                for (to, from) in to.iter_mut().zip(label) {
                    *to = from.to_ascii_lowercase();
                }
            }
            (end, count) = (start, count + 1);
        }
        Self { bytes, length, labels: count }
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// How many labels it has.
    pub(super) const fn labels(&self) -> usize {
        self.labels
    }

    /// The key of the last `count` labels of the name.
    pub(super) fn top(&self, count: usize) -> &[u8] {
        let mut end = 0;
        for _ in 0..count {
            end += 1 + self.bytes.get(end).copied().map_or(0, usize::from);
        }
        self.bytes.get(..end.min(self.length)).unwrap_or_default()
    }
}
