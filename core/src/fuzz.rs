//! The bodies of the fuzz targets: any input, no panic, and what parses has
//! one spelling. They live here so that tests can run them too.

mod names;
mod node;

use alloc::vec::Vec;
use core::net::SocketAddr;

use bytes::Bytes;

use crate::{
    Incarnation, Instant, Rng, ServerId,
    discovery::{self, Announcer, BeaconKey, Config, Face, Finder, Group, Interface, Output, Reach, beacon::Beacon},
    session::{ClusterKey, Credentials, Event, Role, Session, StaticKey},
    wire::Frame,
};

#[cfg(test)]
pub(crate) use names::check_replies;
pub use names::names;
pub use node::node;

/// Bytes from a stranger, from a peer in the middle of the handshake, from one
/// whose records are damaged, and as the plaintext of a record.
pub fn session(input: &[u8]) {
    let Some((&mode, rest)) = input.split_first() else {
        return;
    };
    match mode % 4 {
        0 => {
            let (_, mut acceptor) = pair();
            feed(&mut acceptor, rest);
        }
        1 => {
            let (mut dialler, mut acceptor) = pair();
            carry(&mut dialler, &mut acceptor);
            carry(&mut acceptor, &mut dialler);
            feed(&mut acceptor, rest);
            feed(&mut dialler, rest);
        }
        2 => damaged_record(rest),
        _ => frames(rest),
    }
}

/// A valid record with one byte of it changed never gives a frame.
fn damaged_record(input: &[u8]) {
    let Some((&place, body)) = input.split_first() else {
        return;
    };
    let (mut dialler, mut acceptor) = pair();
    carry(&mut dialler, &mut acceptor);
    carry(&mut acceptor, &mut dialler);
    carry(&mut dialler, &mut acceptor);
    drain(&mut acceptor);
    dialler.send(&Frame::Ping(body.len() as u64));
    let mut record = dialler.transmit().to_vec();
    let count = record.len();
    if let Some(byte) = record.get_mut(usize::from(place) % count) {
        *byte ^= body.first().copied().unwrap_or(0) | 1;
    }
    feed(&mut acceptor, &record);
    assert!(!drain(&mut acceptor).iter().any(|event| matches!(event, Event::Frame(_))));
}

/// What parses as frames is exactly what those frames are written as.
fn frames(record: &[u8]) {
    let mut rest = Bytes::copy_from_slice(record);
    let mut written = Vec::new();
    while let Ok(frame) = Frame::decode(&mut rest) {
        frame.encode(&mut written);
    }
    assert!(record.starts_with(&written));
}

/// Datagrams from a stranger and from one who has the key, to a server and to a
/// client: no panic, one spelling, and no answer larger than its question.
pub fn beacon(input: &[u8]) {
    let Some((&mode, rest)) = input.split_first() else {
        return;
    };
    let key = ClusterKey::public();
    let mut packet = rest.to_vec();
    if mode & 1 == 1 {
        packet.resize(discovery::LENGTH, 0);
        BeaconKey::of(&key).restamp(&mut packet);
    }
    if let Ok(beacon) = Beacon::open(&packet, &BeaconKey::of(&key)) {
        assert_eq!(packet, beacon.seal(&BeaconKey::of(&key)));
    }
    let Ok(group) = Group::new(SocketAddr::from(([228, 8, 8, 8], 7711))) else {
        return;
    };
    let from = SocketAddr::from(([10, 0, 0, 1], 1));
    let (addr, loopback) = (from.ip(), mode & 2 == 2);
    let interface = Interface { index: 1, addr, up: true, multicast: true, loopback, point_to_point: false };
    let reach = Reach { listen: from, advertise: None };
    let own = Incarnation { id: ServerId(1), start: 1 };
    let mut announcer = Announcer::new(Config { own, reach, group }, &key, Rng::from_number(1));
    announcer.handle_up(Instant::ZERO, Face { interface, addr: from });
    // Its own time, so that what it says is looked at.
    let wall = packet.get(8..16).and_then(|sent| sent.try_into().ok()).map_or(0, u64::from_be_bytes);
    let heard = announcer.handle_datagram(Instant::ZERO, wall, 1, from, &packet);
    let answers = core::iter::from_fn(|| announcer.poll_output());
    for answer in answers {
        assert!(heard.is_ok() && matches!(answer, Output::Send { packet: answer, .. } if answer.len() <= packet.len()));
    }
    let later = Instant::from_micros(1_000_000);
    let mut finder = Finder::new(group, &key, Rng::from_number(1), Instant::ZERO, later);
    finder.handle_up(interface);
    assert!(finder.handle_datagram(1, &packet).is_err(), "it asked nothing");
}

fn pair() -> (Session, Session) {
    let rng = Rng::from_number(1);
    let credentials = |label| Credentials::new(&ClusterKey::public(), StaticKey::generate(&mut rng.fork(label)));
    let dialler = Session::dial(&credentials("a"), Role::Server, None, &rng.fork("c"), Instant::ZERO);
    let acceptor = Session::accept(&credentials("b"), &rng.fork("d"), Instant::ZERO);
    (dialler, acceptor)
}

fn carry(from: &mut Session, to: &mut Session) {
    let bytes = from.transmit().to_vec();
    from.handle_written(bytes.len());
    feed(to, &bytes);
}

fn feed(session: &mut Session, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let space = session.read_space();
        let count = space.len().min(bytes.len());
        let (now, later) = bytes.split_at(count);
        for (to, from) in space.iter_mut().zip(now) {
            *to = *from;
        }
        session.handle_read(count);
        bytes = later;
    }
    drain(session);
}

fn drain(session: &mut Session) -> Vec<Event> {
    core::iter::from_fn(|| session.poll_event()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_bodies_hold_on_any_input(input in prop::collection::vec(any::<u8>(), 0..400)) {
            super::session(&input);
            super::beacon(&input);
            super::node(&input);
            super::names(&input);
        }
    }
}
