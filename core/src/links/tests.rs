use alloc::{vec, vec::Vec};

use super::{handshakes::GIVES_WAY, *};
use crate::wire::{Load, Route, route::End};

const SOURCE: IpAddr = IpAddr::V4(core::net::Ipv4Addr::LOCALHOST);

fn links(id: u64) -> Links {
    Links::new(ServerId(id), Rng::from_number(id))
}

fn hello(id: ServerId) -> Hello {
    Hello { epoch: Epoch { start: 1, rise: 0 }, addr: addr(id.0), others: vec![] }
}

fn addr(id: u64) -> SocketAddr {
    (core::net::Ipv4Addr::new(10, 0, 0, id as u8), 7).into()
}

fn drain(links: &mut Links) -> Vec<Output> {
    core::iter::from_fn(|| links.poll_output()).filter(|output| !matches!(output, Output::Timer(..))).collect()
}

/// A client's link that is up, with nothing left to drain.
fn with_client(links: &mut Links) -> LinkId {
    let link = links.handle_incoming(Instant::ZERO, SOURCE).unwrap();
    links.handle_up(Instant::ZERO, link, Peer { role: Role::Client, id: ServerId(99) }, hello(links.me));
    drain(links);
    let hello = Frame::Hello(hello(links.me)).cost();
    links.handle_written(Instant::ZERO, link, hello);
    link
}

fn packet(bulk: bool, length: usize) -> Frame {
    let (host, via) = (ServerId(1), ServerId(2));
    Frame::Packet(
        Route { to: End::Client, bulk, hops: 0, host, via, session: 3 },
        Load::Encoded(vec![0; length].into()),
    )
}

/// Two servers that dialled each other at once, and the hellos on the way.
struct Meeting {
    ends: [Links; 2],
    /// Link numbers at each end, of the connection that each end dialled.
    dialled_by: [[LinkId; 2]; 2],
}

impl Meeting {
    fn new() -> Self {
        let mut ends = [links(1), links(2)];
        let mut dialled_by = [[LinkId(0); 2]; 2];
        for near in 0..2 {
            let far = 1 - near;
            let id = ends[far].me;
            ends[near].want(Instant::ZERO, id, addr(id.0));
            let Some(Output::Dial { link, .. }) = drain(&mut ends[near]).first().cloned() else { panic!() };
            dialled_by[near][near] = link;
            dialled_by[near][far] = ends[far].handle_incoming(Instant::ZERO, SOURCE).unwrap();
        }
        Self { ends, dialled_by }
    }

    fn up(&mut self, connection: usize) {
        for end in 0..2 {
            let peer = Peer { role: Role::Server, id: self.ends[1 - end].me };
            let hello = hello(self.ends[end].me);
            self.ends[end].handle_up(Instant::ZERO, self.dialled_by[connection][end], peer, hello);
        }
    }

    fn hello(&mut self, connection: usize, to: usize) {
        let hello = Frame::Hello(hello(self.ends[1 - to].me));
        self.ends[to].handle_frame(Instant::ZERO, self.dialled_by[connection][to], hello);
    }

    /// Closes at one end are heard of at the other.
    fn settle(&mut self) {
        for _ in 0..4 {
            for end in 0..2 {
                for output in drain(&mut self.ends[end]) {
                    let Output::Close { link, .. } = output else { continue };
                    let connection = (0..2).find(|&c| self.dialled_by[c][end] == link).unwrap();
                    self.ends[1 - end].handle_down(Instant::ZERO, self.dialled_by[connection][1 - end]);
                }
            }
        }
    }
}

#[test]
fn of_two_links_that_met_both_ends_keep_the_same() {
    // Every order in which the four hellos can arrive.
    let events = [(0, 0), (0, 1), (1, 0), (1, 1)];
    for order in 0..24_usize {
        let mut meeting = Meeting::new();
        meeting.up(0);
        meeting.up(1);
        let mut left = events.to_vec();
        let mut rest = order;
        while !left.is_empty() {
            let (connection, to) = left.remove(rest % left.len());
            rest /= left.len() + 1;
            meeting.hello(connection, to);
        }
        meeting.settle();
        let kept: Vec<_> = (0..2).map(|end| meeting.ends[end].to_server(ServerId(2 - end as u64))).collect();
        assert_eq!(kept, [Some(meeting.dialled_by[0][0]), Some(meeting.dialled_by[0][1])], "order {order}");
        assert!(meeting.ends.iter().all(|links| links.iter().count() == 1));
    }
}

#[test]
fn handshakes_are_limited_by_source_and_given_back_when_they_end() {
    let mut links = links(1);
    let first: Vec<LinkId> =
        (0..MAX_HANDSHAKES_PER_SOURCE).map(|_| links.handle_incoming(Instant::ZERO, SOURCE).unwrap()).collect();
    assert_eq!(links.handle_incoming(Instant::ZERO, SOURCE), None);
    let elsewhere = IpAddr::V4(core::net::Ipv4Addr::new(10, 9, 9, 9));
    assert!(links.handle_incoming(Instant::ZERO, elsewhere).is_some());
    links.handle_down(Instant::ZERO, first[0]);
    links.handle_up(Instant::ZERO, first[1], Peer { role: Role::Client, id: ServerId(5) }, hello(links.me));
    assert!(
        links.handle_incoming(Instant::ZERO, SOURCE).is_some()
            && links.handle_incoming(Instant::ZERO, SOURCE).is_some()
    );
    assert_eq!(links.handle_incoming(Instant::ZERO, SOURCE), None);
}

#[test]
fn what_is_short_goes_before_streams_and_the_driver_never_has_too_much() {
    let mut links = links(1);
    let link = with_client(&mut links);
    for _ in 0..20 {
        links.send(Instant::ZERO, link, packet(true, 60_000));
    }
    let with_driver: usize = drain(&mut links)
        .iter()
        .map(|output| match output {
            Output::Send { frame, .. } => frame.cost(),
            other => panic!("{other:?}"),
        })
        .sum();
    assert!((WINDOW..WINDOW + 61_000).contains(&with_driver), "{with_driver}");
    links.send(Instant::ZERO, link, packet(false, 10));
    assert_eq!(drain(&mut links), []);
    links.handle_written(Instant::ZERO, link, with_driver);
    assert_eq!(drain(&mut links)[0], Output::Send { link, frame: packet(false, 10) });
}

#[test]
fn who_reads_too_slowly_is_told_so() {
    let mut links = links(1);
    let link = with_client(&mut links);
    let mut outputs = Vec::new();
    for _ in 0..MAX_QUEUED / 60_000 + 10 {
        links.send(Instant::ZERO, link, packet(true, 60_000));
        outputs.extend(drain(&mut links));
    }
    assert!(outputs.contains(&Output::Close { link, reason: CloseReason::Slow }));
}

#[test]
fn a_silent_link_is_asked_and_then_given_up() {
    let mut links = links(1);
    let link = with_client(&mut links);
    let mut now = Instant::ZERO;
    let mut said = Vec::new();
    while now < Instant::ZERO + Duration::from_secs(60) {
        now += Duration::from_secs(1);
        links.handle_timeout(now, Timer::Check(link));
        said.extend(drain(&mut links).into_iter().map(|output| (now, output)));
    }
    let pings = said.iter().filter(|(_, output)| matches!(output, Output::Send { frame: Frame::Ping(_), .. })).count();
    assert!(pings > 0);
    let closed = said.iter().find(|(_, output)| matches!(output, Output::Close { .. })).unwrap().0;
    assert!(closed.since(Instant::ZERO) <= SILENT_AFTER + DEAD_AFTER + Duration::from_secs(1));
}

/// Twenty seconds of a peer that says nothing, in which the socket takes 10 kB a
/// second of what is queued: whether the link is given up.
fn is_given_up(queued: usize) -> bool {
    let mut links = links(1);
    let link = with_client(&mut links);
    let mut now = Instant::ZERO;
    for _ in 0..queued {
        links.send(now, link, packet(true, 10_000));
    }
    let cost = packet(true, 10_000).cost();
    for _ in 0..20 {
        now += Duration::from_secs(1);
        links.handle_written(now, link, cost);
        links.handle_timeout(now, Timer::Check(link));
    }
    drain(&mut links).iter().any(|output| matches!(output, Output::Close { .. }))
}

#[test]
fn handshakes_that_come_to_nothing_give_way() {
    let mut links = links(1);
    let silent: Vec<LinkId> =
        (0..MAX_HANDSHAKES_PER_SOURCE).map(|_| links.handle_incoming(Instant::ZERO, SOURCE).unwrap()).collect();
    let later = Instant::ZERO + GIVES_WAY;
    assert_eq!(
        links.handle_incoming(Instant::ZERO + (GIVES_WAY - Duration::from_millis(1)), SOURCE),
        None,
        "they may be honest"
    );
    for old in &silent[..100] {
        assert!(links.handle_incoming(later, SOURCE).is_some());
        assert_eq!(drain(&mut links)[0], Output::Close { link: *old, reason: CloseReason::Slow });
    }
    // From many addresses it is the same.
    for number in 0..MAX_HANDSHAKES - MAX_HANDSHAKES_PER_SOURCE {
        let [high, low] = (number as u16).to_be_bytes();
        assert!(links.handle_incoming(later, core::net::Ipv4Addr::new(10, 8, high, low).into()).is_some());
    }
    let newcomer = core::net::Ipv4Addr::new(10, 9, 9, 9).into();
    assert!(links.handle_incoming(later, newcomer).is_some());
    assert_eq!(drain(&mut links)[0], Output::Close { link: silent[100], reason: CloseReason::Slow });
}

#[test]
fn a_slow_link_is_not_a_silent_one() {
    assert!(!is_given_up(100), "there is more to be written all the time");
    assert!(is_given_up(1));
    assert!(is_given_up(5), "all was written long ago");
}

#[test]
fn an_unknown_frame_before_the_hello_breaks_the_protocol() {
    let mut links = links(1);
    let link = links.handle_incoming(Instant::ZERO, SOURCE).unwrap();
    links.handle_up(Instant::ZERO, link, Peer { role: Role::Server, id: ServerId(5) }, hello(links.me));
    drain(&mut links);
    links.handle_frame(Instant::ZERO, link, packet(false, 1));
    assert_eq!(
        drain(&mut links),
        [Output::Close { link, reason: CloseReason::Protocol }, Output::Failed(ServerId(5), Instant::ZERO)][..1]
    );
    links.handle_frame(Instant::ZERO, link, packet(false, 1));
    assert_eq!(drain(&mut links), [], "what comes after is ignored");
}

#[test]
fn a_server_that_cannot_be_dialled_is_not_dialled_at_once_again() {
    let mut links = links(1);
    links.want(Instant::ZERO, ServerId(2), addr(2));
    let Some(Output::Dial { link, .. }) = drain(&mut links).first().cloned() else { panic!() };
    links.want(Instant::ZERO, ServerId(2), addr(2));
    assert_eq!(drain(&mut links), [], "one dial at a time");
    links.handle_down(Instant::ZERO, link);
    let target = Target { addr: addr(2), expect: Some(ServerId(2)) };
    let unreached = Output::Unreached(target, Instant::ZERO);
    assert_eq!(drain(&mut links), [Output::Failed(ServerId(2), Instant::ZERO), unreached]);
    links.reach(Instant::ZERO, target);
    links.reach(Instant::ZERO, target);
    assert!(matches!(drain(&mut links)[..], [Output::Dial { .. }]), "one for each target");
    links.reach(Instant::ZERO, Target { expect: None, ..target });
    assert!(matches!(drain(&mut links)[..], [Output::Dial { .. }]), "and this is another");
    links.want(Instant::ZERO, ServerId(2), addr(2));
    assert_eq!(drain(&mut links), [Output::Failed(ServerId(2), Instant::ZERO)]);
    links.want(Instant::ZERO + BACKOFF * 2, ServerId(2), addr(2));
    assert!(matches!(drain(&mut links)[..], [Output::Dial { .. }]));
}

/// A server that was dialled just now, and could not be.
fn undialled() -> Links {
    let mut links = links(1);
    links.want(Instant::ZERO, ServerId(2), addr(2));
    let Some(Output::Dial { link, .. }) = drain(&mut links).first().cloned() else { panic!() };
    links.handle_down(Instant::ZERO, link);
    drain(&mut links);
    links
}

fn is_dialled(links: &mut Links) -> bool {
    links.want(Instant::ZERO, ServerId(2), addr(2));
    matches!(drain(links)[..], [Output::Dial { .. }])
}

#[test]
fn a_server_that_began_anew_is_dialled_at_once() {
    let mut links = undialled();
    assert!(!is_dialled(&mut links));
    links.forgive(ServerId(2));
    assert!(is_dialled(&mut links));
}

#[test]
fn when_it_was_this_end_everybody_is_dialled_at_once() {
    let mut links = undialled();
    links.forgive_all();
    assert!(is_dialled(&mut links));
}

#[test]
fn each_dial_of_a_server_failed_as_of_when_it_began() {
    let mut links = links(1);
    let (first, later) = (Instant::ZERO, Instant::ZERO + Duration::from_secs(1));
    links.want(first, ServerId(2), addr(2));
    let target = Target { addr: addr(2), expect: Some(ServerId(2)) };
    links.reach(later, Target { addr: addr(3), ..target });
    let dials: Vec<LinkId> = drain(&mut links)
        .into_iter()
        .map(|output| match output {
            Output::Dial { link, .. } => link,
            other => panic!("{other:?}"),
        })
        .collect();
    links.handle_down(later, dials[1]);
    assert_eq!(drain(&mut links)[0], Output::Failed(ServerId(2), later));
    links.want(later + MAX_BACKOFF, ServerId(2), addr(2));
    assert_eq!(drain(&mut links), [], "the other is under way");
    links.handle_down(later, dials[0]);
    assert_eq!(drain(&mut links)[0], Output::Failed(ServerId(2), first));
}

#[test]
fn a_server_that_was_here_can_be_dialled_at_once_however_often_it_could_not_before() {
    let mut links = undialled();
    let came = links.handle_incoming(Instant::ZERO, SOURCE).unwrap();
    links.handle_up(Instant::ZERO, came, Peer { role: Role::Server, id: ServerId(2) }, hello(links.me));
    links.handle_frame(Instant::ZERO, came, Frame::Hello(hello(ServerId(2))));
    links.handle_down(Instant::ZERO, came);
    drain(&mut links);
    assert!(is_dialled(&mut links));
}

#[test]
fn servers_that_were_dialled_long_ago_are_forgotten_once_there_are_many() {
    let (mut links, mut now) = (links(1), Instant::ZERO);
    for id in 0..2 * MAX_LINKS as u64 {
        links.want(now, ServerId(100 + id), addr(7));
        let link = LinkId(links.next);
        links.handle_down(now, link);
        assert!(drain(&mut links).contains(&Output::Failed(ServerId(100 + id), now)));
        now += MAX_BACKOFF;
    }
    assert!(links.dials.len() <= MAX_LINKS);
    links.want(now, ServerId(100), addr(7));
    assert!(matches!(drain(&mut links)[..], [Output::Dial { .. }]), "and they can be dialled again");
}
