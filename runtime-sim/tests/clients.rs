//! What clients must get over, in worlds made for it.

use std::time::Duration;

use circuit_core::{
    Error, ErrorKind, Instant, Path, ServerId,
    client::{Event, Request},
    wire::op::{Op, ProcSpec, Reply},
};
use circuit_sim::{
    App, ClientIndex, Seeds, ServerIndex, Settings, Sim, World,
    faults::{Fault, Plan},
    scenarios::Telling,
};

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

/// A client that asks who is there when it begins, and whenever it is told to.
#[derive(Default)]
struct Asks {
    answers: Vec<Result<Reply, Error>>,
}

impl Asks {
    fn ask(sim: &mut Sim) {
        let call = sim.call_id();
        sim.client(0, |client, now| client.call(now, call, ServerId::DIAL_IN, Op::Members.into()));
    }

    fn ask_of(sim: &mut Sim, server: ServerIndex, request: Request) {
        let (call, host) = (sim.call_id(), sim.server_id(server));
        sim.client(0, |client, now| client.call(now, call, host, request));
    }
}

impl App for Asks {
    fn start(&mut self, sim: &mut Sim) {
        Self::ask(sim);
    }

    fn event(&mut self, _: &mut Sim, _: ClientIndex, event: Event) {
        if let Event::Answer { result, .. } = event {
            self.answers.push(result);
        }
    }
}

#[test]
fn a_client_of_a_server_that_was_alone_finds_another_when_that_one_is_gone() {
    let settings = Settings {
        servers: 3,
        clients: 1,
        delay: Duration::from_millis(1),
        jitter: Duration::ZERO,
        seeds: Seeds::First,
        discover: false,
        boot: Duration::from_secs(4),
        // The others are not there yet.
        ready: Instant::ZERO,
        drift: 0,
        telling: Telling::Nothing,
    };
    let gone = Fault::Crash { server: 0, back: Duration::from_secs(10_000), same: true };
    let mut world = World::new(settings, 1, &Plan::from([(at(20), gone)]), Asks::default());
    world.run_until(at(19));
    let seen = |answers: &[Result<Reply, Error>]| match answers.last() {
        Some(Ok(Reply::Members { members, .. })) => members.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!(seen(&world.app.answers), 1, "it was alone");
    world.run_until(at(40));
    Asks::ask(&mut world.sim);
    world.run_until(at(80));
    assert_eq!(world.app.answers.len(), 2);
    assert_eq!(seen(&world.app.answers), 2, "the others are there");
}

#[test]
fn a_process_on_a_host_that_the_dial_in_server_does_not_see_is_not_waited_for() {
    let settings = Settings {
        servers: 4,
        clients: 1,
        delay: Duration::from_millis(1),
        jitter: Duration::ZERO,
        // Two circuits: the client is in the first.
        seeds: Seeds::FirstOfHalf,
        discover: false,
        boot: Duration::from_secs(1),
        ready: at(5),
        drift: 0,
        telling: Telling::Nothing,
    };
    // From the other server and from the client, which is the last host.
    let cut = |b| (at(20), Fault::Cut { a: 1, b, lasting: Duration::from_secs(200) });
    let mut world = World::new(settings, 1, &Plan::from([cut(0), cut(4)]), Asks::default());
    world.run_until(at(10));
    let spec = ProcSpec { path: "/bin/cat".into(), ..ProcSpec::default() };
    let mut input = Vec::new();
    circuit_core::codec::encode(&spec, &mut input);
    let make = Request { op: Op::MakeProc(path()), deadline: None, input: Some(input.into()) };
    Asks::ask_of(&mut world.sim, 1, make);
    Asks::ask_of(&mut world.sim, 3, Op::Wait(path()).into());
    world.run_until(at(15));
    let kinds = |answers: &[Result<Reply, Error>]| -> Vec<Option<ErrorKind>> {
        answers.iter().map(|answer| answer.as_ref().err().map(|error| error.kind)).collect()
    };
    // Who is there, that it was made, and that nobody knows the other host.
    let mut first = kinds(&world.app.answers);
    first.sort_by_key(Option::is_some);
    assert_eq!(first, [None, None, Some(ErrorKind::NotFound)]);
    Asks::ask_of(&mut world.sim, 1, Op::Wait(path()).into());
    world.run_until(at(20));
    assert_eq!(world.app.answers.len(), 3, "it runs");
    world.run_until(at(80));
    assert_eq!(kinds(&world.app.answers).last(), Some(&Some(ErrorKind::Unreachable)));
}

fn path() -> Path {
    "job".parse().expect("a path")
}
