//! A whole server, and a peer that says anything.

use alloc::vec::Vec;
use core::{net::Ipv4Addr, time::Duration};

use bytes::Bytes;

use crate::{
    Epoch, Instant, ServerId,
    node::{Config, Input, Node, Output},
    session::{Peer, Role},
    wire::{Frame, Hello},
};

/// A server that another one, which has the key, tells anything at all: of
/// membership, or any frame. Nobody whom it dials is there.
pub fn node(input: &[u8]) {
    let mut node = some_node();
    let Some(link) = node.handle_incoming(Instant::ZERO, Ipv4Addr::LOCALHOST.into()) else {
        return;
    };
    let (mut now, id) = (Instant::ZERO, ServerId(2));
    tell(&mut node, now, Input::LinkUp { link, peer: Peer { role: Role::Server, id } });
    let hello = Hello { epoch: Epoch { start: 1, rise: 0 }, addr: (Ipv4Addr::LOCALHOST, 2).into(), others: Vec::new() };
    tell(&mut node, now, Input::Frame { link, frame: Frame::Hello(hello) });
    let mut rest = input;
    while let [step, length, more @ ..] = rest {
        let (body, later) = more.split_at(usize::from(*length).min(more.len()));
        rest = later;
        now += Duration::from_millis(u64::from(*step) * 40);
        node.handle_timeout(now);
        settle(&mut node, now);
        let mut body = Bytes::copy_from_slice(body);
        let frame = if step % 2 == 0 { Some(Frame::Member(body)) } else { Frame::decode(&mut body).ok() };
        if let Some(frame) = frame {
            tell(&mut node, now, Input::Frame { link, frame });
        }
    }
    let view = node.membership().view();
    assert!(view.live(node.id()).is_some(), "nobody can talk a server out of being there");
    assert_eq!(view.all_live().count(), view.len());
}

fn some_node() -> Node {
    let addr = (Ipv4Addr::LOCALHOST, 1).into();
    let (seeds, kept) = Default::default();
    let config = Config {
        id: ServerId(1),
        start: 1,
        addr,
        listen: addr,
        wall: 0,
        seeds,
        keeps_log: false,
        containers: None,
        kept,
    };
    Node::new(config, [7; 32])
}

fn tell(node: &mut Node, now: Instant, input: Input) {
    node.handle_input(now, input);
    settle(node, now);
}

/// Does what a node wants, which comes to nothing.
fn settle(node: &mut Node, now: Instant) {
    let mut failed = Vec::new();
    loop {
        while let Some(output) = node.poll_output() {
            if let Output::Dial { link, .. } = output {
                failed.push(link);
            }
        }
        let Some(link) = failed.pop() else {
            return;
        };
        node.handle_input(now, Input::LinkDown { link });
    }
}
