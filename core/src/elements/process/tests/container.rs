use alloc::{string::String, vec, vec::Vec};

use super::{super::body::GRACE, *};
use crate::wire::op::{ContainerSpec, HostNamespace};

fn rules(all: bool) -> ContainerRules {
    ContainerRules { socket: "/srv/engine.sock".into(), all }
}

/// What came of describing a container, and the effects.
fn made(spec: &ContainerSpec, all: bool) -> Rig {
    let mut rig = Rig { process: Process::container(ID, path(), key(1), rules(all)), out: Out::new() };
    let mut bytes = Vec::new();
    codec::encode(spec, &mut bytes);
    rig.process.input(key(1), bytes.into(), true, &mut rig.out);
    rig
}

fn some() -> ContainerSpec {
    ContainerSpec { image: "busy".into(), path: "/bin/cat".into(), ..ContainerSpec::default() }
}

fn running() -> Rig {
    let mut rig = made(&some(), false);
    rig.event(ProcessEvent::Started { pid: 42 });
    assert_eq!(rig.answers(), [(1, Ok(Reply::Done))]);
    rig.out.clear();
    rig
}

fn volumes(volumes: &[&str]) -> ContainerSpec {
    ContainerSpec { volume: volumes.iter().map(|&volume| volume.into()).collect(), ..some() }
}

#[test]
fn what_gives_a_container_the_host_is_forbidden_unless_all_is_allowed() {
    for spec in [
        ContainerSpec { privileged: true, ..some() },
        ContainerSpec { host_namespaces: vec![HostNamespace::Pid], ..some() },
        volumes(&["/var/run/docker.sock:/s"]),
        volumes(&["/ok:/ok", "/run:/s:ro"]),
        volumes(&["/:/host"]),
        volumes(&["/srv/../srv//engine.sock:/s"]),
    ] {
        assert_eq!(made(&spec, false).answers(), [(1, Err(ErrorKind::Forbidden))], "{spec:?}");
        assert_eq!(made(&spec, true).effects(), [Effect::Run { id: ID, spec: Box::new(spec) }]);
    }
    let spec = volumes(&["/srv/data:/data", "/inside", "named:/inside:ro", "/run/docker.socket:/x"]);
    assert_eq!(made(&spec, false).effects(), [Effect::Run { id: ID, spec: Box::new(spec) }]);
}

#[test]
fn a_description_that_makes_no_sense_is_refused() {
    for spec in [
        ContainerSpec { image: String::new(), ..some() },
        ContainerSpec { image: "a\0b".into(), ..some() },
        ContainerSpec { path: "a\0b".into(), ..some() },
        ContainerSpec { env: vec!["novalue".into()], ..some() },
        ContainerSpec { memory: u64::MAX, ..some() },
        volumes(&["relative"]),
        volumes(&[":/inside"]),
        volumes(&["/a:inside"]),
        volumes(&["/a:/b:ro:more"]),
    ] {
        assert_eq!(made(&spec, true).answers(), [(1, Err(ErrorKind::Invalid))], "{spec:?}");
    }
}

#[test]
fn its_maker_hears_what_is_done_and_what_is_ignored() {
    let mut rig = made(&ContainerSpec { lxc: vec!["x".into()], ..some() }, false);
    rig.out.clear();
    rig.event(ProcessEvent::Progress { text: "pulling".into() });
    let bytes = Bytes::from_static(b"pulling\n");
    assert_eq!(rig.out.pop_front(), Some(Output::Write { key: key(1), bytes, end: false }));
    rig.process.acked(key(1), 8, &mut rig.out);
    assert_eq!(rig.out.pop_front(), None);
    rig.event(ProcessEvent::Progress { text: "x".repeat(MAX_PROGRESS) });
    assert_eq!(rig.out.pop_front(), None);
    rig.event(ProcessEvent::Started { pid: 42 });
    assert!(matches!(rig.answers()[..], [(1, Ok(Reply::Text(_)))]));
}

#[test]
fn its_engine_is_asked_for_its_state_and_answers_go_to_who_asked() {
    let mut rig = running();
    for seq in [2, 3, 4] {
        rig.start(seq, &Op::Peek(path()));
    }
    assert_eq!(rig.effects(), vec![Effect::Inspect { id: ID }; 3]);
    rig.process.cancel(key(2), ErrorKind::Timeout, &mut rig.out);
    rig.event(ProcessEvent::Inspected { result: Ok("first".into()) });
    rig.event(ProcessEvent::Inspected { result: Ok("second".into()) });
    rig.event(ProcessEvent::Inspected { result: Err(ErrorKind::Unreachable.into()) });
    let answers = rig.answers();
    assert_eq!((&answers[0], &answers[2]), (&(2, Err(ErrorKind::Timeout)), &(4, Err(ErrorKind::Unreachable))));
    let (3, Ok(Reply::Stat(stat))) = &answers[1] else { panic!("{answers:?}") };
    let Stat::Container(stat) = &**stat else { panic!("{stat:?}") };
    assert_eq!((stat.inspection.as_str(), stat.process.spec.path.as_str()), ("second", "/bin/cat"));
}

#[test]
fn one_that_is_not_wanted_any_more_before_it_has_begun_is_killed() {
    let mut rig = made(&some(), false);
    rig.out.clear();
    rig.process.cancel(key(1), ErrorKind::Cancelled, &mut rig.out);
    assert_eq!(rig.answers(), [(1, Err(ErrorKind::Cancelled))]);
    assert_eq!(rig.out.pop_back(), Some(Output::Vacate(ID)));
    rig.process.abort(&mut rig.out);
    assert_eq!(rig.effects(), [Effect::Kill { id: ID, grace: Duration::ZERO }]);
}

#[test]
fn what_the_engine_refuses_everybody_hears() {
    let mut rig = made(&some(), false);
    rig.start(2, &Op::Wait(path()));
    rig.event(ProcessEvent::Refused { error: Error::new(ErrorKind::NotFound, "no such image") });
    assert_eq!(rig.answers(), [(2, Err(ErrorKind::NotFound)), (1, Err(ErrorKind::NotFound))]);
    assert_eq!(rig.out.pop_back(), Some(Output::Vacate(ID)));
}

#[test]
fn what_is_killed_is_answered_for_when_nothing_of_it_is_left() {
    let mut rig = running();
    rig.start(2, &Op::Wait(path()));
    rig.process.kill(key(3), &mut rig.out);
    assert_eq!(rig.answers(), [(2, Err(ErrorKind::Aborted))]);
    assert_eq!(rig.effects(), [Effect::Kill { id: ID, grace: GRACE }]);
    rig.exit(137);
    assert_eq!(rig.answers(), []);
    rig.event(ProcessEvent::Killed { result: Ok(()) });
    assert_eq!(rig.answers(), [(3, Ok(Reply::Done))]);
    assert_eq!(rig.out.pop_back(), Some(Output::Vacate(ID)));
    rig.process.abort(&mut rig.out);
    assert_eq!(rig.out.pop_back(), None, "it is gone already");
}

#[test]
fn whoever_kills_may_stop_waiting_for_it() {
    let mut rig = Rig::running(&sleeper());
    rig.process.kill(key(3), &mut rig.out);
    rig.process.cancel(key(3), ErrorKind::Timeout, &mut rig.out);
    assert_eq!(rig.answers(), [(3, Err(ErrorKind::Timeout))]);
    rig.event(ProcessEvent::Killed { result: Ok(()) });
    assert_eq!(rig.answers(), []);
}

#[test]
fn one_that_is_killed_while_it_fails_to_start_is_gone() {
    let mut rig = Rig::new();
    rig.describe(&sleeper());
    rig.process.kill(key(3), &mut rig.out);
    rig.event(ProcessEvent::Failed { errno: 2 });
    assert_eq!(rig.answers(), [(1, Err(ErrorKind::Aborted)), (3, Ok(Reply::Done))]);
}
