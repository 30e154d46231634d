//! The description of an element, as JSON on standard input.
//!
//! Comments and commas too many are allowed: they are blanked before the text
//! is parsed, so that places in error messages hold. The names of fields may be
//! in any case; one that stands twice or that is unknown is an error.

mod container;
mod select;
#[cfg(test)]
mod tests;

use std::{fmt, io::Read, time::Duration};

use circuit_core::wire::op::{OnServerExit, OutputSpec, ProcSpec, StdinSpec};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, MapAccess, Visitor},
};
use serde_json::Value;

pub(crate) use container::read_container;
pub(crate) use select::read_select;

/// The longest description.
const MAX_SPEC: u64 = 1024 * 1024;

/// Reads the description of a process.
pub(crate) fn read_proc(input: impl Read) -> Result<ProcSpec, String> {
    let mut fields: Fields = read(input)?;
    let spec = ProcSpec {
        path: fields.take("Path")?.ok_or("Path is missing: it names the program")?,
        args: fields.take("Args")?.unwrap_or_default(),
        dir: fields.take("Dir")?.unwrap_or_default(),
        env: fields.take("Env")?.unwrap_or_default(),
        scrub: fields.take("Scrub")?.unwrap_or_default(),
        stdin: fields.word("Stdin", &[("pipe", StdinSpec::Pipe), ("null", StdinSpec::Null)])?,
        output: fields.word("Output", &OutputSpec::ALL.map(|output| (output.word(), output)))?,
        grace: fields.time("Grace")?,
        on_server_exit: fields.word("OnServerExit", &[("kill", OnServerExit::Kill), ("keep", OnServerExit::Keep)])?,
    };
    fields.none_left("Path, Args, Dir, Env, Scrub, Stdin, Output, Grace, OnServerExit")?;
    Ok(spec)
}

/// The fields of an object that were not taken yet.
struct Fields(Vec<(String, Value)>);

/// Reads a description.
fn read<T: DeserializeOwned>(input: impl Read) -> Result<T, String> {
    let mut text = Vec::new();
    input.take(MAX_SPEC + 1).read_to_end(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > MAX_SPEC {
        return Err("it is over 1 MiB".to_owned());
    }
    if text.starts_with(b"\xef\xbb\xbf") {
        return Err("it begins with a byte order mark, which JSON does not have".to_owned());
    }
    blank(&mut text)?;
    if text.iter().all(u8::is_ascii_whitespace) {
        return Err("it is empty".to_owned());
    }
    serde_json::from_slice(&text).map_err(|error| error.to_string())
}

impl Fields {
    /// Takes a field out. One that is null is as if left out, as upstream
    /// prints lists without elements.
    fn take<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, String> {
        let Some(at) = self.0.iter().position(|(known, _)| known.eq_ignore_ascii_case(name)) else {
            return Ok(None);
        };
        let (_, value) = self.0.swap_remove(at);
        serde_json::from_value(value).map_err(|error| format!("{name}: {error}"))
    }

    /// Takes out a field that is one of some words; without it, what is usual.
    fn word<T: Copy + Default>(&mut self, name: &str, known: &[(&str, T)]) -> Result<T, String> {
        let Some(word) = self.take::<String>(name)? else {
            return Ok(T::default());
        };
        let meant = known.iter().find(|(known, _)| *known == word);
        meant.map(|&(_, meant)| meant).ok_or_else(|| {
            let known: Vec<String> = known.iter().map(|(known, _)| format!("{known:?}")).collect();
            format!("{name}: {word:?} is none of {}", known.join(", "))
        })
    }

    /// Takes out a time, as "1m 5s", in microseconds.
    fn time(&mut self, name: &str) -> Result<Option<u64>, String> {
        let Some(text) = self.take::<String>(name)? else {
            return Ok(None);
        };
        let time: Duration = humantime::parse_duration(&text).map_err(|error| format!("{name}: {text:?}: {error}"))?;
        Ok(Some(u64::try_from(time.as_micros()).unwrap_or(u64::MAX)))
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
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if fields.iter().any(|(before, _): &(String, Value)| before.eq_ignore_ascii_case(&name)) {
                        return Err(serde::de::Error::custom(format!("{name} stands there twice")));
                    }
                    fields.push((name, value));
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
