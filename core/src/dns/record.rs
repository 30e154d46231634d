//! Records: a name, a type, a TTL and data, all of class IN.

use alloc::{boxed::Box, format, string::String, vec::Vec};
use core::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    name::{self, Name},
    text::{self, BadRecord},
};

/// The most bytes of a record's data.
pub const MAX_DATA: usize = 16 * 1024;
/// The longest TTL, in seconds (RFC 2181).
pub const MAX_TTL: u32 = 0x7fff_ffff;

pub(super) const A: u16 = 1;
pub(super) const NS: u16 = 2;
pub(super) const CNAME: u16 = 5;
pub(super) const SOA: u16 = 6;
pub(super) const PTR: u16 = 12;
pub(super) const HINFO: u16 = 13;
pub(super) const MX: u16 = 15;
pub(super) const AAAA: u16 = 28;
pub(super) const SRV: u16 = 33;
pub(super) const OPT: u16 = 41;
pub(super) const DS: u16 = 43;
pub(super) const IXFR: u16 = 251;
pub(super) const AXFR: u16 = 252;
pub(super) const ANY: u16 = 255;

pub(super) const CLASS_IN: u16 = 1;
const DNAME: u16 = 39;
/// What stands between a record's name and its data in a packet.
pub(super) const FIXED: usize = 10;

/// A part of a record's data.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field {
    Name,
    Byte,
    Word,
    Long,
    /// A long of seconds.
    Seconds,
    V4,
    V6,
    /// A string behind its length.
    Text,
    /// One such string or more.
    Texts,
    /// Such a string of letters and digits, of which there must be some.
    Tag,
    /// A string up to the end.
    Rest,
    /// What is left, at least a byte, which is shown as hexadecimal digits.
    Hex,
}

/// The types that have a notation, and what their data is made of.
pub(super) const TYPES: &[(u16, &str, &[Field])] = {
    use Field::{Byte, Hex, Long, Name, Rest, Seconds, Tag, Text, Texts, V4, V6, Word};
    &[
        (A, "A", &[V4]),
        (NS, "NS", &[Name]),
        (CNAME, "CNAME", &[Name]),
        (SOA, "SOA", &[Name, Name, Long, Seconds, Seconds, Seconds, Seconds]),
        (PTR, "PTR", &[Name]),
        (HINFO, "HINFO", &[Text, Text]),
        (MX, "MX", &[Word, Name]),
        (16, "TXT", &[Texts]),
        (17, "RP", &[Name, Name]),
        (18, "AFSDB", &[Word, Name]),
        (AAAA, "AAAA", &[V6]),
        (SRV, "SRV", &[Word, Word, Word, Name]),
        (35, "NAPTR", &[Word, Word, Text, Text, Text, Name]),
        (DS, "DS", &[Word, Byte, Byte, Hex]),
        (44, "SSHFP", &[Byte, Byte, Hex]),
        (52, "TLSA", &[Byte, Byte, Byte, Hex]),
        (53, "SMIMEA", &[Byte, Byte, Byte, Hex]),
        (99, "SPF", &[Texts]),
        (256, "URI", &[Word, Word, Rest]),
        (257, "CAA", &[Byte, Tag, Rest]),
    ]
};

impl Field {
    /// What is missing if it is.
    pub(super) const fn what(&self) -> &'static str {
        match self {
            Self::Name => "a name",
            Self::Byte | Self::Word | Self::Long => "a number",
            Self::Seconds => "a number of seconds",
            Self::V4 => "IPv4 address",
            Self::V6 => "IPv6 address",
            Self::Text | Self::Texts | Self::Rest => "a string",
            Self::Tag => "a tag",
            Self::Hex => "data",
        }
    }

    /// Takes the field off the front of `data`.
    pub(super) fn take<'a>(&self, data: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let length = match self {
            Self::Name => name::length(data)?,
            Self::Byte => 1,
            Self::Word => 2,
            Self::Long | Self::Seconds | Self::V4 => 4,
            Self::V6 => 16,
            Self::Text | Self::Texts | Self::Tag => 1 + usize::from(*data.first()?),
            Self::Rest => data.len(),
            Self::Hex => Some(data.len()).filter(|length| *length > 0)?, // none has a notation
        };
        data.split_at_checked(length)
    }
}

/// What the data of a type is made of, if it has a notation.
pub(super) fn fields(kind: u16) -> Option<&'static [Field]> {
    TYPES.iter().find(|(number, ..)| *number == kind).map(|(_, _, fields)| *fields)
}

/// The word for a type.
pub(super) fn word_of(kind: u16) -> Option<&'static str> {
    TYPES.iter().find(|(number, ..)| *number == kind).map(|(_, word, _)| *word)
}

/// The type that a word means; `TYPE123` means any.
pub(super) fn number_of(word: &str) -> Option<u16> {
    let known = TYPES.iter().find(|(_, known, _)| known.eq_ignore_ascii_case(word));
    let any = || word.get(..4).filter(|four| four.eq_ignore_ascii_case("TYPE")).and(word.get(4..)?.parse().ok());
    known.map(|(number, ..)| *number).or_else(any)
}

/// A record of a name server. It is made from text or from its bytes in a
/// packet, and there is none that is not in good form.
///
/// ```
/// use circuit_core::dns::Record;
/// let record: Record = "miek.nl. 3600 IN MX 10 mx.miek.nl.".parse().unwrap();
/// assert_eq!(record.to_string(), "miek.nl.\t3600\tIN\tMX\t10 mx.miek.nl.");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub(super) name: Name,
    pub(super) kind: u16,
    pub(super) ttl: u32,
    pub(super) data: Box<[u8]>,
}

impl Record {
    pub(super) fn new(name: Name, kind: u16, ttl: u32, data: &[u8]) -> Result<Self, String> {
        let shown = word_of(kind).map_or_else(|| format!("TYPE{kind}"), Into::into);
        if matches!(kind, 0 | DNAME | OPT | 128..=255) {
            return Err(format!("records of type {shown} cannot be set"));
        }
        if ttl > MAX_TTL {
            return Err(format!("the TTL is over {MAX_TTL}"));
        }
        if data.len() > MAX_DATA {
            return Err(format!("the data is over {MAX_DATA} bytes"));
        }
        if fields(kind).is_some_and(|fields| !fits(fields, data)) {
            return Err(format!("this is no data of type {shown}"));
        }
        Ok(Self { name, kind, ttl, data: data.into() })
    }

    /// Its name.
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// The bytes of it in a packet, none of them compressed.
    pub fn to_wire(&self) -> Vec<u8> {
        let mut wire = self.name.as_wire().to_vec();
        wire.extend(self.kind.to_be_bytes());
        wire.extend(CLASS_IN.to_be_bytes());
        wire.extend(self.ttl.to_be_bytes());
        wire.extend((self.data.len() as u16).to_be_bytes()); // at most MAX_DATA
        wire.extend_from_slice(&self.data);
        wire
    }

    /// The record whose bytes these are.
    ///
    /// # Errors
    /// What is wrong with them: compressed or bad names, another class, a TTL
    /// over [`MAX_TTL`], a type that cannot be set, data that is not its type's.
    pub fn from_wire(wire: &[u8]) -> Result<Self, String> {
        let bad = || String::from("these are not the bytes of a record");
        let name = Name::from_wire(wire).ok_or_else(bad)?;
        let rest = wire.get(name.as_wire().len()..).unwrap_or_default();
        let (&[a, b, c, d, e, f, g, h, i, j], data) = rest.split_first_chunk::<FIXED>().ok_or_else(bad)?;
        if u16::from_be_bytes([c, d]) != CLASS_IN || data.len() != usize::from(u16::from_be_bytes([i, j])) {
            return Err(bad());
        }
        Self::new(name, u16::from_be_bytes([a, b]), u32::from_be_bytes([e, f, g, h]), data)
    }
}

/// Whether `data` is these fields and no more.
fn fits(fields: &[Field], data: &[u8]) -> bool {
    let mut rest = data;
    for field in fields {
        loop {
            let Some((value, after)) = field.take(rest) else { return false };
            let tag = value.get(1..).unwrap_or_default();
            if matches!(field, Field::Tag) && (tag.is_empty() || !tag.iter().all(u8::is_ascii_alphanumeric)) {
                return false;
            }
            rest = after;
            if !matches!(field, Field::Texts) || rest.is_empty() {
                break;
            }
        }
    }
    rest.is_empty()
}

impl FromStr for Record {
    type Err = BadRecord;
    fn from_str(text: &str) -> Result<Self, BadRecord> {
        text::parse(text)
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::write(self))
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&self.to_wire())
    }
}

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Wire;
        impl de::Visitor<'_> for Wire {
            type Value = Record;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a record of a name server")
            }
            fn visit_bytes<E: de::Error>(self, wire: &[u8]) -> Result<Record, E> {
                Record::from_wire(wire).map_err(E::custom)
            }
        }
        from.deserialize_bytes(Wire)
    }
}
