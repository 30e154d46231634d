//! One socket and one task for each interface, so that none waits for another.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
};

use circuit_core::discovery::{Group, Interface, LENGTH};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::Net;

/// Datagrams that wait for the state machine before sockets wait.
const INBOX: usize = 256;
/// Datagrams that wait for a socket before they are dropped.
const OUTBOX: usize = 64;

/// What comes from the sockets.
pub(super) enum News {
    /// A datagram; one that is too long for a beacon is cut off where that
    /// shows.
    Heard { interface: u32, from: SocketAddr, packet: Vec<u8> },
    /// A socket is of no use any more.
    Down(u32),
}

type Order = (SocketAddr, [u8; LENGTH]);

struct Face {
    interface: Interface,
    orders: mpsc::Sender<Order>,
    task: JoinHandle<()>,
}

impl Drop for Face {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The interfaces that are used now.
pub(super) struct Faces<N> {
    net: N,
    group: Group,
    member: bool,
    open: BTreeMap<u32, Face>,
    /// Interfaces that could not be used: said once each.
    refused: BTreeSet<u32>,
    inbox: mpsc::Receiver<News>,
    to_inbox: mpsc::Sender<News>,
}

impl<N: Net> Faces<N> {
    /// None yet; `member` tells whether the group is listened to.
    pub(super) fn new(net: N, group: Group, member: bool) -> Self {
        let (to_inbox, inbox) = mpsc::channel(INBOX);
        Self { net, group, member, open: BTreeMap::new(), refused: BTreeSet::new(), inbox, to_inbox }
    }

    /// The addresses of this host's interfaces.
    pub(super) fn interfaces(&self) -> Vec<Interface> {
        self.net.interfaces().unwrap_or_else(|error| {
            tracing::warn!("discovery cannot see the interfaces of this host: {error}");
            Vec::new()
        })
    }

    /// Opens what is wanted and not open, closes what is open and not wanted,
    /// and says which were closed.
    pub(super) fn set(&mut self, wanted: &[Interface]) -> Vec<u32> {
        let is_wanted = |face: &Face| wanted.contains(&face.interface) && !face.task.is_finished();
        let gone: Vec<u32> = self.open.iter().filter(|(_, face)| !is_wanted(face)).map(|(&index, _)| index).collect();
        for index in &gone {
            self.open.remove(index);
        }
        for interface in wanted {
            if self.has(interface.index) {
                continue;
            }
            match self.net.datagram(self.group, interface, self.member) {
                Ok(socket) => self.start(*interface, socket),
                Err(error) => self.refuse(interface, &error),
            }
        }
        gone
    }

    fn refuse(&mut self, interface: &Interface, error: &io::Error) {
        if self.refused.insert(interface.index) {
            let (group, addr) = (self.group, interface.addr);
            tracing::warn!("discovery at {group} does without the interface of {addr}: {error}");
        }
    }

    fn start(&mut self, interface: Interface, socket: N::Datagram) {
        self.refused.remove(&interface.index);
        let (orders, to_send) = mpsc::channel(OUTBOX);
        let task = tokio::spawn(run::<N>(socket, interface, to_send, self.to_inbox.clone()));
        self.open.insert(interface.index, Face { interface, orders, task });
    }

    /// Whether an interface is open.
    pub(super) fn has(&self, index: u32) -> bool {
        self.open.contains_key(&index)
    }

    /// Whether none is.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Sends a datagram, if that can be done soon.
    pub(super) fn send(&self, index: u32, to: SocketAddr, packet: [u8; LENGTH]) {
        if let Some(face) = self.open.get(&index) {
            // A full queue loses it, as the network may.
            let _ = face.orders.try_send((to, packet));
        }
    }

    /// The next thing that came from a socket.
    pub(super) async fn next(&mut self) -> News {
        match self.inbox.recv().await {
            Some(news) => news,
            None => std::future::pending().await, // a sender lives as long as this
        }
    }
}

/// Runs a socket until nobody has orders for it, or it fails.
async fn run<N: Net>(
    socket: N::Datagram,
    interface: Interface,
    mut orders: mpsc::Receiver<Order>,
    inbox: mpsc::Sender<News>,
) {
    let mut buffer = [0; LENGTH + 1];
    let mut complained = false;
    loop {
        let news = tokio::select! {
            biased;
            order = orders.recv() => {
                let Some((to, packet)) = order else { return };
                match N::send(&socket, &packet, to).await {
                    Ok(()) => complained = false,
                    Err(error) if !complained => {
                        complained = true;
                        tracing::warn!("discovery cannot send to {to} by the interface of {}: {error}", interface.addr);
                    }
                    Err(_) => {}
                }
                continue;
            }
            received = N::receive(&socket, &mut buffer) => match received {
                Ok((length, from)) => {
                    let packet = buffer.get(..length).unwrap_or(&buffer).to_vec();
                    News::Heard { interface: interface.index, from, packet }
                }
                Err(error) => {
                    tracing::warn!("discovery lost the interface of {}: {error}", interface.addr);
                    let _ = inbox.send(News::Down(interface.index)).await;
                    return;
                }
            },
        };
        if inbox.send(news).await.is_err() {
            return;
        }
    }
}
