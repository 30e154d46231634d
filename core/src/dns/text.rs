//! Records as text, in the notation of RFC 1035's master files: one record, with
//! a whole name, and without the directives of files.

use alloc::{borrow::Cow, format, string::String, vec::Vec};
use core::{
    fmt::{self, Write},
    net::{Ipv4Addr, Ipv6Addr},
};

use super::{
    name::{self, Name, unescape},
    record::{Field, MAX_DATA, MAX_TTL, Record, fields, number_of, word_of},
};

/// The TTL of a record that names none, in seconds.
const DEFAULT_TTL: u32 = 3_600;
/// The longest text of a record.
const MAX_TEXT: usize = 8 * MAX_DATA;

/// Why a text is no record, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRecord {
    /// In which column of the text, from 1.
    pub at: usize,
    /// What is wrong there.
    pub what: String,
}

impl BadRecord {
    pub(super) fn new(at: usize, what: impl Into<String>) -> Self {
        Self { at, what: what.into() }
    }
}

impl fmt::Display for BadRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.at, self.what)
    }
}

impl core::error::Error for BadRecord {}

/// A word of a text, without the quotes that it may stand in.
#[derive(Clone, Copy)]
struct Token<'a> {
    at: usize,
    text: &'a str,
}

/// The words of a text that were not read yet.
struct Tokens<'a> {
    tokens: Vec<Token<'a>>,
    next: usize,
    end: usize,
}

impl<'a> Tokens<'a> {
    fn of(text: &'a str) -> Result<Self, BadRecord> {
        if text.len() > MAX_TEXT {
            return Err(BadRecord::new(MAX_TEXT, format!("the text of a record is over {MAX_TEXT} bytes")));
        }
        let (mut tokens, mut at, mut open) = (Vec::new(), 0, None);
        while let Some(&byte) = text.as_bytes().get(at) {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => at += 1,
                b';' => at = text.get(at..).and_then(|rest| rest.find('\n')).map_or(text.len(), |end| at + end),
                b'(' if open.is_none() => (open, at) = (Some(at), at + 1),
                b')' if open.is_some() => (open, at) = (None, at + 1),
                b'(' | b')' => return Err(BadRecord::new(at + 1, "this parenthesis has no other half")),
                b'"' => {
                    let end = end_of(text, at + 1, |byte| byte == b'"');
                    if end == text.len() {
                        return Err(BadRecord::new(at + 1, "this quote is not closed"));
                    }
                    tokens.push(Token { at: at + 2, text: text.get(at + 1..end).unwrap_or_default() });
                    at = end + 1;
                }
                _ => {
                    let end = end_of(text, at, |byte| b" \t\r\n;()\"".contains(&byte));
                    tokens.push(Token { at: at + 1, text: text.get(at..end).unwrap_or_default() });
                    at = end;
                }
            }
        }
        match open {
            Some(at) => Err(BadRecord::new(at + 1, "this parenthesis has no other half")),
            None => Ok(Self { tokens, next: 0, end: text.len() + 1 }),
        }
    }

    fn peek(&self) -> Option<Token<'a>> {
        self.tokens.get(self.next).copied()
    }

    fn next(&mut self, what: &str) -> Result<Token<'a>, BadRecord> {
        let token = self.peek().ok_or_else(|| BadRecord::new(self.end, format!("{what} is missing")))?;
        self.next += 1;
        Ok(token)
    }
}

/// Where the bytes from `at` on that do not end a word, or are escaped, end.
fn end_of(text: &str, mut at: usize, ends: impl Fn(u8) -> bool) -> usize {
    while let Some(&byte) = text.as_bytes().get(at) {
        match byte {
            b'\\' => at += 2,
            _ if ends(byte) => return at,
            _ => at += 1,
        }
    }
    text.len()
}

impl Token<'_> {
    fn bad(&self, what: impl Into<String>) -> BadRecord {
        BadRecord::new(self.at, what)
    }

    /// The beginning of it, to be shown.
    fn shown(&self) -> Cow<'_, str> {
        match self.text.char_indices().nth(20) {
            Some((end, _)) => format!("{}...", self.text.get(..end).unwrap_or_default()).into(),
            None => self.text.into(),
        }
    }

    fn number(&self, most: u32) -> Result<u32, BadRecord> {
        let number = self.text.parse().ok().filter(|number| *number <= most);
        number.ok_or_else(|| self.bad(format!("'{}' is no number up to {most}", self.shown())))
    }

    /// A number of seconds: `3600`, `1h30m`.
    fn seconds(&self, most: u32) -> Result<u32, BadRecord> {
        let bad = || self.bad(format!("'{}' is no number of seconds up to {most}", self.shown()));
        let (mut total, mut number) = (0_u64, None);
        for byte in self.text.bytes() {
            let unit = match byte.to_ascii_lowercase() {
                b'0'..=b'9' => {
                    let digit = u64::from(byte - b'0');
                    number = Some((number.unwrap_or(0_u64) * 10 + digit).min(u64::from(u32::MAX) + 1));
                    continue;
                }
                b's' => 1,
                b'm' => 60,
                b'h' => 3_600,
                b'd' => 86_400,
                b'w' => 604_800,
                _ => return Err(bad()),
            };
            total = total.saturating_add(number.take().ok_or_else(bad)?.saturating_mul(unit));
        }
        total = total.saturating_add(number.unwrap_or(0));
        let total = u32::try_from(total).ok().filter(|total| *total <= most && !self.text.is_empty());
        total.ok_or_else(bad)
    }

    fn kind(&self) -> Result<u16, BadRecord> {
        number_of(self.text).ok_or_else(|| self.bad(format!("no type of records is called '{}'", self.shown())))
    }

    /// Its bytes, at most `most` of them.
    fn bytes(&self, most: usize) -> Result<Vec<u8>, BadRecord> {
        let (mut bytes, mut at) = (Vec::new(), 0);
        while let Some(&byte) = self.text.as_bytes().get(at) {
            let place = self.at + at;
            if byte == b'\\' {
                let rest = self.text.get(at..).unwrap_or_default();
                let (byte, after) = unescape(rest).map_err(|what| BadRecord::new(place, what))?;
                bytes.push(byte);
                at = self.text.len() - after.len();
            } else {
                bytes.push(byte);
                at += 1;
            }
            if bytes.len() > most {
                let what = format!("a string is over {most} bytes: split it into several");
                return Err(BadRecord::new(place, what));
            }
        }
        Ok(bytes)
    }
}

/// Reads a record.
pub(super) fn parse(text: &str) -> Result<Record, BadRecord> {
    let mut tokens = Tokens::of(text)?;
    let owner = tokens.next("the record")?;
    let name = Name::parse(owner.text, owner.at)?;
    let (mut ttl, mut class) = (None, false);
    let kind = loop {
        let token = tokens.next("the type")?;
        let word = token.text;
        if ttl.is_none() && word.starts_with(|first: char| first.is_ascii_digit()) {
            ttl = Some(token.seconds(MAX_TTL)?);
        } else if !class && word.eq_ignore_ascii_case("IN") {
            class = true;
        } else if ["CH", "HS", "CS", "ANY", "NONE"].iter().any(|other| word.eq_ignore_ascii_case(other)) {
            return Err(token.bad("records are of class IN here, and no other"));
        } else {
            break token;
        }
    };
    let number = kind.kind()?;
    let data = match tokens.peek() {
        Some(Token { text: "\\#", .. }) => generic(&mut tokens)?,
        _ => {
            let how = "this type has no notation here: write its data as \\# LENGTH HEX";
            data(fields(number).ok_or_else(|| kind.bad(how))?, &mut tokens)?
        }
    };
    if let Some(token) = tokens.peek() {
        return Err(token.bad(format!("'{}' is too many: the record ends before it", token.shown())));
    }
    Record::new(name, number, ttl.unwrap_or(DEFAULT_TTL), &data).map_err(|what| kind.bad(what))
}

/// Data in the notation that all types have (RFC 3597).
fn generic(tokens: &mut Tokens<'_>) -> Result<Vec<u8>, BadRecord> {
    tokens.next("\\#")?;
    let length = tokens.next("the length of the data")?;
    let count = length.number(MAX_DATA as u32)?;
    let data = hex(tokens)?;
    if data.len() == count as usize { Ok(data) } else { Err(length.bad(format!("the data has {} bytes", data.len()))) }
}

/// All words that are left, as hexadecimal digits.
fn hex(tokens: &mut Tokens<'_>) -> Result<Vec<u8>, BadRecord> {
    let (mut data, mut half) = (Vec::new(), None);
    while let Some(token) = tokens.peek() {
        for byte in token.text.bytes() {
            let digit = char::from(byte).to_digit(16).map(|digit| digit as u8);
            let digit = digit.ok_or_else(|| token.bad(format!("'{}' is not hexadecimal", token.shown())))?;
            match half.take() {
                Some(high) => data.push(high << 4 | digit),
                None => half = Some(digit),
            }
        }
        tokens.next += 1;
    }
    if half.is_some() { Err(BadRecord::new(tokens.end, "half a byte is missing")) } else { Ok(data) }
}

fn data(fields: &[Field], tokens: &mut Tokens<'_>) -> Result<Vec<u8>, BadRecord> {
    let mut data = Vec::new();
    for field in fields {
        match field {
            Field::Hex => {
                tokens.peek().ok_or_else(|| BadRecord::new(tokens.end, "the hexadecimal digits are missing"))?;
                data.extend(hex(tokens)?);
            }
            Field::Texts => {
                string(tokens.next("a string")?, &mut data)?;
                while let Some(token) = tokens.peek() {
                    tokens.next += 1;
                    string(token, &mut data)?;
                }
            }
            field => one(field, tokens.next(field.what())?, &mut data)?,
        }
    }
    Ok(data)
}

/// Writes what one word says.
fn one(field: &Field, token: Token<'_>, data: &mut Vec<u8>) -> Result<(), BadRecord> {
    let bad_address = || token.bad(format!("'{}' is no {}", token.shown(), field.what()));
    match field {
        Field::Name => data.extend_from_slice(Name::parse(token.text, token.at)?.as_wire()),
        Field::Byte => data.push(token.number(0xff)? as u8),
        Field::Word => data.extend((token.number(0xffff)? as u16).to_be_bytes()),
        Field::Long => data.extend(token.number(u32::MAX)?.to_be_bytes()),
        Field::Seconds => data.extend(token.seconds(u32::MAX)?.to_be_bytes()),
        Field::V4 => data.extend(token.text.parse::<Ipv4Addr>().map_err(|_| bad_address())?.octets()),
        Field::V6 => data.extend(token.text.parse::<Ipv6Addr>().map_err(|_| bad_address())?.octets()),
        Field::Text | Field::Tag | Field::Texts => string(token, data)?,
        Field::Rest | Field::Hex => data.extend(token.bytes(MAX_DATA)?),
    }
    Ok(())
}

fn string(token: Token<'_>, data: &mut Vec<u8>) -> Result<(), BadRecord> {
    let bytes = token.bytes(255)?;
    data.push(bytes.len() as u8); // at most 255
    data.extend(bytes);
    Ok(())
}

/// Writes a record: name, TTL, class, type and data, with tabs between.
pub(super) fn write(record: &Record) -> String {
    let mut text = String::new();
    name::write(record.name.as_wire(), &mut text);
    // Writing to memory cannot fail.
    let _ = write!(text, "\t{}\tIN\t", record.ttl);
    match word_of(record.kind) {
        Some(word) => text.push_str(word),
        None => drop(write!(text, "TYPE{}", record.kind)),
    }
    text.push('\t');
    match fields(record.kind) {
        Some(fields) => write_data(fields, &record.data, &mut text),
        None => {
            let _ = write!(text, "\\# {}", record.data.len());
            write_hex(&record.data, " ", &mut text);
        }
    }
    text
}

fn write_data(fields: &[Field], data: &[u8], text: &mut String) {
    let mut rest = data;
    for (number, field) in fields.iter().enumerate() {
        if number > 0 {
            text.push(' ');
        }
        loop {
            let (value, after) = field.take(rest).unwrap_or((rest, &[]));
            write_one(field, value, text);
            rest = after;
            if !matches!(field, Field::Texts) || rest.is_empty() {
                break;
            }
            text.push(' ');
        }
    }
}

fn write_one(field: &Field, value: &[u8], text: &mut String) {
    match field {
        Field::Name => name::write(value, text),
        Field::Byte | Field::Word | Field::Long | Field::Seconds => {
            let number = value.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
            let _ = write!(text, "{number}");
        }
        Field::V4 => drop(<[u8; 4]>::try_from(value).map(|octets| write!(text, "{}", Ipv4Addr::from(octets)))),
        Field::V6 => drop(<[u8; 16]>::try_from(value).map(|octets| write!(text, "{}", Ipv6Addr::from(octets)))),
        Field::Tag => text.extend(value.iter().skip(1).copied().map(char::from)),
        Field::Text | Field::Texts => write_string(value.get(1..).unwrap_or_default(), text),
        Field::Rest => write_string(value, text),
        Field::Hex => write_hex(value, "", text),
    }
}

fn write_string(bytes: &[u8], text: &mut String) {
    text.push('"');
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(byte)]),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => drop(write!(text, "\\{byte:03}")),
        }
    }
    text.push('"');
}

fn write_hex(bytes: &[u8], before: &str, text: &mut String) {
    for (at, byte) in bytes.iter().enumerate() {
        let _ = write!(text, "{}{byte:02x}", if at == 0 { before } else { "" });
    }
}
