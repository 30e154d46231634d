use alloc::{string::ToString, vec, vec::Vec};

use proptest::prelude::*;

use super::{
    noise::MESSAGE_2,
    preamble::{ACCEPTED, ANSWER, HELLO},
    *,
};
use crate::{
    Rng,
    wire::{
        Load, Route,
        route::{End, MAX_HOPS},
    },
};

fn key(number: u64) -> ClusterKey {
    ClusterKey::generate(&mut Rng::from_number(number))
}

fn credentials(cluster: u64, identity: u64) -> Credentials {
    Credentials::new(&key(cluster), StaticKey::generate(&mut Rng::from_number(identity)))
}

/// Two sessions with a wire between them that a test can hold in its hands.
struct Pair {
    dialler: Session,
    acceptor: Session,
}

impl Pair {
    fn new(dialler: &Credentials, acceptor: &Credentials, expect: Option<ServerId>) -> Self {
        let rng = Rng::from_number(9);
        Self {
            dialler: Session::dial(dialler, Role::Client, expect, &rng.fork("dialler"), Instant::ZERO),
            acceptor: Session::accept(acceptor, &rng.fork("acceptor"), Instant::ZERO),
        }
    }

    fn established() -> Self {
        let mut pair = Self::new(&credentials(1, 2), &credentials(1, 3), None);
        pair.settle();
        assert!(matches!(events(&mut pair.dialler)[..], [Event::Established(_)]));
        assert!(matches!(events(&mut pair.acceptor)[..], [Event::Established(_)]));
        pair
    }

    /// Carries bytes both ways until neither has any.
    fn settle(&mut self) {
        loop {
            let (a, b) = (sent(&mut self.dialler), sent(&mut self.acceptor));
            if a.is_empty() && b.is_empty() {
                return;
            }
            feed(&mut self.acceptor, &a);
            feed(&mut self.dialler, &b);
        }
    }
}

fn sent(session: &mut Session) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let bytes = session.transmit().to_vec();
        if bytes.is_empty() {
            return all;
        }
        session.handle_written(bytes.len());
        all.extend(bytes);
    }
}

fn feed(session: &mut Session, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let space = session.read_space();
        let count = space.len().min(bytes.len());
        space[..count].copy_from_slice(&bytes[..count]);
        session.handle_read(count);
        bytes = &bytes[count..];
    }
}

fn events(session: &mut Session) -> Vec<Event> {
    core::iter::from_fn(|| session.poll_event()).collect()
}

fn failure(session: &mut Session) -> Failure {
    match events(session).pop() {
        Some(Event::Closed(Closed::Failed(failure))) => failure,
        other => panic!("no failure but {other:?}"),
    }
}

fn packet(length: usize) -> Frame {
    let route = Route { to: End::Host, bulk: true, hops: MAX_HOPS, host: ServerId(1), via: ServerId(2), session: 3 };
    Frame::Packet(route, Load::Encoded(vec![7; length].into()))
}

#[test]
fn both_ends_learn_who_the_other_is() {
    let (client, server) = (credentials(1, 2), credentials(1, 3));
    let mut pair = Pair::new(&client, &server, Some(server.server_id()));
    pair.settle();
    let of_server = Peer { role: Role::Server, id: server.server_id() };
    let of_client = Peer { role: Role::Client, id: client.server_id() };
    assert_eq!(events(&mut pair.dialler), [Event::Established(of_server)]);
    assert_eq!(events(&mut pair.acceptor), [Event::Established(of_client)]);
    assert_eq!(pair.dialler.poll_timeout(), None);
}

#[test]
fn small_frames_share_a_record_and_large_ones_fill_it() {
    let mut pair = Pair::established();
    for number in 0..100 {
        pair.dialler.send(&Frame::Ping(number));
    }
    let one = pair.dialler.transmit().len();
    pair.settle();
    assert_eq!(one, 2 + 16 + 100 * 4, "a hundred pings, one record");
    assert_eq!(events(&mut pair.acceptor).len(), 100);

    let largest = packet(crate::wire::MAX_PACKET);
    pair.acceptor.send(&largest);
    assert_eq!(pair.acceptor.transmit().len(), 2 + 65_535);
    pair.settle();
    assert_eq!(events(&mut pair.dialler), [Event::Frame(largest)]);
}

#[test]
fn a_close_is_told_from_a_cut() {
    let mut pair = Pair::established();
    pair.dialler.send(&Frame::Close(CloseReason::Done));
    pair.settle();
    assert_eq!(events(&mut pair.acceptor), [Event::Closed(Closed::ByPeer(CloseReason::Done))]);
    pair.acceptor.handle_end();
    assert_eq!(events(&mut pair.acceptor), []);
    pair.dialler.handle_end();
    assert_eq!(failure(&mut pair.dialler), Failure::Truncated);
}

#[test]
fn another_server_at_the_dialled_address_is_refused() {
    let mut pair = Pair::new(&credentials(1, 2), &credentials(1, 3), Some(ServerId(5)));
    pair.settle();
    let found = credentials(1, 3).server_id();
    assert_eq!(failure(&mut pair.dialler), Failure::WrongServer { expected: ServerId(5), found });
    assert_eq!(events(&mut pair.acceptor), [], "the third message never came");
}

#[test]
fn another_clusters_key_is_refused_without_an_answer() {
    let mut pair = Pair::new(&credentials(1, 2), &credentials(4, 3), None);
    pair.settle();
    assert_eq!(failure(&mut pair.acceptor), Failure::UnknownKey);
    assert_eq!(sent(&mut pair.acceptor), []);
    pair.dialler.handle_end();
    assert_eq!(failure(&mut pair.dialler), Failure::Truncated);
}

#[test]
fn strangers_are_recognised_by_their_first_bytes() {
    for greeting in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x16, 3, 1, 2, 0], &[0; 64 * 1024]] {
        let mut session = Session::accept(&credentials(1, 2), &Rng::from_number(1), Instant::ZERO);
        feed(&mut session, greeting);
        assert_eq!(failure(&mut session), Failure::BadMagic);
        assert_eq!(sent(&mut session), []);
    }
}

#[test]
fn half_a_hello_waits_for_the_deadline_and_no_longer() {
    let mut pair = Pair::new(&credentials(1, 2), &credentials(1, 3), None);
    feed(&mut pair.acceptor, &sent(&mut pair.dialler)[..HELLO / 2]);
    let due = pair.acceptor.poll_timeout().unwrap();
    assert_eq!(due, Instant::ZERO + HANDSHAKE_DEADLINE);
    pair.acceptor.handle_timeout(Instant::from_micros(due.as_micros() - 1));
    assert_eq!(events(&mut pair.acceptor), []);
    pair.acceptor.handle_timeout(due);
    assert_eq!(failure(&mut pair.acceptor), Failure::Deadline);
}

#[test]
fn every_byte_of_the_hello_is_covered() {
    for place in 0..HELLO {
        let mut pair = Pair::new(&credentials(1, 2), &credentials(1, 3), None);
        let mut hello = sent(&mut pair.dialler);
        hello[place] ^= 1;
        feed(&mut pair.acceptor, &hello);
        let wanted = match place {
            0..4 => Failure::BadMagic,
            8..16 => Failure::UnknownKey,
            _ => Failure::BadMac,
        };
        assert_eq!(failure(&mut pair.acceptor), wanted, "byte {place}");
    }
}

#[test]
fn every_byte_of_the_answer_is_covered() {
    for place in 0..ACCEPTED {
        let mut pair = Pair::new(&credentials(1, 2), &credentials(1, 3), None);
        feed(&mut pair.acceptor, &sent(&mut pair.dialler));
        let mut answer = sent(&mut pair.acceptor);
        assert_eq!(answer.len(), ANSWER + MESSAGE_2);
        answer[place] ^= 1;
        feed(&mut pair.dialler, &answer);
        let wanted = match place {
            0..4 => Failure::BadMagic,
            4..ANSWER => Failure::BadMac,
            _ => Failure::Handshake,
        };
        assert_eq!(failure(&mut pair.dialler), wanted, "byte {place}");
    }
}

#[test]
fn an_unknown_version_is_told_which_one_is_spoken() {
    let theirs = credentials(1, 2);
    let key = theirs.dial_key().unwrap();
    let mut prologue = preamble::prologue(Role::Server, key);
    prologue[5] = 9;
    let hello = preamble::hello(prologue, &[5; 48], key);
    let mut acceptor = Session::accept(&credentials(1, 3), &Rng::from_number(1), Instant::ZERO);
    feed(&mut acceptor, &hello);
    assert_eq!(failure(&mut acceptor), Failure::Version { theirs: 9 });
    let answer = sent(&mut acceptor);
    let refusal = preamble::read_answer(answer.first_chunk().unwrap(), &hello[HELLO - 32..], key);
    assert_eq!(refusal, Err(Failure::Version { theirs: VERSION }));
    assert!(answer.len() <= HELLO, "no answer to a stranger is larger than its question");
}

#[test]
fn a_low_order_point_is_refused() {
    let mut dh = noise::contributory().unwrap();
    dh.set(&[7; 32]);
    let mut shared = [0; 32];
    assert!(dh.dh(&[9; 32], &mut shared).is_ok());
    for point in [0, 1] {
        let mut low = [0; 32];
        low[0] = point;
        assert_eq!(dh.dh(&low, &mut shared), Err(snow::Error::Dh));
    }
}

#[test]
fn ones_own_hello_echoed_is_no_answer() {
    let mut session = Session::dial(&credentials(1, 2), Role::Client, None, &Rng::from_number(1), Instant::ZERO);
    let hello = sent(&mut session);
    feed(&mut session, &hello);
    assert_eq!(failure(&mut session), Failure::BadMagic);
}

#[test]
fn a_recorded_session_cannot_be_replayed() {
    let mut pair = Pair::new(&credentials(1, 2), &credentials(1, 3), None);
    let mut recorded = sent(&mut pair.dialler);
    feed(&mut pair.acceptor, &recorded);
    feed(&mut pair.dialler, &sent(&mut pair.acceptor));
    pair.dialler.send(&Frame::Ping(1));
    recorded.extend(sent(&mut pair.dialler));
    // The other end's randomness is another the second time.
    let mut again = Session::accept(&credentials(1, 3), &Rng::from_number(77), Instant::ZERO);
    feed(&mut again, &recorded);
    assert_eq!(events(&mut again), [Event::Closed(Closed::Failed(Failure::Handshake))]);
}

#[test]
fn a_record_flipped_dropped_repeated_or_swapped_ends_the_session() {
    let two_records = |pair: &mut Pair| {
        pair.dialler.send(&Frame::Ping(1));
        let first = sent(&mut pair.dialler);
        pair.dialler.send(&Frame::Ping(2));
        (first, sent(&mut pair.dialler))
    };
    let mut pair = Pair::established();
    let (mut first, _) = two_records(&mut pair);
    *first.last_mut().unwrap() ^= 1;
    feed(&mut pair.acceptor, &first);
    assert_eq!(failure(&mut pair.acceptor), Failure::Tampered);

    let mut pair = Pair::established();
    let (_, second) = two_records(&mut pair);
    feed(&mut pair.acceptor, &second);
    assert_eq!(failure(&mut pair.acceptor), Failure::Tampered);

    let mut pair = Pair::established();
    let (first, _) = two_records(&mut pair);
    feed(&mut pair.acceptor, &[&first[..], &first[..]].concat());
    assert_eq!(pair.acceptor.poll_event(), Some(Event::Frame(Frame::Ping(1))));
    assert_eq!(failure(&mut pair.acceptor), Failure::Tampered);
}

#[test]
fn records_of_impossible_lengths_are_refused() {
    for length in [0_u16, 1, 16, 19] {
        let mut pair = Pair::established();
        feed(&mut pair.acceptor, &length.to_be_bytes());
        assert_eq!(failure(&mut pair.acceptor), Failure::RecordLength(usize::from(length)));
    }
}

#[test]
fn a_stream_that_ends_inside_a_record_is_truncated() {
    let mut pair = Pair::established();
    pair.dialler.send(&Frame::Ping(1));
    let bytes = sent(&mut pair.dialler);
    feed(&mut pair.acceptor, &bytes[..bytes.len() - 1]);
    assert_eq!(events(&mut pair.acceptor), []);
    pair.acceptor.handle_end();
    assert_eq!(failure(&mut pair.acceptor), Failure::Truncated);
}

#[test]
fn keys_read_back_and_bad_ones_are_named() {
    let key = key(1);
    let text = key.to_text().to_string() + "\n";
    assert!(ClusterKey::from_text(&text).unwrap() == key);
    assert_eq!(ClusterKey::from_text("not base64!").unwrap_err(), BadKey::NotBase64);
    assert_eq!(ClusterKey::from_text("c2hvcnQ=").unwrap_err(), BadKey::Length(5));
    assert_eq!(ClusterKey::from_text(STANDARD_ZERO).unwrap_err(), BadKey::Zero);
    assert_eq!(alloc::format!("{key:?}"), "ClusterKey");
}

const STANDARD_ZERO: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

proptest! {
    #[test]
    fn frames_arrive_however_the_bytes_are_cut(
        frames in prop::collection::vec(crate::wire::tests::any_frame(), 1..20),
        cuts in prop::collection::vec(1_usize..300, 1..50),
    ) {
        let mut pair = Pair::established();
        let frames: Vec<Frame> = frames.into_iter().filter(|f| !matches!(f, Frame::Close(_))).collect();
        for frame in &frames {
            pair.dialler.send(frame);
        }
        let bytes = sent(&mut pair.dialler);
        let mut rest = &bytes[..];
        let mut cut = cuts.iter().cycle();
        let mut arrived = Vec::new();
        while !rest.is_empty() {
            let count = (*cut.next().unwrap()).min(rest.len());
            feed(&mut pair.acceptor, &rest[..count]);
            arrived.extend(events(&mut pair.acceptor));
            rest = &rest[count..];
        }
        prop_assert_eq!(arrived, frames.into_iter().map(Event::Frame).collect::<Vec<_>>());
    }

    #[test]
    fn no_bytes_make_an_end_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000), dialling: bool, valid in 0_usize..400) {
        let mut pair = Pair::new(&credentials(1, 2), &credentials(1, 3), None);
        let hello = sent(&mut pair.dialler);
        if dialling {
            feed(&mut pair.acceptor, &hello);
            let answer = sent(&mut pair.acceptor);
            feed(&mut pair.dialler, &answer[..valid.min(answer.len())]);
            feed(&mut pair.dialler, &bytes);
            events(&mut pair.dialler);
        } else {
            feed(&mut pair.acceptor, &hello[..valid.min(hello.len())]);
            feed(&mut pair.acceptor, &bytes);
            events(&mut pair.acceptor);
        }
    }
}
