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
    Output::Send(CLIENT.0, Frame::Lost(Route { hops: 0, ..route(End::Client, 0) }, loss))
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
    assert_eq!(drain(&mut relay), [told(Loss::Reset)], "the direct way is better");
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
    let lost = Route { host: ServerId(9), hops: 0, ..route(End::Client, 0) };
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
    let lost = Frame::Lost(Route { session: ALL, ..route(End::Client, 0) }, Loss::Reset);
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
    let gone = Record { state: State::Dead, ..*view.get(HOST).unwrap() };
    view.put(gone);
    relay.handle_packet(server(HOST), route(End::Client, 0), body(), &view);
    assert_eq!(drain(&mut relay), []);
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
    let gone = Frame::Lost(route(End::Host, MAX_HOPS), Loss::Gone);
    assert_eq!(drain(&mut relay), [Output::Send(LinkId(20), gone)]);
}
