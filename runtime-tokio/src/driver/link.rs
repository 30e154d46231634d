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
pub(super) const BATCH: usize = 64;
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

/// Runs a link to its end: the last that it says is that it is down.
pub(super) async fn run<S, F, E>(
    wire: impl Future<Output = io::Result<Wire<S>>>,
    mut orders: mpsc::UnboundedReceiver<Order>,
    clock: Clock,
    say: impl Fn(FromLink) -> F,
) where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = Result<(), E>>,
{
    let wire = tokio::select! {
        biased;
        wire = wire => wire.map_err(|error| error.to_string()),
        () = closed(&mut orders) => Err("given up while it was being made".to_owned()),
    };
    let mut link = match wire {
        Ok(wire) => Link::new(wire, orders),
        Err(why) => {
            let _ = say(FromLink::Down(why)).await;
            return;
        }
    };
    let mut is_up = false;
    while link.over.is_none() {
        let timeout = link.wire.poll_timeout().map(|at| clock.at(at));
        let turn = tokio::select! {
            biased;
            turn = poll_fn(|cx| link.poll_turn(cx)) => turn,
            () = sleep_until(timeout) => {
                link.wire.handle_timeout(clock.now());
                continue;
            }
        };
        if let Some(peer) = turn.peer {
            is_up = true;
            if say(FromLink::Up(peer)).await.is_err() {
                break;
            }
        }
        let frames = FromLink::Frames(turn.frames, std::mem::take(&mut link.written));
        if say(frames).await.is_err() {
            break;
        }
    }
    let why = link.over.unwrap_or_else(|| "the server has ended".to_owned());
    let _ = say(FromLink::Down(why)).await;
    // Strangers are not waited for: they could keep any number of sockets open.
    if is_up {
        let _ = time::timeout(LINGER, link.wire.finish()).await;
    }
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
    /// Nothing can be written any more; what the other side said before it went
    /// is still to be read, and then how it ended.
    deaf: bool,
    over: Option<String>,
    /// Room for the frames of a turn: that of the last order.
    room: Vec<Frame>,
}

/// What came of one turn.
struct Turn {
    peer: Option<Peer>,
    frames: Vec<Frame>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    fn new(wire: Wire<S>, orders: mpsc::UnboundedReceiver<Order>) -> Self {
        let (unwritten, pushed, written, deaf, over, room) = Default::default();
        Self { wire, orders, unwritten, pushed, written, deaf, over, room }
    }

    /// Takes orders, writes and reads, until there is something to say.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        self.take_orders(cx);
        let mut turn = Turn { peer: None, frames: std::mem::take(&mut self.room) };
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
        self.deaf = self.deaf || matches!(self.wire.poll_flush(cx), Poll::Ready(Err(_)));
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
                Poll::Ready(Some(mut frames)) => {
                    let (before, cost) = (self.wire.unsent(), frames.iter().map(Frame::cost).sum());
                    for frame in &frames {
                        self.wire.send(frame);
                    }
                    self.pushed += self.wire.unsent() - before;
                    self.unwritten.push_back((cost, self.pushed));
                    frames.clear();
                    self.room = frames;
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use circuit_core::{
        Instant, Rng,
        session::{ClusterKey, Credentials, Role, Session, StaticKey},
    };

    use super::*;

    #[tokio::test]
    async fn all_that_the_other_side_said_is_heard_though_it_hears_nothing_any_more() {
        let key = ClusterKey::generate(&mut Rng::from_number(1));
        let credentials = |seed| Credentials::new(&key, StaticKey::generate(&mut Rng::from_number(seed)));
        let (near, far) = tokio::io::duplex(64 * 1024);
        let session = Session::accept(&credentials(1), &Rng::from_number(2), Instant::ZERO);
        let dial = Session::dial(&credentials(2), Role::Client, None, &Rng::from_number(3), Instant::ZERO);
        let (orders, for_link) = mpsc::unbounded_channel();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let say = |said| {
            match said {
                FromLink::Frames(frames, _) => heard.lock().unwrap().extend(frames),
                FromLink::Up(_) | FromLink::Down(_) => {}
            }
            std::future::ready(Ok::<(), ()>(()))
        };
        let link = run(async { Ok(Wire::new(near, session)) }, for_link, Clock::start(), say);
        let pings: Vec<Frame> = (0..1_000).map(Frame::Ping).collect();
        let client = async {
            let mut wire = Wire::new(far, dial);
            assert!(matches!(wire.next().await.unwrap(), Event::Established(_)));
            for ping in &pings {
                wire.send(ping);
            }
            wire.flush().await.unwrap();
            drop(wire);
            orders.send(vec![Frame::Pong(7)]).unwrap();
        };
        tokio::join!(link, client);
        assert_eq!(*heard.lock().unwrap(), pings);
    }
}
