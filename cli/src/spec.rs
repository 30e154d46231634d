//! The description of an element, as JSON on standard input.
//!
//! Comments and commas too many are allowed: they are blanked before the text
//! is parsed, so that places in error messages hold. The names of fields may be
//! in any case; one that stands twice or that is unknown is an error.

use std::{fmt, io::Read};

use circuit_core::wire::op::{ProcSpec, StdinSpec};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, MapAccess, Visitor},
};
use serde_json::Value;

/// The longest description.
const MAX_SPEC: u64 = 1024 * 1024;

/// Reads the description of a process.
pub(crate) fn read_proc(input: impl Read) -> Result<ProcSpec, String> {
    let mut fields = Fields::read(input)?;
    let spec = ProcSpec {
        path: fields.take("Path")?.ok_or("Path is missing: it names the program")?,
        args: fields.take("Args")?.unwrap_or_default(),
        dir: fields.take("Dir")?.unwrap_or_default(),
        env: fields.take("Env")?.unwrap_or_default(),
        scrub: fields.take("Scrub")?.unwrap_or_default(),
        stdin: stdin(fields.take::<String>("Stdin")?.as_deref())?,
    };
    fields.none_left("Path, Args, Dir, Env, Scrub, Stdin")?;
    Ok(spec)
}

fn stdin(word: Option<&str>) -> Result<StdinSpec, String> {
    match word {
        None | Some("pipe") => Ok(StdinSpec::Pipe),
        Some("null") => Ok(StdinSpec::Null),
        Some(other) => Err(format!("Stdin: {other:?} is neither \"pipe\" nor \"null\"")),
    }
}

/// The fields of an object that were not taken yet.
struct Fields(Vec<(String, Value)>);

impl Fields {
    fn read(input: impl Read) -> Result<Self, String> {
        let mut text = Vec::new();
        input.take(MAX_SPEC + 1).read_to_end(&mut text).map_err(|error| error.to_string())?;
        if text.len() as u64 > MAX_SPEC {
            return Err("it is over 1 MiB".to_owned());
        }
        Self::parse(text)
    }

    fn parse(mut text: Vec<u8>) -> Result<Self, String> {
        if text.starts_with(b"\xef\xbb\xbf") {
            return Err("it begins with a byte order mark, which JSON does not have".to_owned());
        }
        blank(&mut text)?;
        if text.iter().all(u8::is_ascii_whitespace) {
            return Err("it is empty".to_owned());
        }
        let fields: Self = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
        for (at, (name, _)) in fields.0.iter().enumerate() {
            if fields.0.iter().take(at).any(|(before, _)| before.eq_ignore_ascii_case(name)) {
                return Err(format!("{name} stands there twice"));
            }
        }
        Ok(fields)
    }

    /// Takes a field out. One that is null is as if left out, as upstream
    /// prints lists without elements.
    fn take<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, String> {
        let Some(at) = self.0.iter().position(|(known, _)| known.eq_ignore_ascii_case(name)) else {
            return Ok(None);
        };
        let (_, value) = self.0.swap_remove(at);
        serde_json::from_value(value).map_err(|error| format!("{name}: {error}"))
    }

    fn none_left(&self, known: &str) -> Result<(), String> {
        match self.0.first() {
            Some((name, _)) => Err(format!("no field is called {name:?}; these are known: {known}")),
            None => Ok(()),
        }
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        from.deserialize_map(Object)
    }
}

/// Puts spaces in the place of comments, and of a comma after the last element
/// of a list or an object.
fn blank(text: &mut [u8]) -> Result<(), String> {
    let mut at = 0;
    // The last two bytes that mean something, and where the last one is.
    let (mut before, mut last, mut last_at) = (0, 0, 0);
    while let Some(&byte) = text.get(at) {
        let end = match (byte, text.get(at + 1)) {
            (b'/', Some(b'/')) => at + find(&text[at..], b"\n").unwrap_or(text.len() - at),
            (b'/', Some(b'*')) => {
                let end = find(&text[at + 2..], b"*/").ok_or_else(|| {
                    let line = 1 + text[..at].iter().filter(|&&byte| byte == b'\n').count();
                    format!("the comment that begins in line {line} does not end")
                })?;
                at + 2 + end + 2
            }
            _ if byte.is_ascii_whitespace() => at + 1,
            _ => {
                if matches!(byte, b']' | b'}') && last == b',' && !matches!(before, b'[' | b'{' | b',') {
                    text[last_at] = b' ';
                }
                (before, last, last_at) = (last, byte, at);
                at = if byte == b'"' { end_of_string(text, at) } else { at + 1 };
                continue;
            }
        };
        for byte in text[at..end].iter_mut().filter(|byte| !byte.is_ascii_whitespace()) {
            *byte = b' ';
        }
        at = end;
    }
    Ok(())
}

/// What follows the string that begins at `at`; the end if it does not end.
fn end_of_string(text: &[u8], at: usize) -> usize {
    let mut next = at + 1;
    while let Some(&byte) = text.get(next) {
        match byte {
            b'"' => return next + 1,
            b'\\' => next += 2,
            _ => next += 1,
        }
    }
    text.len()
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests;
