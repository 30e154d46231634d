//! Observing, as one server does it.

use super::{
    super::rig::{Rig, dead},
    *,
};

fn opinion_of(rig: &Rig, id: u64) -> Opinion {
    let id = ServerId(id);
    rig.one.edges[&id].opinion(rig.one.peers.contains_key(&id))
}

fn beats_to(rig: &Rig, id: u64) -> usize {
    rig.said.iter().filter(|(to, message)| *to == id && matches!(message, Message::Beat(_))).count()
}

#[test]
fn quiet_edges_beat_about_once_a_second_in_all() {
    for (count, within) in [(2, 250..=300), (6, 500..=600), (11, 500..=600)] {
        let mut rig = Rig::among(count);
        let edges = rig.one.degree() as u64;
        rig.live(Duration::from_secs(600), &[]);
        let beats = (2..=count).map(|id| beats_to(&rig, id)).sum::<usize>();
        assert!(within.contains(&beats), "{beats} beats to {edges}");
        assert!(rig.events.is_empty());
    }
}

#[test]
fn a_beat_that_is_not_answered_is_repeated_and_in_time_the_server_is_down() {
    let mut rig = Rig::among(3);
    rig.live(2 * period(2), &[3]); // by now it was asked
    let since = rig.one.edges[&ServerId(3)].awaiting.expect("no answer");
    rig.live(since + SILENCE - rig.now - Duration::from_millis(1), &[3]);
    assert!(beats_to(&rig, 3) >= 5 && opinion_of(&rig, 3) == Opinion::Waiting);
    rig.live(RETRY, &[3]);
    assert_eq!(opinion_of(&rig, 3), Opinion::Down);
    rig.live(RETRY, &[3]);
    assert!(rig.closed.contains(&3), "perhaps a new connection works");
}

#[test]
fn of_many_that_are_down_each_is_tried_more_rarely() {
    assert_eq!(retry(3), RETRY);
    assert_eq!(retry(30), 3 * RETRY);
    assert_eq!(retry(60_000), RARELY * RETRY);
}

#[test]
fn when_a_connection_breaks_it_is_dialled_and_a_refusal_is_enough() {
    let mut rig = Rig::among(3);
    rig.crash(3);
    assert_eq!(rig.wanted, [3]);
    assert_eq!(opinion_of(&rig, 3), Opinion::Waiting);
    rig.live(REDIAL, &[3]);
    assert_eq!(opinion_of(&rig, 3), Opinion::Down);
}

#[test]
fn a_dial_that_began_before_is_no_sign_of_what_is_now() {
    let mut rig = Rig::among(3);
    let before = rig.now;
    rig.live(Duration::from_millis(10), &[]);
    rig.act(|one, now| one.handle_down(now, LinkId(3), ServerId(3)));
    let failed = |rig: &mut Rig, since| rig.act(|one, now| one.handle_failed(now, ServerId(3), since));
    rig.forget();
    failed(&mut rig, before);
    rig.pass(REDIAL);
    assert_eq!(opinion_of(&rig, 3), Opinion::Waiting);
    assert_eq!(rig.wanted, [3], "the next one is");
    let now = rig.now;
    failed(&mut rig, now);
    rig.pass(REDIAL);
    assert_eq!(opinion_of(&rig, 3), Opinion::Down);
}

#[test]
fn a_dial_that_broke_with_the_link_is_no_refusal() {
    let mut rig = Rig::among(3);
    rig.act(|one, now| one.probe(now, ServerId(3)));
    rig.live(2 * REDIAL, &[3]); // its answer is late
    let before = rig.now;
    rig.live(Duration::from_millis(10), &[3]);
    rig.act(|one, now| one.handle_down(now, LinkId(3), ServerId(3)));
    rig.act(|one, now| one.handle_failed(now, ServerId(3), before));
    rig.pass(REDIAL);
    assert_eq!(opinion_of(&rig, 3), Opinion::Waiting);
    // The next one is; and it has as long to connect by itself as any.
    rig.act(|one, now| one.handle_failed(now, ServerId(3), now));
    rig.pass(Duration::from_millis(1));
    assert_eq!(opinion_of(&rig, 3), Opinion::Down);
}

#[test]
fn only_an_answer_to_what_was_asked_says_that_the_way_there_works() {
    let mut rig = Rig::among(2);
    let heard = rig.one.peers[&ServerId(2)].sent;
    rig.act(|one, now| one.probe(now, ServerId(2)));
    let hash = rig.one.view().hash();
    let stale = Beat { seq: 9, echo: heard, why: Why::Reply, hash };
    rig.hear(2, &Message::Beat(stale));
    assert_eq!(opinion_of(&rig, 2), Opinion::Waiting, "it hears nothing of this end");
    rig.hear(2, &Message::Beat(Beat { echo: heard + 1, ..stale }));
    assert_eq!(opinion_of(&rig, 2), Opinion::Up);
}

#[test]
fn after_a_pause_of_its_own_a_server_blames_nobody() {
    let mut rig = Rig::among(3);
    rig.live(2 * period(2), &[3]);
    assert_eq!(opinion_of(&rig, 3), Opinion::Waiting);
    rig.now += Duration::from_secs(30); // standing still, with the answer in its socket
    rig.act(Membership::handle_timeout);
    assert_eq!(opinion_of(&rig, 3), Opinion::Waiting);
    rig.answer(3);
    assert_eq!(opinion_of(&rig, 3), Opinion::Up);
}

#[test]
fn who_beats_though_it_is_held_for_gone_hears_so() {
    let mut rig = Rig::among(3);
    rig.news(2, dead(3), true);
    rig.pass(Duration::from_millis(20));
    rig.forget();
    rig.hear(3, &Message::Beat(Beat { seq: 9, echo: 0, why: Why::Neighbour, hash: 0 }));
    let told = rig.said.iter().find(|(to, message)| *to == 3 && matches!(message, Message::News(_)));
    assert!(told.is_some(), "{:?}", rig.said);
    assert_eq!(rig.news_of(3)[0].record, dead(3));
}

/// One of eleven that has just heard all its neighbours.
fn content() -> Rig {
    let mut rig = Rig::among(11);
    for id in rig.one.edges.keys().copied().collect::<Vec<_>>() {
        rig.act(|one, now| one.probe(now, id));
    }
    rig.answer_all(&[]);
    rig.forget();
    rig
}

/// Who was asked for a sign since it was last forgotten.
fn asked(rig: &Rig) -> BTreeSet<u64> {
    let asks =
        |(_, message): &&(u64, Message)| matches!(message, Message::Beat(Beat { why: Why::Neighbour | Why::Look, .. }));
    rig.said.iter().filter(asks).map(|(to, _)| *to).collect()
}

#[test]
fn who_hears_nobody_asks_the_one_that_is_due_next() {
    let mut rig = content();
    rig.pass(QUIET - Duration::from_millis(1));
    assert_eq!(asked(&rig).len(), 0);
    rig.pass(Duration::from_millis(1));
    assert_eq!(asked(&rig).len(), 1);
    rig.answer_all(&[]);
    rig.live(QUIET, &[]);
    assert_eq!(asked(&rig).len(), 2, "and then the next");
}

#[test]
fn when_one_gives_no_sign_all_are_asked_at_once() {
    let mut rig = content();
    let all: BTreeSet<u64> = rig.one.edges.keys().map(|id| id.0).collect();
    rig.pass(QUIET + RETRY - Duration::from_millis(1));
    assert_eq!(asked(&rig).len(), 1);
    rig.pass(Duration::from_millis(1));
    assert_eq!(asked(&rig), all);
    let silent = *all.first().unwrap();
    rig.answer_all(&[silent]);
    rig.forget();
    rig.live(RETRY, &[silent]);
    assert_eq!(asked(&rig), BTreeSet::from([silent]), "but not at once again");
}

#[test]
fn who_is_cut_off_from_all_finds_them_gone_soon() {
    let mut rig = Rig::among(40);
    rig.pass(Duration::from_secs(15));
    assert_eq!(rig.one.view().len(), 1);
}
