//! What goes to standard output.

use std::{
    future::Future,
    io::{self, IsTerminal, Write},
    mem,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::{Args, ValueEnum};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};
use serde::Serialize;
use serde_json::ser::PrettyFormatter;
use tokio::{
    io::{AsyncWriteExt, Stdout},
    task::{JoinHandle, spawn_blocking},
};

use crate::fault::Fault;

/// What is gathered before it is written.
const GATHERED: usize = 64 * 1024;

/// The option of every verb that prints.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct FormatArgs {
    /// How to print: for people, or as JSON on one line (a stream of bytes as a
    /// line for each piece)
    #[arg(short = 'o', long = "output", value_name = "FORMAT", default_value = "text")]
    pub(crate) format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Text,
    Json,
}

/// Standard output. Every method fails only if that can be written no more.
#[derive(Debug)]
pub(crate) struct Out {
    stdout: Stdout,
    terminal: bool,
    gathered: Vec<u8>,
    format: Format,
    pieces: Pieces,
    /// Ends when nobody reads any more.
    reader: Option<JoinHandle<()>>,
}

impl Out {
    pub(crate) fn new(format: FormatArgs) -> Self {
        Self {
            stdout: tokio::io::stdout(),
            terminal: io::stdout().is_terminal(),
            gathered: Vec::new(),
            format: format.format,
            pieces: Pieces::default(),
            reader: None,
        }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// A line, which may stay here until [`Out::flush`].
    pub(crate) async fn line(&mut self, text: &str) -> io::Result<()> {
        let text = if self.terminal { escaped(text) } else { text.to_owned() };
        self.gathered.extend_from_slice(text.as_bytes());
        self.gathered.push(b'\n');
        if self.gathered.len() >= GATHERED { self.flush().await } else { Ok(()) }
    }

    /// A value as JSON: over several lines for people, on one for programs.
    pub(crate) async fn value(&mut self, value: &impl Serialize) -> io::Result<()> {
        let mut text = Vec::new();
        if self.is_json() {
            serde_json::to_writer(&mut text, value)?;
        } else {
            let tabs = PrettyFormatter::with_indent(b"\t");
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut text, tabs))?;
        }
        let text = String::from_utf8_lossy(&text);
        // JSON itself leaves some control characters as they are.
        let text = if self.terminal { json_escaped(&text) } else { text.into_owned() };
        self.gathered.extend_from_slice(text.as_bytes());
        self.gathered.push(b'\n');
        self.flush().await
    }

    /// The next bytes of a stream, written before this returns.
    pub(crate) async fn piece(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.is_json() {
            let line = self.pieces.next(bytes);
            return self.piece_line(line).await;
        }
        self.stdout.write_all(bytes).await?;
        self.stdout.flush().await
    }

    /// The end of a stream.
    pub(crate) async fn end_of_pieces(&mut self) -> io::Result<()> {
        let line = self.pieces.rest();
        self.piece_line(line).await
    }

    async fn piece_line(&mut self, line: Option<Piece>) -> io::Result<()> {
        match line {
            Some(line) => self.value(&line).await,
            None => Ok(()),
        }
    }

    /// Waits for something to print, unless nobody is left to read it: then the
    /// command is over.
    pub(crate) async fn wanted<T>(&mut self, something: impl Future<Output = T>) -> Result<T, Fault> {
        // A thread of its own waits; it ends with the program.
        let reader = self.reader.get_or_insert_with(|| spawn_blocking(until_reader_is_gone));
        tokio::select! {
            biased;
            something = something => Ok(something),
            _ = reader => Err(Fault::quiet(0)),
        }
    }

    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        self.stdout.write_all(&mem::take(&mut self.gathered)).await?;
        self.stdout.flush().await
    }
}

/// Returns when nobody can read standard output any more.
fn until_reader_is_gone() {
    let stdout = io::stdout();
    // Asked for nothing, poll tells only of errors and of a closed end.
    while poll(&mut [PollFd::new(&stdout, PollFlags::empty())], None) == Err(Errno::INTR) {}
}

/// Prints outside of a runtime.
pub(crate) fn at_once(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// A piece of a stream of bytes, as JSON has it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Piece {
    Text(String),
    Base64(String),
}

/// Makes pieces of a stream of bytes, none of which cuts a character in two.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    /// The beginning of a character.
    kept: Vec<u8>,
}

impl Pieces {
    pub(crate) fn next(&mut self, bytes: &[u8]) -> Option<Piece> {
        self.kept.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.kept) {
            Ok(text) => text.len(),
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => self.kept.len(),
        };
        let rest = self.kept.split_off(whole);
        Piece::of(mem::replace(&mut self.kept, rest))
    }

    pub(crate) fn rest(&mut self) -> Option<Piece> {
        Piece::of(mem::take(&mut self.kept))
    }
}

impl Piece {
    fn of(bytes: Vec<u8>) -> Option<Self> {
        match String::from_utf8(bytes) {
            Ok(text) if text.is_empty() => None,
            Ok(text) => Some(Self::Text(text)),
            Err(error) => Some(Self::Base64(STANDARD.encode(error.as_bytes()))),
        }
    }
}

/// The text without anything that a terminal would obey.
pub(crate) fn escaped(text: &str) -> String {
    let escape = |c: char| if c.is_control() && c != '\t' { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escape).collect()
}

/// The same of a JSON text, which stays one.
fn json_escaped(text: &str) -> String {
    let escape = |c: char| {
        let kept = !c.is_control() || matches!(c, '\n' | '\t');
        if kept { c.to_string() } else { format!("\\u{:04x}", u32::from(c)) }
    };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Piece {
        Piece::Text(text.to_owned())
    }

    #[test]
    fn a_terminal_obeys_nothing_that_others_wrote() {
        assert_eq!(escaped("a\u{1b}[2J\tb\u{9b}é"), "a\\u{1b}[2J\tb\\u{9b}é");
        assert_eq!(json_escaped("{\n\t\"\u{7f}\u{9b}\"}"), "{\n\t\"\\u007f\\u009b\"}");
    }

    #[test]
    fn pieces_never_cut_a_character() {
        let mut pieces = Pieces::default();
        assert_eq!(pieces.next("ab\u{20ac}".as_bytes().split_at(3).0), Some(text("ab")));
        assert_eq!(pieces.next(&"\u{20ac}c".as_bytes()[1..]), Some(text("\u{20ac}c")));
        assert_eq!(pieces.next(b"\xff\x00"), Some(Piece::Base64("/wA=".to_owned())));
        assert_eq!(pieces.next(b"\xe2"), None);
        assert_eq!(pieces.rest(), Some(Piece::Base64("4g==".to_owned())));
        assert_eq!(pieces.rest(), None);
    }
}
