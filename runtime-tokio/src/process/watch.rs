//! The task of one program.

use std::{collections::VecDeque, io, os::fd::OwnedFd};

use bytes::{Buf, Bytes, BytesMut};
use circuit_core::{
    effect::{EffectEvent, ProcessEvent},
    elements::ElementId,
    wire::op::{How, Stdio},
};
use rustix::process::{Signal, WaitId, WaitIdOptions, WaitIdStatus, pidfd_send_signal, waitid};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, unix::AsyncFd},
    net::unix::pipe,
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use super::{Order, spawn::Spawned};

/// The most that is read at once.
const READ: usize = 64 * 1024;

pub(super) async fn say_failed(events: &mpsc::Sender<EffectEvent>, id: ElementId, errno: i32) {
    let _ = events.send(EffectEvent::Process { id, event: ProcessEvent::Failed { errno } }).await;
}

/// Watches a program until it has ended and nobody holds its pipes.
pub(super) async fn watch(
    id: ElementId,
    spawned: Spawned,
    orders: mpsc::UnboundedReceiver<Order>,
    events: mpsc::Sender<EffectEvent>,
) {
    let pid = spawned.pid;
    match Watch::new(id, spawned, orders, events) {
        Ok(mut watch) => {
            watch.say(ProcessEvent::Started { pid }).await;
            watch.run().await;
        }
        Err((error, events)) => {
            tracing::error!("a process cannot be watched: {error}");
            say_failed(&events, id, error.raw_os_error().unwrap_or(0)).await;
        }
    }
}

struct Watch {
    id: ElementId,
    pidfd: AsyncFd<OwnedFd>,
    exited: bool,
    stdin: Option<pipe::Sender>,
    unwritten: VecDeque<Bytes>,
    close_input: bool,
    stdout: Output,
    stderr: Output,
    orders: mpsc::UnboundedReceiver<Order>,
    events: mpsc::Sender<EffectEvent>,
    /// Whether anybody wants to know.
    released: bool,
}

struct Output {
    pipe: Option<pipe::Receiver>,
    offset: u64,
    until: u64,
    buffer: BytesMut,
}

impl Output {
    fn new(pipe: OwnedFd) -> io::Result<Self> {
        let pipe = pipe::Receiver::from_owned_fd_unchecked(pipe)?;
        Ok(Self { pipe: Some(pipe), offset: 0, until: 0, buffer: BytesMut::new() })
    }

    /// Reads once, if it may; nothing means that the output has ended.
    async fn read(&mut self) -> Option<Bytes> {
        let room = self.until.saturating_sub(self.offset);
        let Some(pipe) = self.pipe.as_mut().filter(|_| room > 0) else {
            return std::future::pending().await;
        };
        let most = usize::try_from(room).unwrap_or(READ).min(READ);
        self.buffer.reserve(READ);
        let read = pipe.take(most as u64).read_buf(&mut self.buffer).await;
        match read {
            Ok(count) if count > 0 => {
                self.offset += count as u64;
                let bytes = self.buffer.split();
                // What is kept keeps its whole buffer.
                Some(if count < READ / 2 { Bytes::copy_from_slice(&bytes) } else { bytes.freeze() })
            }
            _ => {
                self.pipe = None;
                None
            }
        }
    }
}

impl Watch {
    fn new(
        id: ElementId,
        spawned: Spawned,
        orders: mpsc::UnboundedReceiver<Order>,
        events: mpsc::Sender<EffectEvent>,
    ) -> Result<Self, (io::Error, mpsc::Sender<EffectEvent>)> {
        let parts = || {
            // SAFETY: an owned descriptor stays open, and the same, for as long
            // as it is owned.
            let pidfd = unsafe { AsyncFd::register(spawned.pidfd) }?;
            let stdin = spawned.stdin.map(pipe::Sender::from_owned_fd_unchecked).transpose()?;
            io::Result::Ok((pidfd, stdin, Output::new(spawned.stdout)?, Output::new(spawned.stderr)?))
        };
        match parts() {
            Ok((pidfd, stdin, stdout, stderr)) => Ok(Self {
                id,
                pidfd,
                exited: false,
                stdin,
                unwritten: VecDeque::new(),
                close_input: false,
                stdout,
                stderr,
                orders,
                events,
                released: false,
            }),
            Err(error) => Err((error, events)),
        }
    }

    async fn say(&self, event: ProcessEvent) {
        if !self.released {
            let _ = self.events.send(EffectEvent::Process { id: self.id, event }).await;
        }
    }

    async fn run(&mut self) {
        // Stops and continuations are told by a signal alone.
        let mut children = signal(SignalKind::child()).ok();
        while !self.exited || self.stdout.pipe.is_some() || self.stderr.pipe.is_some() {
            tokio::select! {
                biased; // an end is heard of by a signal too, which then tells nothing
                order = self.orders.recv(), if !self.released => self.obey(order).await,
                status = exit_of(&self.pidfd), if !self.exited => self.has_exited(status).await,
                () = next(children.as_mut()), if !self.exited => self.look_for_stops().await,
                read = self.stdout.read() => self.has_read(Stdio::Out, read).await,
                read = self.stderr.read() => self.has_read(Stdio::Err, read).await,
                wrote = write(self.stdin.as_mut(), self.unwritten.front()) => self.has_written(wrote).await,
            }
        }
    }

    async fn obey(&mut self, order: Option<Order>) {
        match order {
            Some(Order::Write(bytes)) => {
                self.unwritten.push_back(bytes);
                if self.stdin.is_none() {
                    self.close_stdin().await;
                }
            }
            Some(Order::CloseInput) => {
                self.close_input = true;
                if self.unwritten.is_empty() {
                    self.close_stdin().await;
                }
            }
            Some(Order::Read(Stdio::Out, until)) => self.stdout.until = until,
            Some(Order::Read(Stdio::Err, until)) => self.stderr.until = until,
            Some(Order::Signal(number)) => self.send_signal(number),
            // Whoever asked for it is gone: it goes on, and nobody listens.
            Some(Order::Release) | None => {
                self.released = true;
                self.stdout.until = u64::MAX;
                self.stderr.until = u64::MAX;
            }
        }
    }

    fn send_signal(&self, number: i32) {
        if let Some(signal) = Signal::from_named_raw(number) {
            // It may have ended just now; then there is nobody to tell.
            let _ = pidfd_send_signal(self.pidfd.get_ref(), signal);
        }
    }

    async fn has_exited(&mut self, status: Option<WaitIdStatus>) {
        let Some(status) = status else {
            return;
        };
        self.exited = true;
        let how = match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => How::Code(code),
            (None, Some(number)) => How::Signal { number, core: status.dumped() },
            (None, None) => How::Code(-1),
        };
        self.say(ProcessEvent::Exited { how }).await;
        self.close_stdin().await;
    }

    async fn look_for_stops(&self) {
        let options = WaitIdOptions::STOPPED | WaitIdOptions::CONTINUED | WaitIdOptions::NOHANG;
        while let Ok(Some(status)) = waitid(WaitId::PidFd(self.pidfd.as_fd_of()), options) {
            if status.stopped() {
                self.say(ProcessEvent::Stopped).await;
            } else if status.continued() {
                self.say(ProcessEvent::Continued).await;
            } else {
                return;
            }
        }
    }

    async fn has_read(&mut self, of: Stdio, read: Option<Bytes>) {
        match read {
            Some(bytes) => self.say(ProcessEvent::Output { of, bytes }).await,
            None => self.say(ProcessEvent::OutputEnd { of }).await,
        }
    }

    async fn has_written(&mut self, wrote: io::Result<usize>) {
        match wrote {
            Ok(count) => {
                if let Some(first) = self.unwritten.front_mut() {
                    first.advance(count);
                    if first.is_empty() {
                        self.unwritten.pop_front();
                    }
                }
                self.say(ProcessEvent::Wrote { count: count as u64 }).await;
                if self.close_input && self.unwritten.is_empty() {
                    self.close_stdin().await;
                }
            }
            Err(_) => self.close_stdin().await, // the program has closed it
        }
    }

    async fn close_stdin(&mut self) {
        self.unwritten.clear();
        self.stdin = None;
        self.say(ProcessEvent::InputClosed).await;
    }
}

/// How a program has ended, once it has.
async fn exit_of(pidfd: &AsyncFd<OwnedFd>) -> Option<WaitIdStatus> {
    let Ok(mut ready) = pidfd.readable().await else {
        return std::future::pending().await;
    };
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    match waitid(WaitId::PidFd(pidfd.as_fd_of()), options) {
        Ok(Some(status)) => Some(status),
        _ => {
            ready.clear_ready();
            None
        }
    }
}

async fn next(children: Option<&mut tokio::signal::unix::Signal>) {
    match children {
        Some(children) => {
            children.recv().await;
        }
        None => std::future::pending().await,
    }
}

async fn write(stdin: Option<&mut pipe::Sender>, first: Option<&Bytes>) -> io::Result<usize> {
    match (stdin, first) {
        (Some(stdin), Some(bytes)) => match stdin.write(bytes).await {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            other => other,
        },
        _ => std::future::pending().await,
    }
}

/// The descriptor inside.
trait AsFdOf {
    fn as_fd_of(&self) -> std::os::fd::BorrowedFd<'_>;
}

impl AsFdOf for AsyncFd<OwnedFd> {
    fn as_fd_of(&self) -> std::os::fd::BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(self.get_ref())
    }
}
