//! The task of a client: it carries frames, calls and time between callers, the
//! connection and a [`Client`], and decides nothing.

use std::{
    collections::BTreeMap,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    sync::Arc,
    task::Poll,
    thread,
    time::Duration,
};

use bytes::Bytes;
use circuit_core::{
    Error, ErrorKind, Instant, Rng, ServerId, Target,
    client::{CallId, Client, Event, Output, Request},
    discovery::{Group, WINDOW},
    session::{self, Closed, Credentials, Event as SessionEvent, Failure, Peer, Role, Session},
    wire::Frame,
};
use tokio::{
    sync::{
        mpsc::{self, error::TryRecvError},
        oneshot, watch,
    },
    time,
};

use super::call::{Data, Desk, closed};
use crate::{Clock, Net, Wire, driver::NEVER};

/// Commands and frames that are handled before what they led to is sent.
const AT_ONCE: usize = 256;
/// How often those who are about to say something are let run at the end.
const TURNS: usize = 1_000;
/// How long the last frames of a client may take.
const LINGER: Duration = Duration::from_secs(2);
/// Between attempts to connect to a server that hangs up.
const HUNG_UP: [Duration; 3] = [Duration::from_millis(250), Duration::from_millis(500), Duration::from_secs(1)];

/// What callers want.
pub(super) enum Command {
    Call { id: CallId, host: ServerId, request: Request, desk: Arc<Desk> },
    Write { id: CallId, bytes: Bytes },
    End { id: CallId },
    Consumed { id: CallId, count: usize, end: bool },
    Abandon { id: CallId },
    AskAgain { id: CallId, desk: Arc<Desk> },
    Close(oneshot::Sender<()>),
}

/// What a turn begins with.
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and it goes nowhere")]
enum News<S> {
    Command(Option<Command>),
    Event(io::Result<SessionEvent>),
    Dialled(Result<(Wire<S>, Peer), Refusal>),
    Alarm,
}

type Dialling<S> = Pin<Box<dyn Future<Output = Result<(Wire<S>, Peer), Refusal>> + Send>>;

/// Why no connection came about.
#[derive(Debug)]
pub enum Refusal {
    /// The operating system's reason.
    Io(io::Error),
    /// The handshake's.
    Session(Failure),
    /// Nobody answered that could be believed.
    Unanswered {
        /// Where it was asked.
        group: Group,
        /// For how long.
        within: Duration,
    },
}

impl Refusal {
    /// The other side has ended the connection, and did not say why.
    fn is_hung_up(&self) -> bool {
        match self {
            Self::Session(failure) => *failure == Failure::Truncated,
            Self::Io(error) => matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe),
            Self::Unanswered { .. } => false,
        }
    }
}

pub(super) struct Driver<N: Net> {
    client: Client,
    net: N,
    clock: Clock,
    /// When this turn began; the clock is not asked for each of many calls.
    now: Instant,
    credentials: Credentials,
    rng: Rng,
    dials: u64,
    commands: mpsc::UnboundedReceiver<Command>,
    /// Where what comes of a call goes, until it is answered.
    desks: BTreeMap<CallId, Arc<Desk>>,
    wire: Option<Wire<N::Stream>>,
    dialling: Option<Dialling<N::Stream>>,
    /// The first connection, which was made before this began.
    ready: Option<(Wire<N::Stream>, Peer)>,
    server: watch::Sender<Option<ServerId>>,
    ending: bool,
    ended: Option<oneshot::Sender<()>>,
}

/// Connects to a server for the first time: to one that hangs up, a few times. It
/// has too many strangers at its door, perhaps; one with another key always does.
pub(super) async fn persist<N: Net>(
    net: N,
    target: Target,
    credentials: Credentials,
    rng: &Rng,
    clock: Clock,
) -> Result<(Wire<N::Stream>, Peer), Refusal> {
    let mut waits = HUNG_UP.into_iter();
    loop {
        let rng = rng.fork(&waits.len().to_string());
        let refusal = match establish(net.clone(), target, credentials.clone(), rng, clock).await {
            Err(refusal) if refusal.is_hung_up() => refusal,
            result => return result,
        };
        match waits.next() {
            Some(wait) => time::sleep(wait).await,
            None => return Err(refusal),
        }
    }
}

/// Connects to a server and shakes hands.
pub(super) async fn establish<N: Net>(
    net: N,
    target: Target,
    credentials: Credentials,
    rng: Rng,
    clock: Clock,
) -> Result<(Wire<N::Stream>, Peer), Refusal> {
    let stream = time::timeout(session::HANDSHAKE_DEADLINE, net.connect(target.addr)).await;
    let stream = stream.map_err(|_| Refusal::Io(io::ErrorKind::TimedOut.into()))?.map_err(Refusal::Io)?;
    let mut wire = Wire::new(stream, Session::dial(&credentials, Role::Client, target.expect, &rng, clock.now()));
    loop {
        let timeout = wire.poll_timeout().map_or_else(time::Instant::now, |at| clock.at(at));
        let event = tokio::select! {
            biased;
            event = wire.next() => event.map_err(Refusal::Io)?,
            () = time::sleep_until(timeout) => {
                wire.handle_timeout(clock.now());
                continue;
            }
        };
        return match event {
            SessionEvent::Established(peer) => Ok((wire, peer)),
            SessionEvent::Closed(Closed::Failed(failure)) => Err(Refusal::Session(failure)),
            SessionEvent::Closed(Closed::ByPeer(_)) | SessionEvent::Frame(_) => {
                Err(Refusal::Session(Failure::Truncated))
            }
        };
    }
}

impl<N: Net> Driver<N> {
    #[expect(clippy::too_many_arguments, reason = "the parts of one thing")]
    pub(super) fn new(
        client: Client,
        net: N,
        clock: Clock,
        credentials: Credentials,
        rng: Rng,
        commands: mpsc::UnboundedReceiver<Command>,
        ready: (Wire<N::Stream>, Peer),
        server: watch::Sender<Option<ServerId>>,
    ) -> Self {
        Self {
            client,
            net,
            clock,
            now: clock.now(),
            credentials,
            rng,
            dials: 0,
            commands,
            desks: BTreeMap::new(),
            wire: None,
            dialling: None,
            ready: Some(ready),
            server,
            ending: false,
            ended: None,
        }
    }

    /// Runs until nobody can command it any more, or it is told to end.
    pub(super) async fn run(mut self) {
        let never = time::Instant::now() + NEVER;
        let mut alarm = Box::pin(time::sleep(Duration::ZERO));
        self.client.connect(self.now);
        self.drain();
        while !self.ending {
            let due = self.client.poll_timeout().map_or(never, |(at, _)| self.clock.at(at).min(never));
            if alarm.deadline() != due {
                alarm.as_mut().reset(due);
            }
            let news = tokio::select! {
                biased;
                command = self.commands.recv() => News::Command(command),
                event = next(self.wire.as_mut()) => News::Event(event),
                dialled = dial(&mut self.dialling) => News::Dialled(dialled),
                () = &mut alarm => News::Alarm,
            };
            self.now = self.clock.now();
            match news {
                News::Command(Some(command)) => self.obey(command),
                News::Command(None) => self.ending = true,
                News::Event(event) => self.hear(event),
                News::Dialled(dialled) => self.dialled(dialled),
                News::Alarm => {}
            }
            // However busy the connection is.
            self.client.handle_timeout(self.now);
            self.drain();
            self.catch_up();
            self.flush().await;
        }
        self.dismiss();
        self.client.close();
        self.drain();
        if let Some(mut wire) = self.wire.take() {
            let _ = time::timeout(LINGER, wire.finish()).await;
        }
        if let Some(ended) = self.ended.take() {
            let _ = ended.send(());
        }
    }

    /// Answers all who wait, as nobody else will.
    fn dismiss(&mut self) {
        // Whoever comes from here on is told by `Circuit::command`.
        self.commands.close();
        let mut turns = 0;
        while turns < TURNS {
            match self.commands.try_recv() {
                Ok(Command::Call { desk, .. } | Command::AskAgain { desk, .. }) => desk.put_answer(Err(closed())),
                Ok(_) => {}
                // A thread is about to put something there, and is not to wait for
                // ever; nor is this one, on which it may have to run.
                Err(TryRecvError::Empty) => {
                    turns += 1;
                    thread::yield_now();
                }
                Err(TryRecvError::Disconnected) => break,
            }
        }
        for desk in std::mem::take(&mut self.desks).into_values() {
            desk.put_answer(Err(closed()));
        }
    }

    /// Handles what else has come, so that it leaves together.
    fn catch_up(&mut self) {
        for _ in 0..AT_ONCE {
            let command = self.commands.try_recv();
            let event = self.wire.as_mut().and_then(Wire::ready);
            if command.is_err() && event.is_none() {
                return;
            }
            if let Ok(command) = command {
                self.obey(command);
                self.drain();
            }
            if let Some(event) = event {
                self.hear(Ok(event));
                self.drain();
            }
        }
    }

    /// Writes what the socket takes now.
    async fn flush(&mut self) {
        let Some(wire) = &mut self.wire else {
            return;
        };
        let result = poll_fn(|cx| match wire.poll_flush(cx) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => Poll::Ready(Ok(())),
        });
        if let Err(error) = result.await {
            self.lost(&error.to_string());
            self.drain();
        }
    }

    fn obey(&mut self, command: Command) {
        let now = self.now;
        match command {
            Command::Call { id, host, request, desk } => {
                self.desks.insert(id, desk);
                self.client.call(now, id, host, request);
            }
            Command::Write { id, bytes } => self.client.write(now, id, bytes),
            Command::End { id } => self.client.end(now, id),
            Command::Consumed { id, count, end } => self.client.consumed(now, id, count, end),
            Command::Abandon { id } => {
                self.client.abandon(now, id);
                self.desks.remove(&id);
            }
            Command::AskAgain { id, desk } => {
                if self.client.ask_again(now, id) {
                    self.desks.insert(id, desk);
                } else {
                    let detail = "nobody will ever know: the host has forgotten this client";
                    desk.put_answer(Err(Error::new(ErrorKind::Unknown, detail)));
                }
            }
            Command::Close(ended) => {
                self.ending = true;
                self.ended = Some(ended);
            }
        }
    }

    fn hear(&mut self, event: io::Result<SessionEvent>) {
        match event {
            Ok(SessionEvent::Frame(frame)) => self.client.handle_frame(self.now, frame),
            Ok(SessionEvent::Established(_)) => {}
            Ok(SessionEvent::Closed(closed)) => self.lost(&format!("{closed:?}")),
            Err(error) => self.lost(&error.to_string()),
        }
    }

    fn lost(&mut self, why: &str) {
        tracing::debug!("the connection is lost: {why}");
        self.wire = None;
        self.server.send_replace(None);
        self.client.handle_down(self.now);
    }

    fn dialled(&mut self, dialled: Result<(Wire<N::Stream>, Peer), Refusal>) {
        self.dialling = None;
        match dialled {
            Ok((wire, peer)) => {
                self.wire = Some(wire);
                self.server.send_replace(Some(peer.id));
                self.client.handle_up(self.now, peer);
            }
            Err(refusal) => {
                tracing::debug!("no connection: {refusal}");
                self.client.handle_down(self.now);
            }
        }
    }

    /// Does what the client wants.
    fn drain(&mut self) {
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Send(frame) => self.send(&frame),
                Output::Close(reason) => {
                    self.send(&Frame::Close(reason));
                    if !self.ending {
                        self.wire = None; // it is silent, or broke the protocol
                        self.dialling = None;
                    }
                }
                Output::Dial(target) => self.dial(target),
                Output::Event(event) => self.tell(event),
            }
        }
    }

    fn send(&mut self, frame: &Frame) {
        if let Some(wire) = &mut self.wire {
            wire.send(frame);
        }
    }

    fn dial(&mut self, target: Target) {
        if let Some(ready) = self.ready.take() {
            return self.dialled(Ok(ready));
        }
        self.dials += 1;
        let rng = self.rng.fork(&self.dials.to_string());
        let (net, credentials) = (self.net.clone(), self.credentials.clone());
        self.dialling = Some(Box::pin(establish(net, target, credentials, rng, self.clock)));
    }

    /// Tells a caller what came of its call.
    fn tell(&mut self, event: Event) {
        match event {
            Event::Data { call, bytes, end, again } => {
                if let Some(desk) = self.desks.get(&call) {
                    desk.put_data(Data { bytes, end, again });
                }
            }
            Event::Room { call, acked } => {
                if let Some(desk) = self.desks.get(&call) {
                    desk.put_acked(acked);
                }
            }
            Event::Answer { call, result } => {
                if let Some(desk) = self.desks.remove(&call) {
                    desk.put_answer(result);
                }
            }
            Event::Connected(_) | Event::Reconnecting => {}
        }
    }
}

/// Callers may live on without this task: its runtime was shut down, or it panicked.
impl<N: Net> Drop for Driver<N> {
    fn drop(&mut self) {
        self.dismiss();
    }
}

async fn next<S>(wire: Option<&mut Wire<S>>) -> io::Result<SessionEvent>
where
    Wire<S>: Sized,
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    match wire {
        Some(wire) => wire.next().await,
        None => std::future::pending().await,
    }
}

async fn dial<S>(dialling: &mut Option<Dialling<S>>) -> Result<(Wire<S>, Peer), Refusal> {
    match dialling {
        Some(dialling) => dialling.await,
        None => std::future::pending().await,
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Session(failure) => failure.fmt(f),
            Self::Unanswered { group, within } => write!(
                f,
                "nobody answered at {group} within {within:?}: is a server started with '-discover {group}' and the \
                 same key, where multicast gets to, and are the clocks within {WINDOW:?} of each other?"
            ),
        }
    }
}
