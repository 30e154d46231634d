//! Verdicts, as one observer comes to them.

use alloc::{vec, vec::Vec};
use core::time::Duration;

use super::{
    super::rig::{Rig, alive},
    *,
};

fn count(down: usize, reachable: usize) -> Count {
    Count { down, reachable, asked: 0, abstained: 0 }
}

#[test]
fn seven_in_ten_make_a_verdict_and_fewer_than_three_are_noise() {
    for (down, reachable) in [(1, 1), (2, 2), (3, 4), (4, 5), (7, 10), (8, 10)] {
        assert!(count(down, reachable).is_verdict(), "{down} of {reachable}");
    }
    for (down, reachable) in [(0, 0), (1, 2), (2, 3), (3, 5), (6, 9), (6, 10)] {
        assert!(!count(down, reachable).is_verdict(), "{down} of {reachable}");
    }
    assert!(count(3, 10).is_contested() && count(2, 3).is_contested());
    assert!(!count(2, 10).is_contested() && !count(1, 3).is_contested());
}

#[test]
fn nobody_is_gone_before_the_others_have_been_heard() {
    let mut rig = Rig::among(4);
    rig.crash(4);
    rig.live(Duration::from_millis(800), &[4]);
    let asked = |rig: &Rig, of: u64| {
        let ask = |message: &Message| {
            matches!(message, Message::Opinion { subject: ServerId(4), opinion: Opinion::Down, .. })
        };
        rig.said.iter().any(|(to, message)| *to == of && ask(message))
    };
    assert!(asked(&rig, 2) && asked(&rig, 3) && rig.sees(4));
    rig.opinion(2, 4, Opinion::Down);
    assert!(rig.sees(4), "one of two was heard");
    rig.opinion(3, 4, Opinion::Down);
    assert!(rig.only_lost(4));
    rig.pass(Duration::from_millis(20));
    assert!(rig.news_of(4).iter().all(|news| news.verdict && news.record.state == State::Dead));
    assert_eq!(rig.news_of(4).len(), 2, "the other two hear it");
}

#[test]
fn what_was_thought_of_one_start_is_no_opinion_of_the_next() {
    let mut rig = Rig::among(4);
    rig.crash(4);
    rig.live(Duration::from_millis(800), &[4]);
    assert_eq!(rig.one.opinion_of(ServerId(4)), Opinion::Down);
    // It is back before the others have said what they think.
    let anew = Record { epoch: Epoch { start: 2, rise: 0 }, ..alive(4) };
    rig.news(2, anew, false);
    rig.forget();
    assert_eq!(rig.one.opinion_of(ServerId(4)), Opinion::Waiting);
    assert_eq!(rig.wanted, [], "it was asked for with the news");
    rig.live(Duration::from_secs(2), &[4]);
    assert!(rig.sees(4) && rig.events.is_empty(), "{:?}", rig.events);
}

#[test]
fn one_that_cannot_reach_it_is_outvoted_for_ever() {
    let mut rig = Rig::among(5);
    rig.crash(5);
    for _ in 0..20 {
        rig.live(Duration::from_secs(3), &[5]);
        (2..=4).for_each(|other| rig.opinion(other, 5, Opinion::Up));
    }
    assert!(rig.events.is_empty() && rig.sees(5));
}

#[test]
fn whoever_cannot_be_asked_has_no_vote() {
    let mut rig = Rig::among(4);
    rig.crash(4);
    rig.act(|one, now| one.handle_down(now, crate::links::LinkId(3), ServerId(3)));
    rig.live(Duration::from_millis(800), &[3, 4]);
    rig.opinion(2, 4, Opinion::Down);
    assert!(rig.sees(4), "the third may still answer");
    rig.act(|one, now| one.handle_failed(now, ServerId(3), now));
    assert!(!rig.sees(4));
}

#[test]
fn who_does_not_answer_in_time_has_no_vote_either() {
    let mut rig = Rig::among(4);
    rig.crash(4);
    rig.live(Duration::from_millis(800), &[3, 4]);
    rig.opinion(2, 4, Opinion::Down);
    rig.live(ANSWER_WITHIN, &[3, 4]);
    assert!(!rig.sees(4));
}

#[test]
fn who_is_reached_on_another_link_is_told_and_asked_anew() {
    let mut rig = Rig::among(4);
    rig.crash(4);
    rig.live(Duration::from_millis(800), &[2, 3, 4]);
    rig.act(|one, now| one.handle_down(now, crate::links::LinkId(3), ServerId(3)));
    assert!(rig.wanted.ends_with(&[3]), "it has still to answer");
    let asked_on_up = |rig: &mut Rig, id| {
        rig.forget();
        rig.meet(id);
        let opinions = rig.said.iter().filter_map(|(to, message)| match message {
            Message::Opinion { subject: ServerId(4), opinion, ask, .. } if *to == id => Some((*opinion, *ask)),
            _ => None,
        });
        opinions.collect::<Vec<_>>()
    };
    assert_eq!(asked_on_up(&mut rig, 3), [(Opinion::Down, true)]);
    rig.opinion(3, 4, Opinion::Up);
    assert_eq!(asked_on_up(&mut rig, 3), [(Opinion::Down, true)], "it may think otherwise by now");
    rig.live(ANSWER_WITHIN, &[2, 4]);
    assert_eq!(asked_on_up(&mut rig, 2), [(Opinion::Down, true)], "late, and yet");
    rig.opinion(2, 4, Opinion::Up);
    assert!(rig.sees(4));
}

#[test]
fn who_is_asked_of_a_server_it_does_not_know_says_so() {
    let mut rig = Rig::among(2);
    let epoch = Epoch { start: 1, rise: 0 };
    rig.hear(2, &Message::Opinion { subject: ServerId(9), epoch, opinion: Opinion::Down, ask: true });
    let answer = Message::Opinion { subject: ServerId(9), epoch, opinion: Opinion::None, ask: false };
    assert_eq!(rig.said, [(2, answer)]);
}

#[test]
fn who_observes_it_by_now_is_asked_before_the_verdict() {
    let mut rig = Rig::among(4);
    rig.crash(4);
    rig.live(Duration::from_millis(800), &[2, 3, 4]);
    rig.meet(5);
    rig.opinion(2, 4, Opinion::Down);
    rig.forget();
    rig.opinion(3, 4, Opinion::Down);
    let asked = rig
        .said
        .iter()
        .any(|(to, message)| *to == 5 && matches!(message, Message::Opinion { subject: ServerId(4), ask: true, .. }));
    assert!(asked && rig.sees(4), "the fifth observes it too");
    rig.opinion(5, 4, Opinion::Up);
    assert!(!rig.sees(4), "three of four are enough");
}

#[test]
fn when_opinions_differ_for_long_who_still_hears_it_gives_in() {
    let mut rig = Rig::among(4);
    rig.down = vec![(2, 4), (3, 4)];
    rig.opinion(2, 4, Opinion::Down);
    rig.opinion(3, 4, Opinion::Down);
    rig.live(REINFORCE_AFTER - Duration::from_secs(1), &[]);
    assert!(rig.sees(4), "this server hears it well");
    rig.live(Duration::from_secs(2), &[]);
    assert!(rig.only_lost(4));
}

#[test]
fn nobody_gives_in_to_what_others_thought_long_ago() {
    let mut rig = Rig::among(4);
    rig.opinion(2, 4, Opinion::Down);
    rig.opinion(3, 4, Opinion::Down);
    rig.answered(); // what they think by now was said, and lost
    rig.live(3 * REINFORCE_AFTER, &[]);
    assert!(rig.events.is_empty() && rig.sees(4));
}

#[test]
fn who_observes_no_more_says_that_it_has_no_opinion() {
    let mut rig = Rig::among(4);
    rig.crash(4);
    rig.live(Duration::from_millis(800), &[2, 3, 4]);
    rig.forget();
    rig.one.edges.remove(&ServerId(4));
    rig.act(|one, _| one.end_inquiries());
    let none = |(_, message): &(u64, Message)| matches!(message, Message::Opinion { opinion: Opinion::None, .. });
    assert_eq!(rig.said.iter().filter(|said| none(said)).map(|(to, _)| *to).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn an_opinion_of_another_epoch_counts_for_nothing() {
    let mut rig = Rig::among(3);
    rig.crash(3);
    rig.live(Duration::from_millis(800), &[3]);
    let (subject, epoch) = (ServerId(3), Epoch { start: 1, rise: 1 });
    rig.hear(2, &Message::Opinion { subject, epoch, opinion: Opinion::Down, ask: false });
    assert!(rig.sees(3), "it knows of a later one");
    rig.opinion(2, 3, Opinion::Down);
    assert!(!rig.sees(3));
    rig.forget();
    rig.opinion(2, 3, Opinion::Down);
    assert_eq!(rig.news_of(3).len(), 1, "it does not know yet, and is told");
}

#[test]
fn after_a_pause_of_its_own_what_others_thought_before_counts_for_nothing() {
    let mut rig = Rig::among(4);
    rig.crash(4);
    rig.pass(Duration::from_millis(800));
    rig.opinion(2, 4, Opinion::Down);
    assert!(rig.sees(4), "the third has not answered");
    rig.forget();
    rig.stand_still(Duration::from_secs(60));
    assert!(rig.sees(4) && rig.events.is_empty());
    let asked =
        |id| rig.said.iter().any(|(to, message)| *to == id && matches!(message, Message::Opinion { ask: true, .. }));
    assert!(asked(2) && asked(3), "they are asked anew");
}

#[test]
fn who_finds_a_server_gone_alone_of_many_accuses_it_only() {
    let mut rig = Rig::among(4);
    rig.crash(4);
    rig.pass(2 * ANSWER_WITHIN);
    assert!(rig.events.iter().any(|event| !event.joined && event.id == ServerId(4)));
    let news = rig.news_of(4);
    assert!(!news.is_empty() && news.iter().all(|news| !news.verdict), "{news:?}");
}

#[test]
fn while_others_have_no_opinion_views_may_differ_and_are_given_time() {
    let mut rig = Rig::among(4);
    rig.crash(4);
    rig.live(Duration::from_millis(800), &[2, 3]);
    let none_again = |rig: &mut Rig| {
        rig.opinion(2, 4, Opinion::None);
        rig.opinion(3, 4, Opinion::None);
    };
    none_again(&mut rig);
    none_again(&mut rig);
    assert!(rig.sees(4));
    rig.live(AGAIN_SOON - Duration::from_secs(1), &[2, 3]);
    none_again(&mut rig);
    assert!(rig.sees(4));
    rig.live(Duration::from_secs(2), &[2, 3]);
    none_again(&mut rig);
    none_again(&mut rig);
    assert!(!rig.sees(4));
}

#[test]
fn of_whom_most_have_no_opinion_few_look_once_more_and_then_accuse_only() {
    let mut rig = Rig::among(6);
    rig.crash(6);
    rig.live(Duration::from_millis(800), &[2, 3, 4, 5]);
    assert_eq!(rig.one.opinion_of(ServerId(6)), Opinion::Down);
    let say = |rig: &mut Rig| {
        rig.opinion(2, 6, Opinion::Down);
        (3..=5).for_each(|id| rig.opinion(id, 6, Opinion::None));
    };
    (0..2).for_each(|_| say(&mut rig));
    assert_eq!(rig.one.opinion_of(ServerId(6)), Opinion::Waiting);
    assert_eq!(rig.anew, [6]);
    for _ in 0..8 {
        assert!(rig.sees(6));
        rig.live(Duration::from_secs(1), &[2, 3, 4, 5]);
        say(&mut rig);
        if !rig.sees(6) {
            break;
        }
    }
    rig.pass(Duration::from_millis(120));
    assert!(!rig.sees(6) && !rig.news_of(6).is_empty() && rig.news_of(6).iter().all(|news| !news.verdict));
}

#[test]
fn who_had_no_opinion_is_asked_again_before_the_verdict() {
    let mut rig = Rig::among(4);
    rig.crash(4);
    rig.live(Duration::from_millis(800), &[2, 3]);
    rig.opinion(2, 4, Opinion::None);
    rig.forget();
    rig.opinion(3, 4, Opinion::Down);
    let asked = |(to, message): &(u64, Message)| *to == 2 && matches!(message, Message::Opinion { ask: true, .. });
    assert!(rig.sees(4) && rig.said.iter().any(asked), "it may observe it by now");
    rig.opinion(2, 4, Opinion::Up);
    assert!(rig.sees(4), "two of three are not enough");
}

#[test]
fn who_only_waits_for_a_sign_makes_nobody_ask_everybody() {
    let mut rig = Rig::among(4);
    let (subject, epoch) = (ServerId(4), Epoch { start: 1, rise: 0 });
    rig.hear(2, &Message::Opinion { subject, epoch, opinion: Opinion::Waiting, ask: true });
    let asked = rig.said.iter().filter(|(_, message)| matches!(message, Message::Opinion { ask: true, .. }));
    assert_eq!(asked.count(), 0);
}
