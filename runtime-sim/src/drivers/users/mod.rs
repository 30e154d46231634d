//! Programs that use a circuit by the client library, each on a host of its own,
//! and what must hold of what they are told.

mod anchors;
mod channels;
mod names;
mod processes;

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use circuit_core::{Error, ErrorKind, Rng, ServerId, Target, wire::op::Source};
use circuit_tokio::{
    Circuit, Dial, Outside,
    client::{Anchor, Happened},
};
use tokio::{
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};

use super::{
    ground::{Ground, ip_of},
    net::{TurmoilNet, lock},
    wall,
};
use crate::{
    ClientIndex, Figure, Oracle, ServerIndex,
    oracle::Truth,
    work::{Books, Job, Nameserver, Watcher, is_no_fault, outcome},
};
use anchors::Histories;

/// What users do at a time, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Wait,
    Work,
    /// Nothing is begun, and everything ends.
    Stop,
    /// What is left in channels is taken.
    Drain,
    /// Channels are filled, to see what they hold.
    Fill,
    Close,
}

/// So often users look whether there is another phase.
const LOOK: Duration = Duration::from_millis(50);
/// When nothing goes wrong any more a call must end by itself within this.
const AT_LAST: Duration = Duration::from_secs(120);
/// Calls of one user at once.
const AT_ONCE: usize = 12;

/// How many clients do what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cast {
    /// On channels, of which the last only drains.
    pub(crate) channels: usize,
    pub(crate) anchors: usize,
    pub(crate) processes: usize,
    /// With name servers.
    pub(crate) names: usize,
}

impl Cast {
    /// All of them, and one that subscribes.
    pub(crate) const fn count(self) -> usize {
        self.channels + self.anchors + self.processes + self.names + 1
    }

    /// The clients that may be killed: nobody else does what the others do.
    pub(crate) fn mortal(self) -> Vec<ClientIndex> {
        (0..self.count() - 1).filter(|&client| client != self.drainer()).collect()
    }

    const fn drainer(self) -> ClientIndex {
        self.channels - 1
    }

    const fn anchors(self) -> Range<ClientIndex> {
        self.channels..self.channels + self.anchors
    }

    const fn processes(self) -> Range<ClientIndex> {
        self.anchors().end..self.anchors().end + self.processes
    }

    const fn names(self) -> Range<ClientIndex> {
        self.processes().end..self.processes().end + self.names
    }
}

/// What all users share.
pub(crate) struct Works {
    ground: Ground,
    cast: Cast,
    phase: AtomicU8,
    books: Mutex<Books>,
    histories: Mutex<Histories>,
    jobs: Mutex<BTreeMap<u64, Job>>,
    names: Mutex<BTreeMap<ClientIndex, Nameserver>>,
    watcher: Mutex<Watcher>,
    answers: Mutex<BTreeMap<String, u64>>,
}

/// One user, in one of its lives.
struct User {
    works: Arc<Works>,
    client: ClientIndex,
    life: usize,
    circuit: Circuit,
    rng: Rng,
    tasks: Tasks,
    /// Where this user is the only consumer: who takes the next message.
    turns: BTreeMap<usize, Arc<tokio::sync::Mutex<()>>>,
    /// How many processes or name servers it has begun.
    begun: u64,
}

/// When something that a user does ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// It must end by itself.
    ByItself,
    /// It may wait for somebody else, until it is dropped.
    Dropped,
    /// The same, and nobody may drop it before all is to end.
    DroppedAtLast,
}

/// What a user does at once.
#[derive(Default)]
struct Tasks {
    set: JoinSet<()>,
    handles: Vec<(AbortHandle, Ends)>,
}

impl Works {
    pub(crate) fn new(rng: &mut Rng, ground: Ground, cast: Cast) -> Arc<Self> {
        let servers = ground.truth(|truth| truth.servers());
        let books = Mutex::new(Books::new(rng, servers, cast.channels - 1));
        let (histories, jobs, names, watcher, answers) = Default::default();
        let phase = AtomicU8::new(Phase::Wait as u8);
        Arc::new(Self { ground, cast, phase, books, histories, jobs, names, watcher, answers })
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    fn is_in(&self, phase: Phase) -> bool {
        self.phase.load(Ordering::Relaxed) >= phase as u8
    }

    async fn wait_for(&self, phase: Phase) {
        while !self.is_in(phase) {
            sleep(LOOK).await;
        }
    }

    /// A server was killed, or has left.
    pub(crate) fn crashed(&self, server: ServerIndex) {
        let (id, now) = self.ground.truth(|truth| (truth.server_id(server), truth.now()));
        lock(&self.books).crashed(server);
        lock(&self.histories).died(id, now);
        lock(&self.jobs).values_mut().filter(|job| job.host == id).for_each(|job| job.troubled = true);
        lock(&self.names).values_mut().filter(|server| server.host == id).for_each(|server| server.lost = true);
    }

    /// A client was killed.
    pub(crate) fn replaced(&self, client: ClientIndex) {
        lock(&self.books).replaced(client);
        lock(&self.jobs).retain(|_, job| job.client != client);
    }

    fn count(&self, what: String) {
        *lock(&self.answers).entry(what).or_default() += 1;
    }

    /// All that was heard agrees.
    pub(crate) fn balance(&self) {
        if let Some(fault) = lock(&self.books).balance() {
            self.ground.fail(fault);
        }
        if let Some(fault) = lock(&self.histories).check() {
            self.ground.fail(fault);
        }
        lock(&self.names).values().find_map(Nameserver::left).into_iter().for_each(|words| self.ground.fail(words));
        let told = |oracle: &mut Oracle, truth: &mut super::ground::Seen<'_>| {
            lock(&self.watcher).compare(&*truth, oracle).into_iter().for_each(|fault| truth.fail(fault));
        };
        self.ground.oracle(told);
    }

    pub(crate) fn figures(&self) -> Vec<Figure> {
        let heard = Figure::count("events that a subscriber received", lock(&self.watcher).heard());
        let answers = lock(&self.answers);
        let answers = answers.iter().map(|(what, count)| Figure::count(what.clone(), *count));
        let books = lock(&self.books).figures();
        books.into_iter().chain(lock(&self.histories).figures()).chain(answers).chain([heard]).collect()
    }
}

/// A user, from its beginning to its end.
pub(super) async fn run(works: Arc<Works>, client: ClientIndex, root: Rng) -> turmoil::Result {
    let life = works.ground.replace(client);
    let rng = root.fork(&format!("client {client} life {life}"));
    let circuit = dial(&works, client, &rng).await;
    works.ground.say(|| format!("client {client} is there, by {}", circuit.dial_in()));
    dial_another(&works, client, &rng).await;
    let mut user = User {
        works: works.clone(),
        client,
        life,
        circuit,
        rng: rng.fork("user"),
        tasks: Tasks::default(),
        turns: BTreeMap::new(),
        begun: 0,
    };
    works.wait_for(Phase::Work).await;
    let cast = works.cast;
    match client {
        _ if client == cast.drainer() => user.keep_channels().await,
        _ if client < cast.channels => user.use_channels().await,
        _ if cast.anchors().contains(&client) => user.use_anchors().await,
        _ if cast.processes().contains(&client) => user.use_processes().await,
        _ if cast.names().contains(&client) => user.keep_names().await,
        _ => user.watch().await,
    }
    works.wait_for(Phase::Close).await;
    user.circuit.close().await;
    Ok(())
}

/// The network, as the host of a client has it.
fn net_of(works: &Works, client: ClientIndex) -> TurmoilNet {
    let host = works.ground.truth(|truth| truth.servers()) + client;
    TurmoilNet::new(ip_of(host), works.ground.wires.clone())
}

/// Nobody answers for a server of another id than its own.
async fn dial_another(works: &Works, client: ClientIndex, rng: &Rng) {
    let expect = Some(ServerId(1)); // no key has it
    let targets = works.ground.targets().into_iter().map(|target| Target { expect, ..target }).collect();
    let outside = Outside { rng: rng.fork("dial another"), wall };
    if let Ok(circuit) = Circuit::dial_on(net_of(works, client), Dial::targets(targets), outside).await {
        works.ground.fail(format!("{} answered for {expect:?}", circuit.dial_in()));
    }
}

/// Dials whoever answers, until somebody does.
async fn dial(works: &Works, client: ClientIndex, rng: &Rng) -> Circuit {
    let net = net_of(works, client);
    let mut targets = works.ground.targets();
    let first = client % targets.len();
    targets.rotate_left(first);
    // Some know of one server only, and learn of the others from it.
    targets.truncate(if client.is_multiple_of(2) { targets.len() } else { 1 });
    for attempt in 0_u64.. {
        let outside = Outside { rng: rng.fork(&format!("dial {attempt}")), wall };
        let dial = Dial::targets(targets.clone()).label(format!("client {client}"));
        match Circuit::dial_on(net.clone(), dial, outside).await {
            Ok(circuit) => return circuit,
            Err(error) => works.ground.say(|| format!("client {client}: {error}")),
        }
        sleep(Duration::from_millis(200)).await;
    }
    unreachable!("attempts do not end")
}

impl User {
    fn place(&self, host: ServerId, path: &str) -> Option<Anchor> {
        let anchor = self.circuit.server(host).walk(path);
        anchor.inspect_err(|error| self.works.ground.fail(error.to_string())).ok()
    }

    /// A deadline, now and then.
    fn hurry(&mut self, anchor: Anchor, one_in: u64) -> Anchor {
        if self.rng.chance(1, one_in) { anchor.within(Duration::from_millis(self.rng.below(3_000))) } else { anchor }
    }

    /// For something new: nobody else has it, before or after.
    fn next_number(&mut self) -> u64 {
        self.begun += 1;
        (self.client as u64) << 40 | (self.life as u64) << 24 | self.begun
    }

    fn any_server(&mut self) -> (ServerIndex, ServerId) {
        self.works.ground.truth(|truth| {
            let server = self.rng.below(truth.servers() as u64) as usize;
            (server, truth.server_id(server))
        })
    }

    /// Waits for a moment; false when nothing is to be begun any more.
    async fn pause(&mut self, longest: u64) -> bool {
        sleep(Duration::from_millis(self.rng.below(longest))).await;
        self.tasks.reap(&self.works.ground);
        !self.works.is_in(Phase::Stop)
    }

    /// Everything that is under way ends; what may wait for ever is dropped.
    async fn end(&mut self) {
        self.tasks.drop_all();
        let ended = timeout(AT_LAST, async { while self.tasks.set.join_next().await.is_some() {} }).await;
        if ended.is_err() {
            let (client, open) = (self.client, self.tasks.set.len());
            self.works.ground.fail(format!("{open} calls of client {client} were never answered"));
        }
    }

    /// A server joins the circuit that it is in, by the next one.
    async fn join_again(&mut self, server: ServerIndex) -> Result<(), Error> {
        let targets = self.works.ground.targets();
        let host = self.works.ground.truth(|truth| truth.server_id(server));
        let result = self.circuit.server(host).join(targets[(server + 1) % targets.len()]).await;
        self.works.count(format!("joins again: {}", outcome(&result)));
        result
    }

    /// Subscribes to who comes and goes, and reads all that it is told. Meanwhile some
    /// server or other joins again, which changes nothing.
    async fn watch(&mut self) {
        let server = self.client % self.works.ground.truth(|truth| truth.servers());
        let host = self.works.ground.truth(|truth| {
            lock(&self.works.watcher).listen(&*truth, server);
            truth.server_id(server)
        });
        let Some(anchor) = self.place(host, "watch") else { return };
        let works = self.works.clone();
        self.tasks.spawn(Ends::DroppedAtLast, async move {
            if let Ok(subscription) = anchor.subscribe(Source::Both).await {
                while let Ok(happened) = subscription.next().await {
                    let line = match happened {
                        Happened::Joined(anchor) => format!("join {anchor}"),
                        Happened::Left(anchor) => format!("leave {anchor}"),
                        Happened::Lagged(count) => format!("lagged {count}"),
                    };
                    lock(&works.watcher).hear(line);
                }
            }
            lock(&works.watcher).lost();
        });
        while self.pause(5_000).await {
            let (server, _) = self.any_server();
            let result = self.join_again(server).await;
            if let Err(error) = result
                && error.kind != ErrorKind::Unknown
                && !is_no_fault(error.kind)
            {
                self.works.ground.fail(format!("server {server} joined again, and was told: {error}"));
            }
        }
        self.works.wait_for(Phase::Drain).await;
        for server in 0..self.works.ground.targets().len() {
            if let Err(error) = self.join_again(server).await {
                self.works
                    .ground
                    .fail(format!("server {server} joined again when all was quiet, and was told: {error}"));
            }
        }
        self.works.wait_for(Phase::Close).await;
        self.end().await;
    }
}

impl Tasks {
    fn spawn(&mut self, ends: Ends, task: impl Future<Output = ()> + Send + 'static) {
        self.handles.push((self.set.spawn(task), ends));
    }

    fn len(&self) -> usize {
        self.set.len()
    }

    fn reap(&mut self, ground: &Ground) {
        while let Some(ended) = self.set.try_join_next() {
            if ended.is_err_and(|error| error.is_panic()) {
                ground.fail("a user panicked");
            }
        }
        self.handles.retain(|(handle, _)| !handle.is_finished());
    }

    /// Drops one of those that may be dropped, perhaps.
    fn drop_one(&mut self, rng: &mut Rng) {
        let chosen = rng.below(self.handles.len().max(1) as u64) as usize;
        if let Some((handle, Ends::Dropped)) = self.handles.get(chosen) {
            handle.abort();
        }
    }

    fn drop_all(&mut self) {
        self.handles.iter().filter(|(_, ends)| *ends != Ends::ByItself).for_each(|(handle, _)| handle.abort());
    }
}
