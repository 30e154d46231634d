//! One suite for the network part of a driver, and every network that passes it:
//! tokio's, turmoil's, async-std's, and one of plain threads, connections and
//! datagrams. Networks with a
//! mistake each show that the suite can fail.
//!
//! The near end is looked at; the far end is a scripted host. Nothing is timed:
//! what must happen is waited for until a bench loses patience.

mod async_std_net;
mod faulty;
mod script;
mod suite;
mod threads_net;

use std::{
    fs,
    future::Future,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Duration,
};

use circuit_sim::{TurmoilNet, Wires};
use circuit_tokio::{Net, TokioNet};
use tokio::sync::mpsc::unbounded_channel;

use async_std_net::AsyncStdNet;
use faulty::{Faulty, Mistake};
use script::play;
use suite::{Breathe, Case, Near};
use threads_net::ThreadsNet;

/// Any free port of loopback.
const fn loopback() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)
}

/// A case that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(120);
/// The same where it is known that it must not succeed.
const IMPATIENCE: Duration = Duration::from_secs(4);

type Outcome = Result<(), String>;
type Boxed = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// Descriptors and threads belong to the process: one network at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Sockets that this process has open.
fn sockets() -> usize {
    let all = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let names = all.filter_map(|entry| fs::read_link(entry.path()).ok());
    names.filter(|name| name.to_string_lossy().starts_with("socket:")).count()
}

/// The same, and threads.
fn sockets_and_threads() -> usize {
    sockets() + fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

/// Blocks on a future, with nothing else.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        thread::park();
    }
}

fn on_tokio(future: Boxed) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    runtime.block_on(future)
}

/// Lets the other threads go on; for ever, once the case is given up.
fn let_others(given_up: Arc<AtomicBool>) -> Breathe {
    Arc::new(move || {
        thread::yield_now();
        let (mut yielded, given_up) = (false, given_up.clone());
        Box::pin(std::future::poll_fn(move |cx| {
            if given_up.load(Ordering::Relaxed) {
                return Poll::Pending;
            }
            cx.waker().wake_by_ref();
            if std::mem::replace(&mut yielded, true) { Poll::Ready(()) } else { Poll::Pending }
        }))
    })
}

/// Runs a case on this machine's sockets, each end on a thread of its own.
fn examine<N: Net>(net: N, case: Case, run: fn(Boxed) -> Outcome, held: fn() -> usize, patience: Duration) -> Outcome {
    let (go, went) = unbounded_channel();
    let (told, far_addr) = mpsc::channel();
    let (over, ended) = mpsc::channel();
    let (also, given_up) = (over.clone(), Arc::new(AtomicBool::new(false)));
    let breathe = let_others(given_up.clone());
    thread::spawn(move || {
        let far = Box::pin(async move {
            let listener = TokioNet.listen(loopback()).await.map_err(|error| error.to_string())?;
            let addr = TokioNet::local_addr(&listener).map_err(|error| error.to_string())?;
            let _ = told.send(addr);
            play(TokioNet, listener, case.script(), went).await
        });
        let _ = over.send(on_tokio(far).map_err(|why| format!("the far end: {why}")));
    });
    let far = far_addr.recv().map_err(|_| "the far end does not listen".to_owned())?;
    thread::spawn(move || {
        let near = Near { net, far, own: loopback(), go, breathe, held };
        let _ = also.send(run(Box::pin(case.near(near))).map_err(|why| format!("the near end: {why}")));
    });
    let outcomes = (0..2).map(|_| ended.recv_timeout(patience).unwrap_or_else(|_| Err("it hangs".to_owned())));
    let outcome = outcomes.collect();
    given_up.store(true, Ordering::Relaxed);
    outcome
}

fn passes<N: Net>(net: &N, run: fn(Boxed) -> Outcome, held: fn() -> usize) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for case in suite::ALL {
        let outcome = examine(net.clone(), case, run, held, PATIENCE);
        assert_eq!(outcome, Ok(()), "{case:?}");
    }
}

#[test]
fn tokio_passes() {
    passes(&TokioNet, on_tokio, sockets);
}

#[test]
fn async_std_passes() {
    passes(&AsyncStdNet, async_std::task::block_on, sockets);
}

#[test]
fn plain_threads_pass() {
    passes(&ThreadsNet, block_on, sockets_and_threads);
}

#[test]
fn turmoil_passes() {
    let host = |last| IpAddr::from(Ipv4Addr::new(10, 0, 0, last));
    let everywhere = |port| SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
    for case in suite::ALL {
        let mut sim = turmoil::Builder::new().rng_seed(7).simulation_duration(PATIENCE).build();
        let wires = Arc::new(Wires::default());
        let (go, went) = unbounded_channel();
        let net = TurmoilNet::new(host(2), wires.clone());
        sim.client(host(2), async move {
            let listener = net.listen(everywhere(9)).await?;
            Ok(play(net, listener, case.script(), went).await?)
        });
        let (net, far, own) = (TurmoilNet::new(host(1), wires), SocketAddr::new(host(2), 9), everywhere(0));
        let breathe: Breathe = Arc::new(|| Box::pin(tokio::time::sleep(Duration::from_millis(1))));
        let held = turmoil::established_tcp_stream_count;
        sim.client(host(1), async move { Ok(case.near(Near { net, far, own, go, breathe, held }).await?) });
        let outcome = sim.run().map_err(|error| error.to_string());
        assert_eq!(outcome, Ok(()), "{case:?}");
    }
}

#[test]
fn every_mistake_is_noticed() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for mistake in faulty::ALL {
        let fails = |case: &Case| examine(Faulty(mistake), *case, on_tokio, sockets, IMPATIENCE).is_err();
        assert!(caught_by(mistake).iter().any(fails), "{mistake:?}");
    }
}

/// The cases that are for it. Others pass, or hang for long.
const fn caught_by(mistake: Mistake) -> &'static [Case] {
    match mistake {
        Mistake::Loses | Mistake::Reorders => &[Case::Dialled],
        Mistake::MissesEnd | Mistake::ClosesBoth => &[Case::HalfClosed],
        Mistake::MissesGone => &[Case::Gone],
        Mistake::Impatient => &[Case::Silent],
        Mistake::Blocks | Mistake::TakesAll => &[Case::Backpressure],
        Mistake::Leaks => &[Case::Dropped],
        Mistake::AcceptsOnce => &[Case::AcceptAgain],
        Mistake::Reaches => &[Case::Refused],
        Mistake::CutsOff | Mistake::HearsAll => &[Case::Datagrams],
    }
}
