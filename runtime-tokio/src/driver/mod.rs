//! The one loop that runs a server: it carries frames, effects and time between
//! the world and a [`Node`], and decides nothing.
//!
//! Every connection has a task of its own ([`link`]), with its session, so that
//! encryption can use another processor than the node, and so that no peer is
//! ever waited for here.

mod link;
mod seeds;

use std::{
    collections::BTreeMap,
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::Pin,
    task::Poll,
    time::Duration,
};

use circuit_core::{
    Incarnation, Instant, Rng, Target,
    discovery::Place,
    links::LinkId,
    membership,
    node::{Config, Input, Node, Output},
    session::{Credentials, Role, Session},
    wire::Frame,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::{JoinHandle, JoinSet},
    time::{self, Sleep},
};

use crate::{Host, Net, Wire};
use link::{FromLink, Order};
use seeds::Seeds;

/// Batches of frames that may wait for the node before links wait.
const INBOX: usize = 1024;
/// How long what a server runs may take to end.
const ENDING: Duration = Duration::from_secs(10);
/// What is handled between two looks at the clock.
const AT_ONCE: usize = 64;
/// When an alarm is due that is not set: tokio keeps no time further off.
pub(crate) const NEVER: Duration = Duration::from_secs(30 * 365 * 86_400);

/// Tokio's clock, as the core counts.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: time::Instant,
}

impl Clock {
    /// A clock that begins now.
    pub fn start() -> Self {
        Self { origin: time::Instant::now() }
    }

    /// What time it is.
    pub fn now(self) -> Instant {
        let passed = self.origin.elapsed().as_micros();
        Instant::from_micros(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// When that will be, as tokio counts.
    pub fn at(self, instant: Instant) -> time::Instant {
        self.origin + Duration::from_micros(instant.as_micros())
    }
}

/// What the loop hears of.
enum News<S> {
    Link(LinkId, FromLink),
    Accepted(S, SocketAddr),
}

/// What the owner of a server asks it.
pub(crate) enum Question {
    /// Here is a server that was discovered.
    Found(Place),
    /// Look at the node.
    Look(Box<dyn FnOnce(&Node) + Send>),
    /// End, and say when that is done.
    Stop(oneshot::Sender<()>),
}

/// A node with its network and its machine.
pub(crate) struct Driver<N: Net, H: Host> {
    node: Node,
    net: N,
    host: H,
    clock: Clock,
    credentials: Credentials,
    rng: Rng,
    links: BTreeMap<LinkId, mpsc::UnboundedSender<Order>>,
    seeds: Seeds,
    /// The tasks of the links.
    tasks: JoinSet<()>,
    /// The task that has the listener.
    accepting: JoinHandle<()>,
    /// Frames that leave together at the end of a turn.
    leaving: Vec<(LinkId, Order)>,
    /// Room for the next order: that of frames that came.
    room: Order,
    inbox: mpsc::Receiver<News<N::Stream>>,
    to_inbox: mpsc::Sender<News<N::Stream>>,
    questions: mpsc::Receiver<Question>,
    /// Who waits for the end.
    stopping: Vec<oneshot::Sender<()>>,
    ended: bool,
}

impl<N: Net, H: Host> Driver<N, H> {
    /// A server that listens at `listener`.
    pub(crate) fn new(
        config: Config,
        credentials: Credentials,
        rng: &Rng,
        net: N,
        host: H,
        listener: N::Listener,
        questions: mpsc::Receiver<Question>,
    ) -> Self {
        let (to_inbox, inbox) = mpsc::channel(INBOX);
        let accepting = tokio::spawn(accept::<N>(listener, to_inbox.clone()));
        let seeds = Seeds::new(&config.seeds);
        let node = Node::new(config, rng.fork("node").seed());
        let (clock, links, leaving, room) = (Clock::start(), BTreeMap::new(), Vec::new(), Vec::new());
        let rng = rng.fork("sessions");
        let (tasks, stopping) = (JoinSet::new(), Vec::new());
        Self {
            node,
            net,
            host,
            clock,
            credentials,
            rng,
            links,
            seeds,
            tasks,
            accepting,
            leaving,
            room,
            inbox,
            to_inbox,
            questions,
            stopping,
            ended: false,
        }
    }

    /// Runs until the node has left the circuit.
    pub(crate) async fn run(mut self) {
        let never = time::Instant::now() + NEVER;
        let mut alarm = Box::pin(time::sleep(Duration::ZERO));
        self.drain();
        loop {
            self.set_alarm(&mut alarm, never);
            tokio::select! {
                biased;
                Some(question) = self.questions.recv() => self.answer(question),
                Some(news) = self.inbox.recv() => self.hear(news),
                event = poll_fn(|cx| self.host.poll_event(cx)) => {
                    self.node.handle_input(self.clock.now(), Input::Effect(event));
                }
                () = &mut alarm => {}
            }
            self.drain();
            for _ in 0..AT_ONCE {
                let Ok(news) = self.inbox.try_recv() else { break };
                self.hear(news);
                self.drain();
            }
            self.heed().await;
            self.node.handle_timeout(self.clock.now());
            self.drain();
            self.leave();
            if self.ended {
                return self.end().await;
            }
        }
    }

    /// Hears of effects that are there, however busy the links are.
    async fn heed(&mut self) {
        for _ in 0..AT_ONCE {
            let event = poll_fn(|cx| match self.host.poll_event(cx) {
                Poll::Ready(event) => Poll::Ready(Some(event)),
                Poll::Pending => Poll::Ready(None),
            });
            let Some(event) = event.await else { return };
            self.node.handle_input(self.clock.now(), Input::Effect(event));
            self.drain();
        }
    }

    /// Waits until the links have said their last words.
    async fn end(mut self) {
        // Who waits for the end may want the port.
        self.accepting.abort();
        let _ = (&mut self.accepting).await;
        drop(self.links);
        loop {
            tokio::select! {
                biased;
                ended = self.tasks.join_next() => if ended.is_none() { break },
                // Nobody is to wait for a reader.
                _ = self.inbox.recv() => {}
            }
        }
        let ended = poll_fn(|cx| self.host.poll_end(cx));
        if time::timeout(ENDING, ended).await.is_err() {
            tracing::warn!("what this server runs could not be ended");
        }
        for done in self.stopping {
            let _ = done.send(());
        }
    }

    fn set_alarm(&self, alarm: &mut Pin<Box<Sleep>>, never: time::Instant) {
        let due = self.node.poll_timeout().map_or(never, |(at, _)| self.clock.at(at).min(never));
        if alarm.deadline() != due {
            alarm.as_mut().reset(due);
        }
    }

    fn answer(&mut self, question: Question) {
        match question {
            Question::Found(Place { incarnation: Incarnation { id, .. }, addr }) => {
                self.node.meet(self.clock.now(), Target { addr, expect: Some(id) });
            }
            Question::Look(look) => {
                look(&self.node);
            }
            Question::Stop(done) => {
                self.stopping.push(done);
                self.node.stop(self.clock.now());
            }
        }
    }

    fn hear(&mut self, news: News<N::Stream>) {
        let now = self.clock.now();
        match news {
            News::Link(link, FromLink::Up(peer)) => {
                self.seeds.up(link);
                self.node.handle_input(now, Input::LinkUp { link, peer });
            }
            News::Link(link, FromLink::Frames(mut frames, cost)) => {
                for frame in frames.drain(..) {
                    self.node.handle_input(now, Input::Frame { link, frame });
                    self.drain();
                }
                self.room = frames;
                if cost > 0 {
                    self.node.handle_input(now, Input::Written { link, cost });
                }
            }
            News::Link(link, FromLink::Down(why)) => {
                tracing::debug!(link = link.0, "down: {why}");
                if let Some(words) = self.seeds.down(link, &why) {
                    tracing::warn!("{words}");
                }
                self.links.remove(&link);
                while self.tasks.try_join_next().is_some() {}
                self.node.handle_input(now, Input::LinkDown { link });
            }
            News::Accepted(stream, from) => {
                if let Some(link) = self.node.handle_incoming(now, from.ip()) {
                    let session = Session::accept(&self.credentials, &self.fork(link), now);
                    self.start(link, async move { Ok(Wire::new(stream, session)) });
                } else {
                    // Strangers could fill any log with that.
                    tracing::debug!("too many connections: one from {from} was dropped");
                }
            }
        }
    }

    /// Does what the node wants.
    fn drain(&mut self) {
        self.host.watch(&self.node, None);
        while let Some(output) = self.node.poll_output() {
            self.host.watch(&self.node, Some(&output));
            match output {
                Output::Send { link, frame } => self.order(link, frame),
                Output::Close { link, reason } => {
                    self.order(link, Frame::Close(reason));
                    self.leave();
                    self.links.remove(&link); // the last order; then the task ends
                }
                Output::Dial { link, addr, expect } => {
                    let session =
                        Session::dial(&self.credentials, Role::Server, expect, &self.fork(link), self.clock.now());
                    self.seeds.dial(link, addr);
                    let net = self.net.clone();
                    self.start(link, async move { Ok(Wire::new(net.connect(addr).await?, session)) });
                }
                Output::Effect(effect) => self.host.perform(effect),
                Output::Record(record) => self.host.record(record),
                Output::Member(membership::Event { joined: true, id, epoch, .. }) => {
                    tracing::info!("{id} is here, at {epoch:?}");
                }
                Output::Member(membership::Event { id, epoch, .. }) => tracing::info!("{id} is gone, at {epoch:?}"),
                Output::Ended => self.ended = true,
            }
        }
    }

    /// Notes a frame for a link.
    fn order(&mut self, link: LinkId, frame: Frame) {
        // There are few links in a turn, and nearly always it is the last again.
        match self.leaving.iter_mut().rev().find(|(of, _)| *of == link) {
            Some((_, order)) => order.push(frame),
            None => {
                let mut order = std::mem::take(&mut self.room);
                order.push(frame);
                self.leaving.push((link, order));
            }
        }
    }

    /// Hands the links what was noted for them.
    fn leave(&mut self) {
        for (link, order) in self.leaving.drain(..) {
            if let Some(orders) = self.links.get(&link) {
                // A task that has ended says so by itself.
                let _ = orders.send(order);
            }
        }
    }

    /// Starts the task of a link.
    fn start(&mut self, link: LinkId, wire: impl Future<Output = std::io::Result<Wire<N::Stream>>> + Send + 'static) {
        let (orders, for_link) = mpsc::unbounded_channel();
        self.links.insert(link, orders);
        let (to_inbox, clock) = (self.to_inbox.clone(), self.clock);
        self.tasks.spawn(async move {
            let say = |event| to_inbox.send(News::Link(link, event));
            link::run(wire, for_link, clock, say).await;
        });
    }

    /// Randomness for the session of one link, which has it alone.
    fn fork(&self, link: LinkId) -> Rng {
        self.rng.fork(&link.0.to_string())
    }
}

/// Accepts connections for as long as somebody wants them.
async fn accept<N: Net>(mut listener: N::Listener, inbox: mpsc::Sender<News<N::Stream>>) {
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = N::accept(&mut listener) => accepted,
            () = inbox.closed() => return,
        };
        match accepted {
            Ok((stream, from)) => {
                if inbox.send(News::Accepted(stream, from)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                // Out of descriptors, or a peer that was gone before it was
                // here: the next one may do better.
                tracing::warn!("a connection could not be accepted: {error}");
                time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
