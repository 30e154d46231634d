use alloc::{string::ToString, vec, vec::Vec};
use core::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use proptest::prelude::*;

use super::{
    beacon::{Beacon, VERSION, Word},
    *,
};
use crate::{Instant, Rng, ServerId, mac::mac, session::ClusterKey};

pub(super) const WALL: u64 = 1_700_000_000_000_000;
const SECOND: u64 = 1_000_000;

pub(super) fn key(number: u64) -> ClusterKey {
    ClusterKey::generate(&mut Rng::from_number(number))
}

pub(super) fn group() -> Group {
    "228.8.8.8:7711".parse().unwrap()
}

pub(super) fn place(number: u64, addr: &str) -> Place {
    Place { incarnation: Incarnation { id: ServerId(number), start: 1 }, addr: addr.parse().unwrap() }
}

pub(super) fn interface(index: u32, addr: &str) -> Interface {
    let addr: IpAddr = addr.parse().unwrap();
    let loopback = addr.is_loopback();
    Interface { index, addr, up: true, multicast: !loopback, loopback, point_to_point: false }
}

/// A server at 10.0.0.1:1 on the interface 2.
fn announcer(cluster: u64) -> Announcer {
    let own = place(1, "10.0.0.1:1");
    let reach = Reach { listen: own.addr, advertise: None };
    let config = Config { own: own.incarnation, reach, group: group() };
    let mut announcer = Announcer::new(config, &key(cluster), Rng::from_number(cluster));
    for face in announcer.faces(&[interface(2, "10.0.0.1")]) {
        announcer.handle_up(Instant::ZERO, face);
    }
    announcer
}

fn seal(sent: u64, nonce: u64, word: Word) -> [u8; LENGTH] {
    Beacon { sent, nonce, word }.seal(&BeaconKey::of(&key(1)))
}

/// What comes of a datagram on the interface 2, ten seconds on.
fn hear(announcer: &mut Announcer, packet: &[u8]) -> (Result<(), Refusal>, Vec<Output>) {
    let now = Instant::ZERO + Duration::from_secs(10);
    let result = announcer.handle_datagram(now, WALL, 2, "10.0.0.9:9".parse().unwrap(), packet);
    (result, core::iter::from_fn(|| announcer.poll_output()).collect())
}

/// The servers that it says it found, by then.
fn found(announcer: &mut Announcer, seconds: u64) -> Vec<Place> {
    announcer.handle_timeout(Instant::ZERO + Duration::from_secs(seconds), WALL);
    let outputs = core::iter::from_fn(|| announcer.poll_output());
    outputs.filter_map(|output| if let Output::Found(place) = output { Some(place) } else { None }).collect()
}

fn word() -> impl Strategy<Value = Word> {
    let ip = prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)];
    let dialled = |addr: &SocketAddr| beacon::can_be_dialled(*addr) && addr.ip() == addr.ip().to_canonical();
    let addr = (ip, 1..=u16::MAX).prop_map(|(ip, port)| SocketAddr::new(ip, port)).prop_filter("dialled", dialled);
    let place = (1..=u64::MAX, any::<u32>(), addr)
        .prop_map(|(id, start, addr)| Place { incarnation: Incarnation { id: ServerId(id), start }, addr });
    prop_oneof![
        place.clone().prop_map(Word::Announce),
        any::<u32>().prop_map(Word::Query),
        place.prop_map(Word::Answer)
    ]
}

proptest! {
    #[test]
    fn what_is_sealed_opens_and_with_no_other_key(sent: u64, nonce: u64, word in word()) {
        let beacon = Beacon { sent, nonce, word };
        let packet = beacon.seal(&BeaconKey::of(&key(1)));
        prop_assert_eq!(Beacon::open(&packet, &BeaconKey::of(&key(1))), Ok(beacon));
        prop_assert_eq!(Beacon::open(&packet, &BeaconKey::of(&key(2))), Err(Refusal::Mac));
    }

    #[test]
    fn every_flipped_bit_and_every_other_length_is_refused(sent: u64, nonce: u64, word in word()) {
        let key = BeaconKey::of(&key(1));
        let packet = Beacon { sent, nonce, word }.seal(&key);
        for bit in 0..8 * LENGTH {
            let mut flipped = packet;
            flipped[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Beacon::open(&flipped, &key).is_err());
        }
        for length in 0..LENGTH {
            prop_assert_eq!(Beacon::open(&packet[..length], &key), Err(Refusal::Length(length)));
        }
    }

    #[test]
    fn a_body_with_a_right_mac_has_one_spelling(mut packet in prop::collection::vec(any::<u8>(), LENGTH), kind in 0_u8..5) {
        let key = BeaconKey::of(&key(1));
        packet[..8].copy_from_slice(&[b'C', b'R', b'C', b'B', 0, 1, kind, 0]);
        key.restamp(&mut packet);
        if let Ok(beacon) = Beacon::open(&packet, &key) {
            prop_assert_eq!(&beacon.seal(&key)[..], &packet[..]);
        }
    }

    #[test]
    fn garbage_changes_nothing_but_a_count(packet in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut announcer = announcer(1);
        let due = announcer.poll_timeout();
        let (result, outputs) = hear(&mut announcer, &packet);
        prop_assert!(result.is_err() && outputs.is_empty());
        prop_assert_eq!(announcer.counts(), Counts { malformed: 1, ..Counts::default() });
        prop_assert_eq!(announcer.poll_timeout(), due);
    }
}

#[test]
fn every_refusal_names_its_cause() {
    let key = BeaconKey::of(&key(1));
    let announce = seal(WALL, 1, Word::Announce(place(5, "10.0.0.5:5")));
    let changed = |at: usize, bytes: &[u8]| {
        let mut packet = announce;
        packet[at..at + bytes.len()].copy_from_slice(bytes);
        key.restamp(&mut packet);
        Beacon::open(&packet, &key)
    };
    assert!(changed(0, &[]).is_ok());
    assert_eq!(Beacon::open(&vec![0; 65_507], &key), Err(Refusal::Length(65_507)));
    assert_eq!(changed(0, b"GET "), Err(Refusal::Magic));
    assert_eq!(changed(4, &[0, 2]), Err(Refusal::Version(VERSION + 1)));
    assert_eq!(changed(6, &[9]), Err(Refusal::Kind(9)));
    assert_eq!(changed(7, &[1]), Err(Refusal::Kind(1)));
    assert_eq!(changed(6, &[2]), Err(Refusal::Kind(2)), "a question that names somebody");
    assert_eq!(changed(24, &[0; 8]), Err(Refusal::Address), "the id of nobody");
    let v4 = |ip: [u8; 4]| changed(48, &ip);
    assert_eq!(v4([0; 4]), Err(Refusal::Address));
    assert_eq!(v4([228, 8, 8, 8]), Err(Refusal::Address));
    assert_eq!(v4([255; 4]), Err(Refusal::Address));
    assert_eq!(changed(36, &[0; 16]), Err(Refusal::Address), "::");
    assert_eq!(changed(36, &[0xff]), Err(Refusal::Address), "ff00::/8");
    assert_eq!(changed(52, &[0, 0]), Err(Refusal::Address), "port 0");
}

#[test]
fn a_tag_made_with_the_key_for_something_else_fits_no_beacon() {
    let announce = seal(WALL, 1, Word::Announce(place(5, "10.0.0.5:5")));
    for purpose in ["circuit preamble", "circuit psk", "circuit key tag"] {
        let mut packet = announce;
        let (body, tag) = packet.split_at_mut(LENGTH - 32);
        tag.copy_from_slice(&mac(&key(1).derive(purpose), &[body]));
        assert_eq!(Beacon::open(&packet, &BeaconKey::of(&key(1))), Err(Refusal::Mac));
    }
}

#[test]
fn a_server_that_is_heard_is_found_and_reminded_of() {
    let mut announcer = announcer(1);
    let other = place(5, "10.0.0.5:5");
    assert_eq!(hear(&mut announcer, &seal(WALL, 1, Word::Announce(other))).0, Ok(()));
    assert_eq!(found(&mut announcer, 10), [other]);
    assert_eq!(hear(&mut announcer, &seal(WALL, 2, Word::Announce(other))).0, Ok(()));
    assert_eq!(found(&mut announcer, 10), []);
    let restarted = Place { incarnation: Incarnation { start: 2, ..other.incarnation }, ..other };
    assert_eq!(hear(&mut announcer, &seal(WALL, 3, Word::Announce(restarted))).0, Ok(()));
    assert_eq!(found(&mut announcer, 11), [restarted]);
    assert_eq!(announcer.counts(), Counts { accepted: 3, ..Counts::default() });
}

#[test]
fn what_is_repeated_or_of_another_time_is_dropped_and_counted() {
    let mut announcer = announcer(1);
    let other = Word::Announce(place(5, "10.0.0.5:5"));
    for (packet, why) in [
        (seal(WALL, 1, other), None),
        (seal(WALL, 1, other), Some(Refusal::Repeated)),
        (seal(WALL - 31 * SECOND, 2, other), Some(Refusal::Clock)),
        (seal(WALL + 31 * SECOND, 3, other), Some(Refusal::Clock)),
        (seal(WALL, 4, Word::Query(0)), None),
        (seal(WALL, 4, Word::Query(0)), Some(Refusal::Repeated)),
        (seal(WALL, 4, Word::Answer(place(5, "10.0.0.5:5"))), Some(Refusal::Unasked)),
        (seal(WALL, 5, Word::Announce(place(5, "127.0.0.1:5"))), Some(Refusal::Address)),
        (seal(WALL, 6, Word::Announce(place(1, "10.0.0.7:1"))), None), // itself, heard back
    ] {
        assert_eq!(hear(&mut announcer, &packet).0.err(), why);
    }
    assert_eq!(found(&mut announcer, 10), [place(5, "10.0.0.5:5")]);
    let counts = Counts { accepted: 3, malformed: 1, stale: 2, repeated: 3, ..Counts::default() };
    assert_eq!(announcer.counts(), counts);
}

#[test]
fn a_question_is_answered_once_to_who_asked_and_no_larger() {
    let mut announcer = announcer(1);
    let question = seal(WALL, 7, Word::Query(0));
    let (_, outputs) = hear(&mut announcer, &question);
    let [Output::Send { interface: 2, to, packet }] = outputs[..] else {
        panic!("{outputs:?}");
    };
    assert_eq!(to, "10.0.0.9:9".parse().unwrap());
    assert!(packet.len() <= question.len());
    let answer = Beacon::open(&packet, &BeaconKey::of(&key(1))).unwrap();
    assert_eq!(answer, Beacon { sent: WALL, nonce: 7, word: Word::Answer(place(1, "10.0.0.1:1")) });
    assert_eq!(hear(&mut announcer, &question), (Err(Refusal::Repeated), vec![]));
}

#[test]
fn a_stranger_learns_nothing() {
    let mut announcer = announcer(2);
    let (result, outputs) = hear(&mut announcer, &seal(WALL, 7, Word::Query(0)));
    assert_eq!((result, outputs), (Err(Refusal::Mac), vec![]));
    assert_eq!(hear(&mut announcer, &seal(WALL, 1, Word::Announce(place(5, "10.0.0.5:5")))).0, Err(Refusal::Mac));
    assert_eq!(found(&mut announcer, 12), []);
    assert_eq!(announcer.counts(), Counts { forged: 2, ..Counts::default() });
}

#[test]
fn answers_have_a_rate() {
    let mut announcer = announcer(1);
    let answered = (0..1000).filter(|&nonce| !hear(&mut announcer, &seal(WALL, nonce, Word::Query(0))).1.is_empty());
    assert_eq!(answered.count(), 32);
    assert_eq!(announcer.counts(), Counts { accepted: 32, limited: 968, ..Counts::default() });
}

#[test]
fn of_many_servers_some_answer_first_and_in_the_end_all() {
    let mut announcer = announcer(1);
    for number in 2..200 {
        let _ = hear(&mut announcer, &seal(WALL, number, Word::Announce(place(number, "10.0.0.5:5"))));
    }
    let mut answered = |nonce, round| {
        let later = Instant::ZERO + Duration::from_secs(nonce);
        let packet = seal(WALL, nonce, Word::Query(round));
        let _ = announcer.handle_datagram(later, WALL, 2, "10.0.0.9:9".parse().unwrap(), &packet);
        announcer.poll_output().is_some()
    };
    let first = (1000..2000).filter(|&nonce| answered(nonce, 0)).count();
    assert!((15..80).contains(&first), "{first} of a thousand, where 40 are expected");
    assert!((3000..3100).all(|nonce| answered(nonce, 3)));
}

#[test]
fn a_client_believes_only_answers_to_its_own_questions() {
    let deadline = Instant::ZERO + Duration::from_secs(5);
    let mut finder = Finder::new(group(), &key(1), Rng::from_number(3), Instant::ZERO, deadline);
    for interface in finder.interfaces(&[interface(1, "127.0.0.1"), interface(2, "10.0.0.9")]) {
        finder.handle_up(interface);
    }
    finder.handle_timeout(Instant::ZERO, WALL);
    let sent: Vec<Output> = core::iter::from_fn(|| finder.poll_output()).collect();
    let [Output::Send { interface: 1, packet, to }, Output::Send { interface: 2, packet: same, .. }] = sent[..] else {
        panic!("{sent:?}");
    };
    assert_eq!((to, packet), (group().addr(), same));
    let question = Beacon::open(&packet, &BeaconKey::of(&key(1))).unwrap();
    assert_eq!(question.word, Word::Query(0));
    let server = place(5, "10.0.0.5:5");
    // Whatever the clocks say.
    let answer = |nonce, place| seal(0, nonce, Word::Answer(place));
    for (packet, why) in [
        (answer(question.nonce ^ 1, server), Some(Refusal::Unasked)),
        (packet, Some(Refusal::Unasked)),
        (answer(question.nonce, place(5, "127.0.0.1:5")), Some(Refusal::Address)),
        (answer(question.nonce, server), None),
        (answer(question.nonce, server), None),
    ] {
        assert_eq!(finder.handle_datagram(2, &packet).err(), why);
    }
    assert_eq!(finder.poll_output(), Some(Output::Found(server)));
    assert_eq!(finder.poll_output(), None);
}

#[test]
fn a_client_asks_again_until_its_deadline() {
    let deadline = Instant::ZERO + Duration::from_secs(5);
    let mut finder = Finder::new(group(), &key(1), Rng::from_number(3), Instant::ZERO, deadline);
    finder.handle_up(interface(2, "10.0.0.9"));
    let (mut now, mut asked) = (Instant::ZERO, Vec::new());
    while !finder.is_over(now) {
        now = finder.poll_timeout();
        finder.handle_timeout(now, WALL);
        asked.extend(core::iter::from_fn(|| finder.poll_output()).map(|_| now));
    }
    assert_eq!(now, deadline);
    assert!((6..10).contains(&asked.len()), "{asked:?}");
    assert!(asked[1].since(asked[0]) < Duration::from_millis(300), "{asked:?}");
}

#[test]
fn an_interface_is_used_if_it_can_multicast_or_is_loopback() {
    let lo = interface(1, "127.0.0.1");
    let eth = interface(2, "10.0.0.1");
    let down = Interface { index: 3, up: false, ..eth };
    let ppp = Interface { index: 4, point_to_point: true, ..eth };
    let deaf = Interface { index: 5, multicast: false, ..eth };
    let (link, global) = (interface(2, "fe80::1"), interface(2, "fd00::1"));
    let second = interface(2, "10.0.0.2");
    let all = [lo, eth, down, ppp, deaf, link, global, second];
    assert_eq!(interface::usable(&all, group()), [lo, eth]);
    let v6 = "[ff02::8:8]:7711".parse().unwrap();
    assert_eq!(interface::usable(&all, v6), [global]);
    assert_eq!(interface::usable(&[link], v6), [link]);
    let many: Vec<Interface> = (0..100).map(|index| Interface { index, ..eth }).collect();
    assert_eq!(interface::usable(&many, group()).len(), interface::MAX_INTERFACES);
}

#[test]
fn a_server_names_on_each_interface_what_can_be_dialled_there() {
    let all = [interface(1, "127.0.0.1"), interface(1, "::1"), interface(2, "10.0.0.1"), interface(2, "fd00::1")];
    let named = |group: &str, listen: &str, advertise: Option<&str>| {
        let reach = Reach { listen: listen.parse().unwrap(), advertise: advertise.map(|addr| addr.parse().unwrap()) };
        let faces = reach.faces(&all, group.parse().unwrap());
        faces.iter().map(|face| (face.interface.index, face.addr.to_string())).collect::<Vec<_>>()
    };
    let v4 = "228.8.8.8:7711";
    let on = |index: u32, addr: &str| (index, addr.to_string());
    assert_eq!(named(v4, "127.0.0.1:7", None), [on(1, "127.0.0.1:7")]);
    assert_eq!(named(v4, "[::1]:7", None), [on(1, "[::1]:7")]);
    assert_eq!(named(v4, "10.0.0.1:7", None), [on(1, "10.0.0.1:7"), on(2, "10.0.0.1:7")]);
    assert_eq!(named(v4, "0.0.0.0:7", None), [on(1, "127.0.0.1:7"), on(2, "10.0.0.1:7")]);
    assert_eq!(named(v4, "[::]:7", None), [on(1, "127.0.0.1:7"), on(2, "10.0.0.1:7")]);
    assert_eq!(named("[ff02::1]:1", "[::]:7", None), [on(1, "[::1]:7"), on(2, "[fd00::1]:7")]);
    assert_eq!(named("[ff02::1]:1", "0.0.0.0:7", None), [on(1, "127.0.0.1:7"), on(2, "10.0.0.1:7")]);
    assert_eq!(named(v4, "0.0.0.0:7", Some("192.0.2.1:9")), [on(1, "192.0.2.1:9"), on(2, "192.0.2.1:9")]);
    assert_eq!(named(v4, "0.0.0.0:7", Some("127.0.0.1:9")), [on(1, "127.0.0.1:9")]);
    assert_eq!(named(v4, "10.0.0.1:7", Some("0.0.0.0:9")), []);
}

#[test]
fn a_link_local_address_keeps_its_interface() {
    let mut announcer = announcer(1);
    let _ = hear(&mut announcer, &seal(WALL, 1, Word::Announce(place(5, "[fe80::5]:5"))));
    assert_eq!(found(&mut announcer, 10), [place(5, "[fe80::5%2]:5")]);
}

#[test]
fn every_kind_of_bad_group_is_named() {
    for (text, why) in [
        ("", BadGroup::NoPort),
        ("228.8.8.8", BadGroup::NoPort),
        ("ff02::1", BadGroup::NoPort),
        ("[ff02::1]", BadGroup::Host),
        ("228.8.8.8:", BadGroup::Port),
        ("228.8.8.8:65536", BadGroup::Port),
        ("228.8.8.8:0", BadGroup::Port),
        ("there:7711", BadGroup::Host),
        ("10.0.0.1:7711", BadGroup::NotMulticast),
        ("255.255.255.255:7711", BadGroup::NotMulticast),
        ("[fd00::1]:7711", BadGroup::NotMulticast),
        ("[ff02::1%2]:7711", BadGroup::Interface),
    ] {
        assert_eq!(text.parse::<Group>(), Err(why), "{text}");
    }
    assert_eq!("[ff02::8:8]:7711".parse::<Group>().unwrap().on(3), "[ff02::8:8%3]:7711".parse().unwrap());
}
