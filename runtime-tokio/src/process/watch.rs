//! The task of one program.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsRawFd, OwnedFd},
    time::Duration,
};

use bytes::{Buf, Bytes};
use circuit_core::{
    effect::{EffectEvent, ProcessEvent},
    elements::ElementId,
    wire::op::{How, Stdio},
};
use rustix::{
    io::Errno,
    process::{Signal, WaitId, WaitIdOptions, WaitIdStatus, pidfd_send_signal, waitid},
};
use tokio::{
    io::{AsyncWriteExt, unix::AsyncFd},
    net::unix::pipe,
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::{self, Instant},
};

use super::{
    Order,
    output::Output,
    spawn::{Failed, Spawned},
};
use crate::driver::NEVER;

/// How long after the first time a group that is still there is killed again.
const KILLING: Duration = Duration::from_secs(1);
/// How often it is looked whether anybody is left of a group that is to end:
/// nobody tells.
const LOOKING: Duration = Duration::from_millis(20);

pub(super) async fn say_failed(events: &mpsc::Sender<EffectEvent>, id: ElementId, failed: Failed) {
    let event = match failed {
        Failed::Start(errno) => ProcessEvent::Failed { errno },
        Failed::Else(error) => ProcessEvent::Refused { error },
    };
    let _ = events.send(EffectEvent::Process { id, event }).await;
}

/// Watches a program until it has ended, nobody holds its pipes or wants what of its
/// output is on disk, and nobody is left of its group who might yet have to be
/// ended.
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
            say_failed(&events, id, Failed::Start(error.raw_os_error().unwrap_or(0))).await;
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
    /// Whether nobody wants to know.
    released: bool,
    /// The number of its process and of its group, until it was reaped.
    pid: u32,
    /// When its group is killed, if it is to end.
    kill_at: Option<Instant>,
    /// Whether that was done.
    killed: bool,
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
            let (out, err) = spawned.files.map_or((None, None), |[out, err]| (Some(out), Some(err)));
            let stdout = Output::new(Stdio::Out, spawned.stdout, out)?;
            io::Result::Ok((pidfd, stdin, stdout, Output::new(Stdio::Err, spawned.stderr, err)?))
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
                pid: spawned.pid,
                kill_at: None,
                killed: false,
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
        while !self.is_over() {
            tokio::select! {
                biased; // an end is heard of by a signal too, which then tells nothing
                order = self.orders.recv(), if !self.released => self.obey(order).await,
                status = exit_of(&self.pidfd), if !self.exited => self.has_exited(status).await,
                () = time::sleep_until(self.kill_at.unwrap_or_else(Instant::now)), if self.kill_at.is_some() => {
                    self.kill_group();
                    self.kill_at = Some(Instant::now() + KILLING);
                }
                () = time::sleep(LOOKING), if self.exited && self.kill_at.is_some() => {}
                () = next(children.as_mut()), if !self.exited => self.look_for_stops().await,
                event = self.stdout.next() => self.say(event).await,
                event = self.stderr.next() => self.say(event).await,
                wrote = write(self.stdin.as_mut(), self.unwritten.front()) => self.has_written(wrote).await,
            }
        }
        if self.kill_at.is_some() {
            let event = ProcessEvent::Killed { result: Ok(()) };
            let _ = self.events.send(EffectEvent::Process { id: self.id, event }).await;
        }
    }

    /// Whether nothing more comes of it.
    fn is_over(&self) -> bool {
        let silent = self.stdout.is_over() && self.stderr.is_over();
        self.exited
            && match self.kill_at {
                Some(_) => self.killed || !self.has_group(),
                None => silent && (self.released || !self.has_group()),
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
            Some(Order::Read(of, until)) => self.output(of).allow(until),
            Some(Order::Fetch(of, from, len)) => {
                if let Some(store) = self.output(of).store() {
                    store.fetch(from, len);
                }
            }
            Some(Order::Forget(of, before)) => {
                if let Some(store) = self.output(of).store() {
                    store.forget(before);
                }
            }
            Some(Order::Signal(number)) => self.send_signal(number),
            Some(Order::Kill(grace)) => {
                self.release();
                self.kill_at = Some(Instant::now() + grace.min(NEVER));
                // One that has ended may have left some of its group behind.
                self.signal_group(Signal::TERM.as_raw());
            }
            // Whoever asked for it is gone: it goes on, and nobody listens.
            Some(Order::Release) | None => self.release(),
        }
    }

    fn release(&mut self) {
        self.released = true;
        self.stdout.release();
        self.stderr.release();
    }

    const fn output(&mut self, of: Stdio) -> &mut Output {
        match of {
            Stdio::Out => &mut self.stdout,
            Stdio::Err => &mut self.stderr,
        }
    }

    fn kill_group(&mut self) {
        self.signal_group(Signal::KILL.as_raw());
        self.killed = true;
    }

    /// Whether anybody is known to be left of its group.
    fn has_group(&self) -> bool {
        self.signal_group(0)
    }

    /// Sends a signal to all of its group: whether there was anybody to have it.
    fn signal_group(&self, signal: i32) -> bool {
        match self.signal_by_pidfd(signal) {
            // Then the number will do, as long as it was not given back.
            Err(Errno::INVAL) if !self.exited => {
                let group = i32::try_from(self.pid).unwrap_or(0);
                // SAFETY: it reads no memory of ours.
                group > 1 && unsafe { libc::kill(-group, signal) } == 0
            }
            result => result.is_ok(),
        }
    }

    /// To the group that the process leads, or led; old kernels cannot do that.
    fn signal_by_pidfd(&self, signal: i32) -> Result<(), Errno> {
        const PIDFD_SIGNAL_PROCESS_GROUP: libc::c_uint = 4;
        let (pidfd, none) = (self.pidfd.as_raw_fd(), std::ptr::null::<libc::siginfo_t>());
        // SAFETY: it reads no memory of ours.
        let sent =
            unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd, signal, none, PIDFD_SIGNAL_PROCESS_GROUP) };
        if sent == 0 { Ok(()) } else { Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)) }
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
        if self.kill_at.is_some() && self.signal_by_pidfd(0) == Err(Errno::INVAL) {
            self.kill_group(); // before the number is given back
        }
        let _ = waitid(WaitId::PidFd(self.pidfd.as_fd_of()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
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
    // It is not reaped yet: until then its number is nobody else's.
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
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
