//! Two servers that cannot reach each other, though everybody else reaches both:
//! their clients are not to notice.

use std::time::Duration;

use circuit_core::{
    Instant, Path, ServerId,
    client::{CallId, Request},
    membership::rings::Rings,
    wire::op::Op,
};

use super::{Options, cluster::Cluster, seconds};
use crate::{
    Bar, Figure, Report, ServerIndex, Settings,
    faults::{Fault, Plan},
};

/// By now all servers have found each other, and it begins.
const BEGIN: u64 = 20;
/// Soon the two are cut off from each other.
const CUT: u64 = 60;
/// When every link of the one that is called is reset.
const RESETS: [u64; 3] = [165, 185, 205];
/// A third is cut off from the first, and from one that might pass on.
const CUT_THIRD: u64 = 220;
/// With fewer it would be by too large a part of those that observe it.
const MANY: usize = 20;
const END: u64 = 320;
const EVERY: Duration = Duration::from_secs(1);
/// Some time before a link is reset, and after.
const WHILE: u64 = 5;

/// The calls that were made.
#[derive(Default)]
struct Calls {
    count: u64,
    /// Those that receive something, and what that is.
    messages: Vec<(CallId, String)>,
}

/// A client of one server calls elements of another, and soon the two cannot reach
/// each other any more.
pub(super) fn blackhole(options: &Options) -> Report {
    let nodes = options.nodes.unwrap_or(100);
    let mut settings = Cluster::settings(options, nodes);
    settings.clients = 2;
    let third = if nodes < MANY { None } else { Third::among(&ids(options, &settings)) };
    let mut cluster = Cluster::with(options, settings, &plan(nodes, third));
    cluster.world.run_until(seconds(BEGIN));
    let before = cluster.world.app.oracle.count();
    let mut calls = Calls::default();
    calls.make(&mut cluster, 1);
    calls.ask_until(&mut cluster, 1, RESETS[0] - WHILE);
    // What was on the link that is cut is missed after 10 s. A connection by itself
    // would take twice as long to break.
    let slowest = Figure::seconds("the slowest answer", Some(cluster.slowest()), Bar::AtMost(15.0));
    let told = calls.wait(&mut cluster);
    let told = Figure::seconds("a message arrives whose way was reset meanwhile, after", told, Bar::AtMost(2.0));
    cluster.figures.extend([slowest, told]);
    if let Some(Third { server, .. }) = third {
        calls.make(&mut cluster, server);
        calls.ask_until(&mut cluster, server, END);
        // As long again until it is known that it cannot be dialled, nor from there,
        // nor meanwhile.
        let around =
            Figure::seconds("the slowest by the second who is asked", Some(cluster.slowest()), Bar::AtMost(30.0));
        cluster.figures.push(around);
    }
    cluster.world.run_until(seconds(END + 3 * WHILE));
    let events = cluster.world.app.oracle.count() - before;
    cluster.figures.push(Figure::none("events while they are cut off from each other", events));
    calls.judge(&mut cluster);
    cluster.world.run_until(seconds(END + 60));
    cluster.report_none_lost()
}

/// The ids that the servers will have: those of the same seed that nothing befalls.
fn ids(options: &Options, settings: &Settings) -> Vec<ServerId> {
    let mut same = Cluster::with(options, settings.clone(), &Plan::new());
    same.world.run_until(Instant::ZERO + settings.boot);
    same.ids()
}

fn plan(nodes: usize, third: Option<Third>) -> Plan {
    let cut = |at, a, b| (seconds(at), Fault::Cut { a, b, lasting: seconds(END).since(seconds(at)) });
    let reset = |at| (2..nodes).map(move |b| (seconds(at), Fault::Reset { a: 1, b }));
    let mut plan = vec![cut(CUT, 0, 1)];
    plan.extend(RESETS.into_iter().flat_map(reset));
    if let Some(Third { server, between }) = third {
        plan.extend([0, between].map(|other| cut(CUT_THIRD, other, server)));
    }
    plan
}

/// A third server, and one that the first has a link to, and the third has not.
#[derive(Clone, Copy, Debug)]
struct Third {
    server: ServerIndex,
    between: ServerIndex,
}

impl Third {
    /// The last, and of those between the one that the first will rather go by.
    fn among(ids: &[ServerId]) -> Option<Self> {
        let near = |server: ServerIndex| Rings::among(ids[server], ids.iter().copied()).set();
        let server = ids.len() - 1;
        let (first, third) = (near(0), near(server));
        let is_between = |&other: &ServerIndex| first.contains(&ids[other]) && !third.contains(&ids[other]);
        let between = (1..server).filter(is_between).min_by_key(|&other| ids[other].0 ^ ids[server].0)?;
        Some(Self { server, between })
    }
}

fn path() -> Path {
    Path::root().join("messages").unwrap_or_default()
}

impl Calls {
    fn make(&mut self, cluster: &mut Cluster, server: ServerIndex) {
        cluster.ask(server, Op::MakeChan { path: path(), cap: 0 }.into());
        self.count += 1;
    }

    fn ask_until(&mut self, cluster: &mut Cluster, server: ServerIndex, until: u64) {
        while cluster.now() < seconds(until) && !cluster.world.has_failed() {
            cluster.ask(server, Op::Peek(Path::root()).into());
            let text = self.next();
            cluster.ask(server, send(&text));
            let receive = cluster.ask(server, Op::Recv { path: path(), try_only: false }.into());
            self.messages.push((receive, text));
            self.count += 3;
            cluster.world.run_until(cluster.now() + EVERY);
        }
    }

    /// The client waits for a message, and says nothing; meanwhile the way to it is
    /// reset. How long the message takes at most that is sent then, if all come.
    fn wait(&mut self, cluster: &mut Cluster) -> Option<Duration> {
        let mut slowest = Duration::ZERO;
        for at in RESETS {
            cluster.world.run_until(seconds(at - WHILE));
            let receive = cluster.wait(0, 1, Op::Recv { path: path(), try_only: false }.into());
            cluster.world.run_until(seconds(at + WHILE));
            let (text, sent) = (self.next(), cluster.now());
            cluster.wait(1, 1, send(&text));
            self.messages.push((receive, text));
            self.count += 2;
            let came = cluster.until_answered(receive, seconds(at + 3 * WHILE))?;
            slowest = slowest.max(came.since(sent));
        }
        Some(slowest)
    }

    fn next(&self) -> String {
        format!("message {}", self.messages.len())
    }

    /// All must have been answered, and every message have been received.
    fn judge(&self, cluster: &mut Cluster) {
        let received = &cluster.world.app.received;
        let is_lost = |(call, text): &&(CallId, String)| received.get(call).is_none_or(|got| got != text.as_bytes());
        let lost = self.messages.iter().filter(is_lost).count() as u64;
        let answered = cluster.world.app.answered;
        let open = (0..2).map(|client| cluster.world.sim.open_calls(client) as u64).sum();
        cluster.figures.extend([
            Figure::none("messages that were not received as they were sent", lost),
            Figure::count("calls to a server that cannot be reached directly", self.count),
            Figure::none("of these not answered as they should be", self.count - answered),
            Figure::none("calls that are still open", open),
        ]);
    }
}

fn send(text: &str) -> Request {
    Request { input: Some(text.to_owned().into()), ..Op::Send { path: path(), try_only: false }.into() }
}
