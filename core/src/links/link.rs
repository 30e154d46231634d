//! One link and what waits on it.

use alloc::collections::VecDeque;
use core::net::{IpAddr, SocketAddr};

use super::{LinkId, Other, Output, WINDOW};
use crate::{Instant, ServerId, wire::Frame};

#[derive(Debug)]
pub(super) struct Link {
    pub(super) stage: Stage,
    /// When it began.
    pub(super) since: Instant,
    /// Whether this end dialled.
    pub(super) dialled: bool,
    /// When a packet last came.
    pub(super) used: Instant,
    /// Since when something was sent and nothing heard.
    pub(super) awaiting: Option<Instant>,
    pub(super) heard: Instant,
    /// When the link is looked at next.
    pub(super) check_at: Instant,
    /// What is short.
    urgent: VecDeque<Frame>,
    /// Streams.
    bulk: VecDeque<Frame>,
    /// Bytes in the two queues.
    pub(super) queued: usize,
    /// Bytes that the driver has and has not written.
    pub(super) with_driver: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Stage {
    /// Somebody connected; the handshake is under way.
    Incoming { source: IpAddr },
    /// A connection or its handshake is under way.
    Dialling { id: Option<ServerId>, addr: SocketAddr },
    /// The handshake with a server is done; its hello is awaited.
    /// `dialled` is where, if this end did.
    Greeting { peer: ServerId, dialled: Option<SocketAddr> },
    /// It can be used.
    Up(Other),
}

impl Link {
    pub(super) fn new(since: Instant, stage: Stage) -> Self {
        Self {
            stage,
            since,
            dialled: false,
            used: Instant::ZERO,
            awaiting: None,
            heard: Instant::ZERO,
            check_at: Instant::NEVER,
            urgent: VecDeque::new(),
            bulk: VecDeque::new(),
            queued: 0,
            with_driver: 0,
        }
    }

    pub(super) const fn other(&self) -> Option<Other> {
        match self.stage {
            Stage::Up(other) => Some(other),
            _ => None,
        }
    }

    pub(super) const fn other_server(&self) -> Option<ServerId> {
        match self.stage {
            Stage::Dialling { id, .. } => id,
            Stage::Greeting { peer, .. } => Some(peer),
            Stage::Up(Other::Server(id, _)) => Some(id),
            Stage::Up(Other::Client(_)) | Stage::Incoming { .. } => None,
        }
    }

    /// Puts a frame behind the others of its class.
    pub(super) fn push(&mut self, frame: Frame) {
        self.queued += frame.cost();
        match &frame {
            Frame::Packet(route, _) if route.bulk => self.bulk.push_back(frame),
            _ => self.urgent.push_back(frame),
        }
    }

    /// Hands frames to the driver for as long as it may have more.
    pub(super) fn pump(&mut self, link: LinkId, out: &mut VecDeque<Output>) {
        while self.with_driver < WINDOW {
            let Some(frame) = self.urgent.pop_front().or_else(|| self.bulk.pop_front()) else {
                return;
            };
            let cost = frame.cost();
            self.queued -= cost;
            self.with_driver += cost;
            out.push_back(Output::Send { link, frame });
        }
    }
}
