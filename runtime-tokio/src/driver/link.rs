//! The task of one connection: bytes to frames and back, nothing else.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    io,
    task::{Context, Poll},
    time::Duration,
};

use circuit_core::{
    session::{Closed, Event, Peer},
    wire::Frame,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    time,
};

use super::Clock;
use crate::Wire;

/// Frames that are handed over together.
const BATCH: usize = 64;
/// Written bytes that are worth a message of their own.
const WORTH_SAYING: usize = 32 * 1024;
/// How long the last frames of a link may take.
const LINGER: Duration = Duration::from_secs(2);

/// What a link is told: to send these. That nobody can tell it anything any more
/// means that it is to end after what it was told.
pub(super) type Order = Vec<Frame>;

/// What a link says.
pub(super) enum FromLink {
    /// The handshake is done.
    Up(Peer),
    /// Frames came, and frames of this cost were written.
    Frames(Vec<Frame>, usize),
    /// It is over.
    Down(String),
}

/// Runs a link until it is over, and says why that is.
pub(super) async fn run<S, F, E>(
    wire: impl Future<Output = io::Result<Wire<S>>>,
    mut orders: mpsc::UnboundedReceiver<Order>,
    clock: Clock,
    say: impl Fn(FromLink) -> F,
) -> String
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = Result<(), E>>,
{
    let wire = tokio::select! {
        wire = wire => wire,
        () = closed(&mut orders) => return "given up while it was being made".to_owned(),
    };
    let mut link = match wire {
        Ok(wire) => Link { wire, orders, unwritten: VecDeque::new(), pushed: 0, written: 0, over: None },
        Err(error) => return error.to_string(),
    };
    while link.over.is_none() {
        let timeout = link.wire.poll_timeout().map(|at| clock.at(at));
        let turn = tokio::select! {
            turn = poll_fn(|cx| link.poll_turn(cx)) => turn,
            () = sleep_until(timeout) => {
                link.wire.handle_timeout(clock.now());
                continue;
            }
        };
        if let Some(peer) = turn.peer
            && say(FromLink::Up(peer)).await.is_err()
        {
            break;
        }
        let frames = FromLink::Frames(turn.frames, std::mem::take(&mut link.written));
        if say(frames).await.is_err() {
            break;
        }
    }
    let _ = time::timeout(LINGER, link.wire.finish()).await;
    link.over.unwrap_or_else(|| "the server has ended".to_owned())
}

async fn sleep_until(at: Option<time::Instant>) {
    match at {
        Some(at) => time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Waits until nobody can give orders any more, without taking any.
async fn closed(orders: &mut mpsc::UnboundedReceiver<Order>) {
    // Nothing is ordered of a link that is not up, but that it end.
    while orders.recv().await.is_some() {}
}

struct Link<S> {
    wire: Wire<S>,
    orders: mpsc::UnboundedReceiver<Order>,
    /// The costs of frames that were queued, and where each ends among the
    /// bytes that were.
    unwritten: VecDeque<(usize, usize)>,
    pushed: usize,
    /// The cost of frames that were written and not said to be.
    written: usize,
    over: Option<String>,
}

/// What came of one turn.
#[derive(Default)]
struct Turn {
    peer: Option<Peer>,
    frames: Vec<Frame>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    /// Takes orders, writes and reads, until there is something to say.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        let mut turn = Turn::default();
        self.take_orders(cx);
        while turn.frames.len() < BATCH
            && let Poll::Ready(event) = self.wire.poll_event(cx)
        {
            match event {
                Event::Established(peer) => turn.peer = Some(peer),
                Event::Frame(frame) => turn.frames.push(frame),
                Event::Closed(closed) => {
                    self.over.get_or_insert_with(|| reason(&closed));
                }
            }
        }
        // Last, as reading may have made the handshake say something.
        if let Poll::Ready(Err(error)) = self.wire.poll_flush(cx) {
            self.over.get_or_insert_with(|| error.to_string());
        }
        self.count_written();
        let full = turn.frames.len() == BATCH;
        let news = turn.peer.is_some() || !turn.frames.is_empty() || self.written >= WORTH_SAYING;
        if news || self.over.is_some() {
            if full {
                cx.waker().wake_by_ref();
            }
            return Poll::Ready(turn);
        }
        Poll::Pending
    }

    fn take_orders(&mut self, cx: &mut Context<'_>) {
        loop {
            match self.orders.poll_recv(cx) {
                Poll::Ready(Some(frames)) => {
                    let (before, cost) = (self.wire.unsent(), frames.iter().map(Frame::cost).sum());
                    for frame in &frames {
                        self.wire.send(frame);
                    }
                    self.pushed += self.wire.unsent() - before;
                    self.unwritten.push_back((cost, self.pushed));
                }
                Poll::Ready(None) => {
                    self.over.get_or_insert_with(|| "closed".to_owned());
                    return;
                }
                Poll::Pending => return,
            }
        }
    }

    fn count_written(&mut self) {
        let done = self.pushed.saturating_sub(self.wire.unsent());
        while let Some(&(cost, end)) = self.unwritten.front()
            && end <= done
        {
            self.written += cost;
            self.unwritten.pop_front();
        }
    }
}

fn reason(closed: &Closed) -> String {
    match closed {
        Closed::ByPeer(reason) => format!("the other side closed it: {reason:?}"),
        Closed::Failed(failure) => failure.to_string(),
    }
}
