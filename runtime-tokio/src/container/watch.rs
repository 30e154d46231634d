//! The task of one container.

use std::{collections::VecDeque, io, pin::Pin, time::Duration};

use bytes::{Buf, Bytes};
use circuit_core::{
    Error, ErrorKind,
    effect::ProcessEvent,
    wire::op::{Cause, How, Stdio},
};
use tokio::{
    io::AsyncWriteExt,
    sync::{mpsc, watch},
    time,
};

use super::{
    Job, Order, Teller,
    engine::{Engine, State},
    events::{RETRY, Subscription},
    spec,
    streams::{Output, Stdin},
};

/// Signals that stop a process and let it go on: to a container they are done by
/// its engine, which then tells of it.
const STOP: i32 = 19;
const CONT: i32 = 18;
const KILL: i32 = 9;
/// How the engine tells that a process was killed.
const KILLED: i32 = 128 + KILL;
/// How often, and how far apart, an engine is asked again why.
const ASKED: usize = 5;
const APART: Duration = Duration::from_millis(100);

/// Starts a container, and watches it until nothing of it is left.
pub(super) async fn run(mut job: Job) {
    let (error, left) = match make(&mut job).await {
        Ok(mut watch) => {
            let pid = watch.pid;
            watch.say(ProcessEvent::Started { pid }).await;
            return watch.run().await;
        }
        Err(failed) => failed,
    };
    let refused = error.map_or(ProcessEvent::Killed { result: Ok(()) }, |error| ProcessEvent::Refused { error });
    job.teller.tell(refused).await;
    if let Some(container) = left {
        // An engine that does not answer now will have it when it is back.
        while job.engine.end(&container, Duration::ZERO).await.is_err() && !job.teller.events.is_closed() {
            time::sleep(RETRY).await;
        }
    }
}

/// Why there is no container, if not since nobody wants it any more, and what
/// may be left of it.
type Failed = (Option<Error>, Option<String>);

/// Makes and starts the container.
async fn make(job: &mut Job) -> Result<Watch, Failed> {
    let refused = |error| (Some(error), None);
    spec::check(&job.spec, &job.rules).map_err(refused)?;
    tokio::select! {
        biased;
        _ = job.orders.recv() => return Err((None, None)), // nothing is asked of it yet but its end
        fetched = job.engine.fetch(&job.spec.image, &job.teller) => fetched.map_err(refused)?,
    }
    let name = job.engine.name(job.teller.id.0);
    match job.engine.create(name.clone(), &job.spec).await {
        Ok(container) => start(job, &container).await.map_err(|error| (Some(error), Some(container))),
        // It may have been made all the same.
        Err(error) if error.kind == ErrorKind::Unreachable => Err((Some(error), Some(name))),
        Err(error) => Err(refused(error)),
    }
}

async fn start(job: &mut Job, container: &str) -> Result<Watch, Error> {
    let news = job.newsroom.subscribe(container);
    let (stdout, input) = job.engine.attach(container, Stdio::Out, true).await?;
    let (stderr, _) = job.engine.attach(container, Stdio::Err, false).await?;
    job.engine.start(container, &job.spec).await?;
    let lost = || Error::new(ErrorKind::Aborted, "somebody else removed the container at once");
    let state = job.engine.state(container).await?.ok_or_else(lost)?;
    let (closed, orders) = mpsc::unbounded_channel();
    drop(closed);
    let orders = std::mem::replace(&mut job.orders, orders);
    Ok(Watch {
        engine: job.engine.clone(),
        container: container.to_owned(),
        limited: job.spec.memory > 0,
        killed: false,
        pid: state.pid,
        started_at: state.started_at,
        phase: Phase::Runs,
        exit: None,
        retry: None,
        stdin: Stdin { input: Some(input), unwritten: VecDeque::new(), close: false },
        stdout: Output::new(stdout),
        stderr: Output::new(stderr),
        news,
        orders,
        teller: job.teller.clone(),
        server: job.server.clone(),
        released: false,
        ending: None,
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Runs,
    Paused,
    Ended,
}

type Later<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;

struct Watch {
    engine: Engine,
    container: String,
    /// Whether its memory is.
    limited: bool,
    /// Whether somebody has sent it the signal that kills.
    killed: bool,
    pid: u32,
    started_at: String,
    phase: Phase,
    /// How it ends, once that is known.
    exit: Option<Later<i32>>,
    /// When to look again whether the engine is back.
    retry: Option<time::Instant>,
    stdin: Stdin,
    stdout: Output,
    stderr: Output,
    news: Subscription,
    orders: mpsc::UnboundedReceiver<Order>,
    teller: Teller,
    server: watch::Receiver<()>,
    /// Whether nobody wants to know.
    released: bool,
    ending: Option<Ending>,
}

/// Its removal.
struct Ending {
    done: Later<()>,
    /// Whether somebody waits to hear of it.
    told: bool,
}

impl Watch {
    async fn say(&mut self, event: ProcessEvent) {
        if !self.released {
            self.teller.tell(event).await;
        }
    }

    async fn run(&mut self) {
        self.await_exit();
        loop {
            if self.ending.is_none() && self.released && self.phase == Phase::Ended {
                self.end(Duration::ZERO, true);
            }
            tokio::select! {
                biased;
                order = self.orders.recv(), if !self.released => self.obey(order).await,
                _ = self.server.changed(), if self.ending.is_none() => self.obey(None).await,
                ended = settled(self.ending.as_mut().map(|ending| &mut ending.done)) => {
                    if self.has_been_removed(ended).await {
                        return;
                    }
                }
                code = settled(self.exit.as_mut()) => self.has_exited(code).await,
                () = self.news.news(), if self.phase != Phase::Ended => self.look().await,
                () = due(self.retry) => self.look().await,
                read = self.stdout.read() => self.has_read(Stdio::Out, read).await,
                read = self.stderr.read() => self.has_read(Stdio::Err, read).await,
                wrote = self.stdin.write() => self.has_written(wrote).await,
            }
        }
    }

    async fn obey(&mut self, order: Option<Order>) {
        match order {
            Some(Order::Write(bytes)) => {
                self.stdin.unwritten.push_back(bytes);
                if self.stdin.input.is_none() {
                    self.close_stdin().await;
                }
            }
            Some(Order::CloseInput) => {
                self.stdin.close = true;
                if self.stdin.unwritten.is_empty() {
                    self.close_stdin().await;
                }
            }
            Some(Order::Read(Stdio::Out, until)) => self.stdout.until = until,
            Some(Order::Read(Stdio::Err, until)) => self.stderr.until = until,
            Some(Order::Signal(number)) => self.signal(number).await,
            Some(Order::Inspect) => {
                let result = self.engine.inspection(&self.container).await;
                self.say(ProcessEvent::Inspected { result }).await;
            }
            Some(Order::Kill(grace)) => {
                self.release();
                self.end(grace, false);
            }
            // It goes on, and nobody listens.
            Some(Order::Release) => self.release(),
            // The server ends.
            None => {
                self.release();
                self.end(Duration::ZERO, true);
            }
        }
    }

    fn release(&mut self) {
        self.released = true;
        self.stdout.until = u64::MAX;
        self.stderr.until = u64::MAX;
    }

    async fn signal(&mut self, number: i32) {
        let done = match number {
            STOP => self.engine.pause(&self.container, true).await,
            CONT if self.phase == Phase::Paused => self.engine.pause(&self.container, false).await,
            number => self.engine.signal(&self.container, number).await,
        };
        self.killed |= number == KILL && done.is_ok();
        if let Err(error) = done {
            // It may have ended just now; then there is nobody to tell.
            tracing::debug!("signal {number} to {}: {error}", self.container);
        }
    }

    /// Begins to remove it.
    fn end(&mut self, grace: Duration, told: bool) {
        let (engine, container) = (self.engine.clone(), self.container.clone());
        let done = Box::pin(async move { engine.end(&container, grace).await });
        self.ending = Some(Ending { done, told });
    }

    /// Whether nothing is left of it.
    async fn has_been_removed(&mut self, result: Result<(), Error>) -> bool {
        let gone = result.is_ok();
        let told = self.ending.take().is_none_or(|ending| ending.told);
        if !told {
            self.teller.tell(ProcessEvent::Killed { result }).await;
        }
        if !gone && !self.teller.events.is_closed() {
            let (engine, container) = (self.engine.clone(), self.container.clone());
            let done = Box::pin(async move {
                time::sleep(RETRY).await;
                engine.end(&container, Duration::ZERO).await
            });
            self.ending = Some(Ending { done, told: true });
            return false;
        }
        true
    }

    fn await_exit(&mut self) {
        let (engine, container) = (self.engine.clone(), self.container.clone());
        self.exit = Some(Box::pin(async move { engine.wait(&container).await }));
    }

    async fn has_exited(&mut self, code: Result<i32, Error>) {
        self.exit = None;
        if self.phase == Phase::Ended {
            return;
        }
        let Ok(code) = code else {
            return self.look().await;
        };
        // Why, only the state tells; and not if it was started again since.
        let state = self.engine.state(&self.container).await.ok().flatten();
        let same = state.filter(|state| state.started_at == self.started_at);
        let how = match same {
            Some(state) => self.how(&state).await,
            None => How::Code(code),
        };
        self.has_ended(how).await;
    }

    /// How it ended, by its state.
    async fn how(&mut self, state: &State) -> How {
        if self.limited && !self.killed && state.exit_code == KILLED {
            let known = self.ran_out(state.out_of_memory).await;
            let cause = if known { Cause::Memory } else { Cause::Killed };
            self.say(ProcessEvent::Explained { cause }).await;
        }
        How::Code(state.exit_code)
    }

    /// Whether the engine says that its memory was used up. It hears of that
    /// another way than of the end, at times a little later, and at times not at all.
    async fn ran_out(&mut self, mut known: bool) -> bool {
        for _ in 0..ASKED {
            if known || self.released {
                break;
            }
            time::sleep(APART).await;
            let state = self.engine.state(&self.container).await.ok().flatten();
            known = state.is_some_and(|state| state.out_of_memory && state.started_at == self.started_at);
        }
        known
    }

    /// Sees what has become of it, after something has happened.
    async fn look(&mut self) {
        self.retry = None;
        if self.phase == Phase::Ended {
            return;
        }
        match self.engine.state(&self.container).await {
            Ok(Some(state)) if state.running && state.started_at == self.started_at => self.goes_on(&state).await,
            Ok(Some(state)) if state.started_at == self.started_at => {
                let how = self.how(&state).await;
                self.has_ended(how).await;
            }
            Ok(_) => {
                self.say(ProcessEvent::Explained { cause: Cause::Lost }).await;
                self.has_ended(How::Code(-1)).await;
            }
            Err(_) => self.retry = Some(time::Instant::now() + RETRY),
        }
    }

    /// It runs; what was cut off is taken up again.
    async fn goes_on(&mut self, state: &State) {
        let phase = if state.paused { Phase::Paused } else { Phase::Runs };
        if phase != self.phase {
            self.phase = phase;
            self.say(if state.paused { ProcessEvent::Stopped } else { ProcessEvent::Continued }).await;
        }
        for of in [Stdio::Out, Stdio::Err] {
            if self.output(of).is_cut() {
                match self.engine.attach(&self.container, of, false).await {
                    Ok((stream, _)) => self.output(of).stream = Some(stream),
                    Err(_) => self.retry = Some(time::Instant::now() + RETRY),
                }
            }
        }
        if self.exit.is_none() {
            self.await_exit();
        }
    }

    async fn has_ended(&mut self, how: How) {
        self.phase = Phase::Ended;
        self.exit = None;
        self.say(ProcessEvent::Exited { how }).await;
        self.close_stdin().await;
        for of in [Stdio::Out, Stdio::Err] {
            self.end_output(of).await;
        }
    }

    fn output(&mut self, of: Stdio) -> &mut Output {
        match of {
            Stdio::Out => &mut self.stdout,
            Stdio::Err => &mut self.stderr,
        }
    }

    async fn has_read(&mut self, of: Stdio, read: Option<Bytes>) {
        match read {
            Some(bytes) => self.say(ProcessEvent::Output { of, bytes }).await,
            None => {
                self.end_output(of).await;
                // It has ended, or the engine has; not at once, as that may be
                // said here first.
                if self.phase != Phase::Ended && self.retry.is_none() {
                    self.retry = Some(time::Instant::now() + RETRY);
                }
            }
        }
    }

    /// An output has ended if nothing more has come of a container that has.
    async fn end_output(&mut self, of: Stdio) {
        if self.phase == Phase::Ended && self.output(of).is_cut() {
            self.output(of).open = false;
            self.say(ProcessEvent::OutputEnd { of }).await;
        }
    }

    async fn has_written(&mut self, wrote: io::Result<usize>) {
        match wrote {
            Ok(count) => {
                if let Some(first) = self.stdin.unwritten.front_mut() {
                    first.advance(count);
                    if first.is_empty() {
                        self.stdin.unwritten.pop_front();
                    }
                }
                self.say(ProcessEvent::Wrote { count: count as u64 }).await;
                if self.stdin.close && self.stdin.unwritten.is_empty() {
                    self.close_stdin().await;
                }
            }
            Err(_) => self.close_stdin().await, // the engine has closed it
        }
    }

    async fn close_stdin(&mut self) {
        self.stdin.unwritten.clear();
        if let Some(mut input) = self.stdin.input.take() {
            let _ = time::timeout(RETRY, input.shutdown()).await;
        }
        self.say(ProcessEvent::InputClosed).await;
    }
}

/// What comes of something that may be under way.
async fn settled<T>(later: Option<&mut Later<T>>) -> Result<T, Error> {
    match later {
        Some(later) => later.await,
        None => std::future::pending().await,
    }
}

async fn due(at: Option<time::Instant>) {
    match at {
        Some(at) => time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
