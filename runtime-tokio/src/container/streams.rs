//! The streams of one container.

use std::{collections::VecDeque, io};

use bollard::container::LogOutput;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;

use super::engine::{Input, Written};

/// Pieces up to this size are copied out of the buffer they came in.
const SMALL: usize = 16 * 1024;

/// What is yet to be written to its input.
pub(super) struct Stdin {
    pub(super) input: Option<Input>,
    pub(super) unwritten: VecDeque<Bytes>,
    pub(super) close: bool,
}

/// One of its outputs. What comes is taken only as far as it may be given on, so
/// that the engine waits, and then the container.
pub(super) struct Output {
    pub(super) stream: Option<Written>,
    /// What has come and was not given on.
    pub(super) held: Bytes,
    pub(super) open: bool,
    pub(super) offset: u64,
    pub(super) until: u64,
}

impl Output {
    pub(super) fn new(stream: Written) -> Self {
        Self { stream: Some(stream), held: Bytes::new(), open: true, offset: 0, until: 0 }
    }

    /// The next piece, if it may be read; nothing means that no more comes on
    /// this stream.
    pub(super) async fn read(&mut self) -> Option<Bytes> {
        let room = self.until.saturating_sub(self.offset);
        if room == 0 {
            return std::future::pending().await;
        }
        while self.held.is_empty() {
            let Some(stream) = &mut self.stream else {
                return std::future::pending().await;
            };
            match stream.next().await {
                Some(Ok(LogOutput::StdOut { message } | LogOutput::StdErr { message })) => self.held = message,
                // Only what was cut off is of another kind.
                Some(Ok(_)) => {}
                Some(Err(_)) | None => {
                    self.stream = None;
                    return None;
                }
            }
        }
        let count = self.held.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        let piece = self.held.split_to(count);
        self.offset += count as u64;
        Some(if count <= SMALL { Bytes::copy_from_slice(&piece) } else { piece })
    }

    /// Whether its stream is lost and all that came on it was given on.
    pub(super) fn is_cut(&self) -> bool {
        self.open && self.stream.is_none() && self.held.is_empty()
    }
}

impl Stdin {
    pub(super) async fn write(&mut self) -> io::Result<usize> {
        match (&mut self.input, self.unwritten.front()) {
            (Some(input), Some(bytes)) => match input.write(bytes).await {
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                other => other,
            },
            _ => std::future::pending().await,
        }
    }
}
