//! What comes out of a program: read as far as it may be, and put on disk or
//! handed on.

use std::{fs::File, io, os::fd::OwnedFd};

use bytes::{Bytes, BytesMut};
use circuit_core::{effect::ProcessEvent, wire::op::Stdio};
use tokio::{io::AsyncReadExt, net::unix::pipe};

use super::store::Store;

/// The most that is read at once.
const READ: usize = 64 * 1024;

/// One output of a program.
pub(super) struct Output {
    of: Stdio,
    pipe: Option<pipe::Receiver>,
    offset: u64,
    until: u64,
    buffer: BytesMut,
    store: Option<Store>,
}

impl Output {
    /// An output of which nothing may be read yet; on disk, if there is a file.
    pub(super) fn new(of: Stdio, pipe: OwnedFd, file: Option<File>) -> io::Result<Self> {
        let pipe = pipe::Receiver::from_owned_fd_unchecked(pipe)?;
        let store = file.map(|file| Store::new(of, file));
        Ok(Self { of, pipe: Some(pipe), offset: 0, until: 0, buffer: BytesMut::new(), store })
    }

    /// It may be read up to there.
    pub(super) const fn allow(&mut self, until: u64) {
        self.until = until;
    }

    /// Nobody reads it any more.
    pub(super) fn release(&mut self) {
        self.until = u64::MAX;
        self.store = None;
    }

    /// What is on disk, if it is there.
    pub(super) const fn store(&mut self) -> Option<&mut Store> {
        self.store.as_mut()
    }

    /// Whether nothing more comes of it.
    pub(super) const fn is_over(&self) -> bool {
        self.pipe.is_none() && self.store.is_none()
    }

    /// What comes of it next. Nothing is lost when this is not waited for.
    pub(super) async fn next(&mut self) -> ProcessEvent {
        loop {
            let free = self.store.as_ref().is_none_or(Store::is_free);
            let room = self.until.saturating_sub(self.offset);
            tokio::select! {
                biased;
                event = next(self.store.as_mut()) => return event,
                read = read(self.pipe.as_mut(), room, &mut self.buffer), if free => {
                    let Some(bytes) = read else {
                        self.pipe = None;
                        return ProcessEvent::OutputEnd { of: self.of };
                    };
                    self.offset += bytes.len() as u64;
                    match &mut self.store {
                        Some(store) => store.write(bytes),
                        None => return ProcessEvent::Output { of: self.of, bytes },
                    }
                }
            }
        }
    }
}

async fn next(store: Option<&mut Store>) -> ProcessEvent {
    match store {
        Some(store) => store.next().await,
        None => std::future::pending().await,
    }
}

/// Reads once, if it may; nothing means that the output has ended.
async fn read(pipe: Option<&mut pipe::Receiver>, room: u64, buffer: &mut BytesMut) -> Option<Bytes> {
    let Some(pipe) = pipe.filter(|_| room > 0) else {
        return std::future::pending().await;
    };
    let most = usize::try_from(room).unwrap_or(READ).min(READ);
    buffer.reserve(READ);
    match pipe.take(most as u64).read_buf(buffer).await {
        Ok(count) if count > 0 => {
            let bytes = buffer.split();
            // What is kept keeps its whole buffer.
            Some(if count < READ / 2 { Bytes::copy_from_slice(&bytes) } else { bytes.freeze() })
        }
        _ => None,
    }
}
