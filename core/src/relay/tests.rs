use alloc::vec::Vec;

use super::*;
use crate::{
    Epoch,
    membership::{Record, State},
};

const ME: ServerId = ServerId(1);
const HOST: ServerId = ServerId(2);
const THIRD: ServerId = ServerId(3);
const CLIENT: (LinkId, Other) = (LinkId(10), Other::Client(77));

fn server(id: ServerId) -> (LinkId, Other) {
    (LinkId(id.0), Other::Server(id, Epoch { start: 1, rise: 0 }))
}

fn view() -> View {
    let mut view = View::default();
    for id in [ME, HOST, THIRD] {
        let (epoch, addr) = (Epoch { start: 1, rise: 0 }, ([10, 0, 0, id.0 as u8], 7).into());
        view.put(Record { id, epoch, state: State::Alive, addr });
        view.admit(id);
    }
    view
}

fn route(to: End, hops: u8) -> Route {
    Route { to, bulk: false, hops, host: HOST, via: ME, session: 77 }
}

fn from_client() -> Route {
    Route { via: ServerId::DIAL_IN, session: 0, ..route(End::Host, 0) }
}

fn body() -> Load {
    Load::Encoded(bytes::Bytes::from_static(b"body"))
}

fn drain(relay: &mut Relay) -> Vec<Output> {
    core::iter::from_fn(|| relay.poll_output()).collect()
}

fn relay() -> Relay {
    let mut relay = Relay::new(ME);
    relay.handle_up(CLIENT.0, CLIENT.1);
    relay
}

fn told(loss: Loss) -> Output {
    Output::Send(CLIENT.0, Frame::Lost(route(End::Client, 0).at_client(), loss))
}

#[test]
fn a_packet_waits_for_the_link_to_its_host() {
    let (mut relay, view) = (relay(), view());
    relay.handle_packet(CLIENT, from_client(), body(), &view);
    relay.handle_packet(CLIENT, from_client(), body(), &view);
    assert!(matches!(drain(&mut relay)[..], [Output::Want(HOST, _)]));
    relay.handle_up(server(HOST).0, server(HOST).1);
    let sent = Output::Send(LinkId(2), Frame::Packet(route(End::Host, MAX_HOPS), body()));
    assert_eq!(drain(&mut relay), [sent.clone(), sent]);
    assert_eq!(relay.waiting(), 0);
}

#[test]
fn where_the_direct_way_is_cut_a_packet_goes_through_a_third() {
    let (mut relay, view) = (relay(), view());
    relay.handle_up(server(THIRD).0, server(THIRD).1);
    relay.handle_packet(CLIENT, from_client(), body(), &view);
    drain(&mut relay);
    relay.handle_failed(HOST, &view);
    let sent = Output::Send(LinkId(3), Frame::Packet(route(End::Host, 0), body()));
    assert_eq!(drain(&mut relay), core::slice::from_ref(&sent));
    relay.handle_packet(CLIENT, from_client(), body(), &view);
    assert_eq!(drain(&mut relay), [sent], "and so do those that follow");
    relay.handle_up(server(HOST).0, server(HOST).1);
    let all = Frame::Lost(Route { session: ALL, ..route(End::Host, MAX_HOPS) }, Loss::Gone);
    let lost = Output::Send(LinkId(2), all);
    assert_eq!(drain(&mut relay), [told(Loss::Reset), lost], "the direct way is better");
}

#[test]
fn when_nobody_has_a_way_the_client_hears_so() {
    let (mut relay, view) = (relay(), view());
    relay.handle_packet(CLIENT, from_client(), body(), &view);
    drain(&mut relay);
    relay.handle_failed(HOST, &view);
    assert_eq!(drain(&mut relay), [told(Loss::Unreachable)]);
    let unknown = Route { host: ServerId(9), ..from_client() };
    relay.handle_packet(CLIENT, unknown, body(), &view);
    let lost = Route { host: ServerId(9), ..route(End::Client, 0).at_client() };
    assert_eq!(drain(&mut relay), [Output::Send(CLIENT.0, Frame::Lost(lost, Loss::NotFound))]);
}

#[test]
fn who_stands_between_passes_on_but_never_further_than_the_hops_allow() {
    let (mut relay, view) = (Relay::new(THIRD), view());
    relay.handle_up(server(ME).0, server(ME).1);
    relay.handle_up(server(HOST).0, server(HOST).1);
    relay.handle_packet(server(ME), route(End::Host, 0), body(), &view);
    assert_eq!(drain(&mut relay), [Output::Send(LinkId(2), Frame::Packet(route(End::Host, 0), body()))]);
    relay.handle_down(server(HOST).0, server(HOST).1, &view);
    let lost = Frame::Lost(Route { session: ALL, ..route(End::Client, MAX_HOPS) }, Loss::Reset);
    assert!(drain(&mut relay).contains(&Output::Send(LinkId(1), lost)), "the dial-in server is told of the loss");
    relay.handle_packet(server(ME), route(End::Host, 0), body(), &view);
    relay.handle_failed(HOST, &view);
    let no_way = Frame::Lost(route(End::Client, 0), Loss::Unreachable);
    assert!(drain(&mut relay).contains(&Output::Send(LinkId(1), no_way)));
}

#[test]
fn answers_go_back_by_the_way_that_the_questions_came() {
    let (mut relay, view) = (Relay::new(HOST), view());
    relay.handle_up(server(THIRD).0, server(THIRD).1);
    relay.handle_packet(server(THIRD), route(End::Host, 0), body(), &view);
    let way = Way { via: ME, session: 77 };
    assert_eq!(drain(&mut relay), [Output::Local(way, body())]);
    relay.send_to_client(way, false, body(), &view);
    assert_eq!(drain(&mut relay), [Output::Send(LinkId(3), Frame::Packet(route(End::Client, 0), body()))]);
    relay.handle_down(server(THIRD).0, server(THIRD).1, &view);
    assert!(drain(&mut relay).contains(&Output::LocalLostServer(ME)), "the way back is lost with the link");
}

#[test]
fn nothing_that_a_server_says_after_it_has_left_reaches_a_client() {
    let (mut relay, mut view) = (relay(), view());
    relay.handle_up(server(HOST).0, server(HOST).1);
    relay.handle_packet(server(HOST), route(End::Client, 0), body(), &view);
    assert_eq!(drain(&mut relay).len(), 1);
    let gone = Record { state: State::Dead, ..view.get(HOST).unwrap() };
    view.put(gone);
    relay.handle_packet(server(HOST), route(End::Client, 0), body(), &view);
    let lost = Frame::Lost(route(End::Host, MAX_HOPS), Loss::Gone);
    assert_eq!(drain(&mut relay), [Output::Send(LinkId(2), lost)], "but it hears so");
}

#[test]
fn hosts_are_told_when_a_client_hangs_up_even_if_they_must_be_dialled_for_it() {
    let (mut relay, view) = (relay(), view());
    relay.handle_up(server(HOST).0, server(HOST).1);
    relay.handle_packet(CLIENT, from_client(), body(), &view);
    relay.handle_down(server(HOST).0, server(HOST).1, &view);
    drain(&mut relay);
    relay.handle_down(CLIENT.0, CLIENT.1, &view);
    assert!(matches!(drain(&mut relay)[..], [Output::Want(HOST, _)]));
    relay.handle_up(LinkId(20), server(HOST).1);
    let gone = route(End::Host, MAX_HOPS);
    let said = [Route { session: ALL, ..gone }, gone].map(|of| Output::Send(LinkId(20), Frame::Lost(of, Loss::Gone)));
    assert_eq!(drain(&mut relay), said);
}

/// Every client of `ME` must open the way to `HOST` again.
fn all_reset() -> Frame {
    Frame::Lost(Route { session: ALL, ..route(End::Client, MAX_HOPS) }, Loss::Reset)
}

#[test]
fn nothing_is_asked_of_a_server_that_has_left_even_if_it_could_be() {
    let (mut relay, mut view) = (relay(), view());
    relay.handle_up(server(HOST).0, server(HOST).1);
    view.put(Record { state: State::Dead, ..view.get(HOST).unwrap() });
    relay.handle_packet(CLIENT, from_client(), body(), &view);
    assert_eq!(drain(&mut relay), [told(Loss::Gone)]);
    relay.handle_down(CLIENT.0, CLIENT.1, &view);
    assert_eq!(drain(&mut relay), [], "and it need not hear that the client hung up");
}

#[test]
fn a_server_that_leaves_the_view_and_is_there_hears_of_both_losses() {
    let (mut relay, view) = (Relay::new(HOST), view());
    relay.handle_up(server(ME).0, server(ME).1);
    relay.handle_packet(server(ME), route(End::Host, MAX_HOPS), body(), &view);
    drain(&mut relay);
    relay.handle_leave(ME);
    let route = Route { to: End::Host, bulk: false, hops: 0, host: ME, via: HOST, session: ALL };
    let gone = Output::Send(LinkId(1), Frame::Lost(route, Loss::Gone));
    let Frame::Lost(reset, loss) = all_reset() else { unreachable!() };
    let reset = Output::Send(LinkId(1), Frame::Lost(Route { hops: 0, ..reset }, loss));
    assert_eq!(drain(&mut relay), [gone, reset, Output::LocalLostServer(ME)]);
}

#[test]
fn a_host_that_gives_ways_up_by_itself_tells_the_dial_in_server() {
    // A packet that was late came by a third, and then that one is lost: the
    // dial-in server sees nothing of it.
    for direct in [true, false] {
        let (mut relay, view) = (Relay::new(HOST), view());
        relay.handle_up(server(THIRD).0, server(THIRD).1);
        if direct {
            relay.handle_up(server(ME).0, server(ME).1);
        }
        relay.handle_packet(server(THIRD), route(End::Host, 0), body(), &view);
        drain(&mut relay);
        relay.handle_down(server(THIRD).0, server(THIRD).1, &view);
        let outputs = drain(&mut relay);
        assert!(outputs.contains(&Output::LocalLostServer(ME)), "{outputs:?}");
        if !direct {
            assert!(outputs.iter().any(|output| matches!(output, Output::Want(ME, _))), "{outputs:?}");
            relay.handle_up(server(ME).0, server(ME).1);
            assert_eq!(drain(&mut relay), [Output::Send(LinkId(1), all_reset())]);
        } else {
            assert!(outputs.contains(&Output::Send(LinkId(1), all_reset())), "{outputs:?}");
        }
    }
}

#[test]
fn a_host_hears_of_a_lost_dial_in_server_behind_what_that_one_had_sent() {
    let (mut relay, view) = (Relay::new(THIRD), view());
    relay.handle_up(server(ME).0, server(ME).1);
    relay.handle_packet(server(ME), route(End::Host, 0), body(), &view);
    relay.handle_down(server(ME).0, server(ME).1, &view);
    drain(&mut relay);
    relay.handle_up(server(HOST).0, server(HOST).1);
    let packet = Output::Send(LinkId(2), Frame::Packet(route(End::Host, 0), body()));
    let lost = Frame::Lost(Route { session: ALL, ..route(End::Host, MAX_HOPS) }, Loss::Reset);
    assert_eq!(drain(&mut relay), [packet, Output::Send(LinkId(2), lost)]);
}

#[test]
fn who_finds_no_room_to_wait_for_a_link_hears_so() {
    let (mut relay, view) = (relay(), view());
    let large = Load::Encoded(bytes::Bytes::from(alloc::vec![0; 60_000]));
    let fits = MAX_PENDING / (64 + large.len());
    for _ in 0..fits {
        relay.handle_packet(CLIENT, from_client(), large.clone(), &view);
    }
    assert!(matches!(drain(&mut relay)[..], [Output::Want(HOST, _)]));
    relay.handle_packet(CLIENT, from_client(), large, &view);
    assert_eq!(drain(&mut relay), [told(Loss::Reset)]);
    assert_eq!(relay.waiting(), fits);
}

#[test]
fn a_pair_of_servers_that_cannot_be_told_of_a_loss_finds_no_way_here() {
    let (mut relay, view) = (Relay::new(THIRD), view());
    relay.handle_up(server(HOST).0, server(HOST).1);
    for via in 0..=MAX_TRANSIT as u64 {
        let (from, route) = (server(ServerId(100 + via)), Route { via: ServerId(100 + via), ..route(End::Host, 0) });
        relay.handle_up(from.0, from.1);
        relay.handle_packet(from, route, body(), &view);
        let outputs = drain(&mut relay);
        let passed = matches!(outputs[..], [Output::Send(LinkId(2), Frame::Packet(..))]);
        assert_eq!(passed, via < MAX_TRANSIT as u64, "{outputs:?}");
        let refused = matches!(outputs[..], [Output::Send(link, Frame::Lost(_, Loss::Unreachable))] if link == from.0);
        assert_eq!(refused, !passed, "{outputs:?}");
    }
}

#[test]
fn when_one_client_finds_that_a_third_has_no_way_all_who_went_there_hear_of_it() {
    let (mut relay, view) = (relay(), view());
    let other = (LinkId(11), Other::Client(78));
    relay.handle_up(other.0, other.1);
    relay.handle_up(server(THIRD).0, server(THIRD).1);
    relay.handle_packet(CLIENT, from_client(), body(), &view);
    relay.handle_failed(HOST, &view);
    relay.handle_packet(other, from_client(), body(), &view);
    drain(&mut relay);
    relay.handle_lost(server(THIRD), route(End::Client, 0), Loss::Unreachable, &view);
    let links: Vec<LinkId> = drain(&mut relay)
        .into_iter()
        .filter_map(|output| match output {
            Output::Send(link, Frame::Lost(_, Loss::Reset)) => Some(link),
            _ => None,
        })
        .collect();
    assert_eq!(links, [CLIENT.0, other.0]);
}

#[test]
fn what_waits_for_a_link_to_a_server_that_leaves_never_goes_there() {
    let (mut relay, view) = (relay(), view());
    relay.handle_packet(CLIENT, from_client(), body(), &view);
    relay.handle_packet(server(THIRD), Route { via: THIRD, ..route(End::Host, 0) }, body(), &view);
    drain(&mut relay);
    relay.handle_leave(HOST);
    assert!(drain(&mut relay).contains(&told(Loss::Gone)));
    relay.handle_up(server(HOST).0, server(HOST).1);
    assert_eq!(drain(&mut relay), []);
}

#[test]
fn who_hung_up_unheard_is_lost_before_the_host_hears_anything_else() {
    for dialled in [true, false] {
        let (mut relay, view) = (relay(), view());
        relay.handle_up(server(THIRD).0, server(THIRD).1);
        relay.handle_packet(CLIENT, from_client(), body(), &view);
        relay.handle_failed(HOST, &view);
        relay.handle_down(CLIENT.0, CLIENT.1, &view);
        drain(&mut relay);
        // The word of it may be lost with the third.
        relay.handle_down(server(THIRD).0, server(THIRD).1, &view);
        assert!(matches!(drain(&mut relay)[..], [Output::Want(HOST, _), Output::LocalLostServer(THIRD)]));
        if !dialled {
            relay.handle_failed(HOST, &view);
            relay.handle_up(CLIENT.0, CLIENT.1);
            relay.handle_packet(CLIENT, from_client(), body(), &view);
            drain(&mut relay);
        }
        relay.handle_up(server(HOST).0, server(HOST).1);
        let all = Frame::Lost(Route { session: ALL, ..route(End::Host, MAX_HOPS) }, Loss::Gone);
        let sent = drain(&mut relay);
        assert_eq!(sent.first(), Some(&Output::Send(LinkId(2), all)), "{sent:?}");
        assert_eq!(sent.len(), if dialled { 1 } else { 2 }, "{sent:?}");
    }
}

#[test]
fn who_hung_up_is_lost_on_the_link_that_stays_where_two_have_met() {
    let (mut relay, view) = (relay(), view());
    relay.handle_up(server(HOST).0, server(HOST).1);
    drain(&mut relay);
    // To the host it may have been one too many, and then nothing on it came.
    relay.handle_packet(CLIENT, from_client(), body(), &view);
    relay.handle_down(CLIENT.0, CLIENT.1, &view);
    relay.handle_down(server(HOST).0, server(HOST).1, &view);
    drain(&mut relay);
    let stays = LinkId(12);
    relay.handle_up(stays, server(HOST).1);
    let all = Frame::Lost(Route { session: ALL, ..route(End::Host, MAX_HOPS) }, Loss::Gone);
    assert_eq!(drain(&mut relay), [Output::Send(stays, all)]);
}

#[test]
fn a_third_that_passes_on_a_hosts_word_is_a_way_to_it() {
    let (mut relay, view) = (relay(), view());
    for id in [HOST, THIRD] {
        relay.handle_up(server(id).0, server(id).1);
    }
    relay.handle_packet(CLIENT, from_client(), body(), &view);
    relay.handle_down(server(HOST).0, server(HOST).1, &view);
    relay.handle_packet(CLIENT, from_client(), body(), &view);
    relay.handle_failed(HOST, &view);
    drain(&mut relay);
    // The host has heard that all are lost, and says that they must come again.
    let again = Parcel::reset_all(HOST, ME).route;
    relay.handle_lost(server(THIRD), Route { hops: 0, ..again }, Loss::Reset, &view);
    assert_eq!(drain(&mut relay), [told(Loss::Reset)]);
    relay.handle_packet(CLIENT, from_client(), body(), &view);
    assert_eq!(drain(&mut relay), [Output::Send(LinkId(3), Frame::Packet(route(End::Host, 0), body()))]);
    // Its own word is that it has no way.
    relay.handle_lost(server(THIRD), again, Loss::Reset, &view);
    assert!(drain(&mut relay).iter().any(|output| matches!(output, Output::Want(HOST, _))));
}

#[test]
fn ways_that_broke_one_after_the_other_are_no_sign_that_there_is_none() {
    let (mut relay, view) = (relay(), view());
    relay.handle_up(server(THIRD).0, server(THIRD).1);
    for broke in 0..10 {
        relay.handle_packet(CLIENT, from_client(), body(), &view);
        relay.handle_failed(HOST, &view);
        let sent = Output::Send(LinkId(3), Frame::Packet(route(End::Host, 0), body()));
        assert!(drain(&mut relay).contains(&sent), "not after {broke} that broke");
        relay.handle_lost(server(THIRD), Parcel::reset_all(HOST, ME).route, Loss::Reset, &view);
    }
    drain(&mut relay);
}

#[test]
fn who_had_no_way_is_asked_again_when_another_had_one_meanwhile() {
    let (mut relay, mut view) = (relay(), view());
    let others: Vec<ServerId> = (4..=6).map(ServerId).collect();
    for &id in &others {
        view.put(Record { id, ..view.get(HOST).expect("it is there") });
        view.admit(id);
        relay.handle_up(server(id).0, server(id).1);
    }
    // By whom it goes, until it is said that they have no way.
    let mut tried = |answer: Option<ServerId>| {
        let mut tried = Vec::new();
        loop {
            relay.handle_packet(CLIENT, from_client(), body(), &view);
            relay.handle_failed(HOST, &view);
            let outputs = drain(&mut relay);
            if outputs.contains(&told(Loss::Unreachable)) {
                return tried;
            }
            let by = outputs.iter().find_map(|output| match output {
                Output::Send(link, Frame::Packet(..)) if *link != CLIENT.0 => Some(ServerId(link.0)),
                _ => None,
            });
            let by = by.expect("it goes by somebody");
            tried.push(by);
            if answer == Some(by) {
                relay.handle_packet(server(by), route(End::Client, 0), body(), &view);
            }
            relay.handle_lost(server(by), route(End::Client, 0), Loss::Unreachable, &view);
        }
    };
    assert_eq!(tried(None), [6, 4, 5].map(ServerId));
    let again = tried(Some(others[1]));
    assert_eq!(again, [6, 4, 5, 6, 4].map(ServerId));
}

#[test]
fn an_answer_goes_back_as_the_question_came_though_its_client_is_being_dialled() {
    let (mut relay, view) = (relay(), view());
    relay.handle_up(server(THIRD).0, server(THIRD).1);
    let asked = Route { host: ME, via: HOST, ..route(End::Host, 0) };
    relay.handle_packet(server(THIRD), asked, body(), &view);
    relay.handle_packet(CLIENT, from_client(), body(), &view);
    drain(&mut relay);
    relay.send_to_client(Way { via: HOST, session: 77 }, false, body(), &view);
    let answer = Route { to: End::Client, ..asked };
    assert_eq!(drain(&mut relay), [Output::Send(LinkId(3), Frame::Packet(answer, body()))]);
}

#[test]
fn what_no_server_has_to_say_is_not_heard() {
    let (mut relay, view) = (relay(), view());
    for id in [HOST, THIRD] {
        relay.handle_up(server(id).0, server(id).1);
    }
    // For clients of this server, or to be passed on for those of another.
    for wrong in [Route { host: ME, ..route(End::Host, 1) }, Route { via: ServerId(9), ..route(End::Host, 1) }] {
        relay.handle_packet(server(THIRD), wrong, body(), &view);
    }
    relay.handle_lost(server(THIRD), Route { host: ME, session: ALL, ..route(End::Host, 1) }, Loss::Gone, &view);
    relay.handle_down(server(THIRD).0, server(THIRD).1, &view);
    assert_eq!(drain(&mut relay), [Output::LocalLostServer(THIRD)]);
}

#[test]
fn a_host_that_answers_what_was_late_hears_when_the_client_hangs_up() {
    let (mut relay, view) = (relay(), view());
    relay.handle_up(server(HOST).0, server(HOST).1);
    relay.handle_packet(server(HOST), route(End::Client, 0), body(), &view);
    drain(&mut relay);
    relay.handle_down(CLIENT.0, CLIENT.1, &view);
    let gone = Frame::Lost(route(End::Host, MAX_HOPS), Loss::Gone);
    assert_eq!(drain(&mut relay), [Output::Send(LinkId(2), gone)]);
}

#[test]
fn what_another_says_of_the_ways_of_its_own_clients_is_not_passed_on_as_its_own_word() {
    let (mut relay, view) = (relay(), view());
    for id in [HOST, THIRD] {
        relay.handle_up(server(id).0, server(id).1);
    }
    drain(&mut relay);
    // The third has lost the way here, passed on packets for the host before,
    // and has no other way to it than by this server: late, as it may be.
    let of_mine = Route { session: ALL, ..route(End::Host, MAX_HOPS) };
    relay.handle_lost(server(THIRD), of_mine, Loss::Reset, &view);
    assert_eq!(drain(&mut relay), []);
    let of_its_own = Route { via: THIRD, ..of_mine };
    relay.handle_lost(server(THIRD), of_its_own, Loss::Gone, &view);
    assert_eq!(drain(&mut relay), [Output::Send(LinkId(2), Frame::Lost(of_its_own, Loss::Gone))]);
}
