//! How the output of several processes stands side by side.

use std::{
    io::{self, IsTerminal},
    mem,
};

use serde::Serialize;
use tokio::{
    io::{AsyncWriteExt, Stderr},
    sync::Mutex,
};

use crate::print::{FormatArgs, Out, Piece, Pieces, escaped};

/// A longer line is cut in pieces.
const MAX_LINE: usize = 64 * 1024;
/// The most that is gathered of one stream before it is printed.
const MAX_GATHERED: usize = 1024 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// As it comes.
    Raw,
    /// Each line after the name of its server.
    Prefix,
    /// All at the end, what is equal once.
    Fold,
    /// Each piece as a JSON line.
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

/// One stream of one process.
pub(super) struct Lane {
    name: String,
    stream: Stream,
    /// What is not printed yet: of the last line, or of all.
    kept: Vec<u8>,
    /// How much more there was than could be gathered.
    cut: usize,
    pieces: Pieces,
}

impl Lane {
    pub(super) fn new(name: &str, stream: Stream) -> Self {
        Self { name: name.to_owned(), stream, kept: Vec::new(), cut: 0, pieces: Pieces::default() }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Line<'a> {
    server: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<Stream>,
    #[serde(flatten)]
    piece: Option<Piece>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u8>,
}

/// What all processes of a `run` print to.
pub(super) struct Show {
    mode: Mode,
    inner: Mutex<Inner>,
}

struct Inner {
    out: Out,
    err: Stderr,
    /// Which of standard output and error are terminals that are to be spared.
    escape: [bool; 2],
    folds: Vec<Fold>,
}

/// Output that was gathered, and whose it is.
struct Fold {
    names: Vec<String>,
    stream: Stream,
    text: Vec<u8>,
    cut: usize,
}

impl Show {
    pub(super) fn new(mode: Mode, format: FormatArgs) -> Self {
        let terminals = [io::stdout().is_terminal(), io::stderr().is_terminal()];
        let escape = terminals.map(|terminal| mode != Mode::Raw && terminal);
        let inner = Inner { out: Out::new(format), err: tokio::io::stderr(), escape, folds: Vec::new() };
        Self { mode, inner: Mutex::new(inner) }
    }

    /// The next bytes of a stream.
    pub(super) async fn piece(&self, lane: &mut Lane, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.inner.lock().await;
        match self.mode {
            Mode::Raw => inner.write(lane.stream, bytes).await,
            Mode::Prefix => {
                lane.kept.extend_from_slice(bytes);
                let end = lane.kept.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
                let end = if end == 0 && lane.kept.len() >= MAX_LINE { lane.kept.len() } else { end };
                let rest = lane.kept.split_off(end);
                let lines = mem::replace(&mut lane.kept, rest);
                inner.lines(lane, &lines).await
            }
            Mode::Fold => {
                let room = MAX_GATHERED.saturating_sub(lane.kept.len()).min(bytes.len());
                let (gathered, cut) = bytes.split_at(room);
                lane.kept.extend_from_slice(gathered);
                lane.cut += cut.len();
                Ok(())
            }
            Mode::Json => {
                let piece = lane.pieces.next(bytes);
                inner.json(lane, piece).await
            }
        }
    }

    /// The end of a stream.
    pub(super) async fn end_of(&self, mut lane: Lane) -> io::Result<()> {
        let mut inner = self.inner.lock().await;
        match self.mode {
            Mode::Raw => Ok(()),
            Mode::Prefix => {
                let rest = mem::take(&mut lane.kept);
                inner.lines(&lane, &rest).await
            }
            Mode::Fold => {
                inner.fold(lane);
                Ok(())
            }
            Mode::Json => {
                let piece = lane.pieces.rest();
                inner.json(&lane, piece).await
            }
        }
    }

    /// How a process ended.
    pub(super) async fn status(&self, name: &str, status: u8) {
        if self.mode == Mode::Json {
            let line = Line { server: name, stream: None, piece: None, status: Some(status) };
            // The status to exit with says the same.
            let _ = self.inner.lock().await.out.value(&line).await;
        }
    }

    /// The end of all streams.
    pub(super) async fn end(&self) -> io::Result<()> {
        let mut inner = self.inner.lock().await;
        let folds = mem::take(&mut inner.folds);
        for fold in folds {
            inner.folded(fold).await?;
        }
        Ok(())
    }
}

impl Inner {
    async fn write(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        match stream {
            Stream::Stdout => self.out.piece(bytes).await,
            Stream::Stderr => {
                self.err.write_all(bytes).await?;
                self.err.flush().await
            }
        }
    }

    async fn lines(&mut self, lane: &Lane, lines: &[u8]) -> io::Result<()> {
        let mut text = Vec::with_capacity(lines.len());
        for line in lines.split_inclusive(|&byte| byte == b'\n') {
            text.extend_from_slice(lane.name.as_bytes());
            text.extend_from_slice(b": ");
            text.extend_from_slice(&self.shown(lane.stream, line.strip_suffix(b"\n").unwrap_or(line)));
            text.push(b'\n');
        }
        self.write(lane.stream, &text).await
    }

    async fn json(&mut self, lane: &Lane, piece: Option<Piece>) -> io::Result<()> {
        if piece.is_none() {
            return Ok(());
        }
        self.out.value(&Line { server: &lane.name, stream: Some(lane.stream), piece, status: None }).await
    }

    fn fold(&mut self, lane: Lane) {
        let Lane { name, stream, kept: text, cut, .. } = lane;
        if text.is_empty() {
            return;
        }
        // Of what was cut nobody knows whether it is equal.
        let equal = |fold: &&mut Fold| fold.stream == stream && fold.cut + cut == 0 && fold.text == text;
        match self.folds.iter_mut().find(equal) {
            Some(fold) => fold.names.push(name),
            None => self.folds.push(Fold { names: vec![name], stream, text, cut }),
        }
    }

    async fn folded(&mut self, mut fold: Fold) -> io::Result<()> {
        fold.names.sort_unstable();
        let mut text = format!("== {}\n", fold.names.join(" ")).into_bytes();
        for line in fold.text.split_inclusive(|&byte| byte == b'\n') {
            text.extend_from_slice(&self.shown(fold.stream, line.strip_suffix(b"\n").unwrap_or(line)));
            text.push(b'\n');
        }
        if fold.cut > 0 {
            text.extend_from_slice(format!("== and {} bytes more\n", fold.cut).as_bytes());
        }
        self.write(fold.stream, &text).await
    }

    /// A line as a terminal may have it.
    fn shown(&self, stream: Stream, line: &[u8]) -> Vec<u8> {
        let [out, err] = self.escape;
        let escape = if stream == Stream::Stdout { out } else { err };
        if escape { escaped(&String::from_utf8_lossy(line)).into_bytes() } else { line.to_vec() }
    }
}
