//! The sockets of name servers: packets go to the core's pure function from the
//! records, and what that says goes back. No packet passes through the node, and
//! each name server has tasks of its own.

mod datagram;
mod tcp;
mod udp;

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use circuit_core::{
    dns::Zone,
    effect::{EffectEvent, Names, NamesEvent},
    elements::ElementId,
};
use tokio::{
    net::{TcpListener, UdpSocket},
    sync::mpsc,
    task::JoinHandle,
};

/// How many ports are tried that are free for UDP and may not be for TCP.
const ATTEMPTS: usize = 32;

/// The records that are answered from, as they are now.
#[derive(Clone, Debug, Default)]
struct Records(Arc<Mutex<Arc<Zone>>>);

impl Records {
    fn set(&self, zone: Arc<Zone>) {
        let before = std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), zone);
        drop(before); // outside of the lock: it may be large
    }

    fn get(&self) -> Arc<Zone> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The name servers of one server.
#[derive(Debug)]
pub(crate) struct NameServers {
    served: HashMap<ElementId, Served>,
    events: mpsc::Sender<EffectEvent>,
}

/// One of them. Its sockets are closed when this is dropped.
#[derive(Debug)]
struct Served {
    records: Records,
    task: JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl NameServers {
    pub(crate) fn new(events: mpsc::Sender<EffectEvent>) -> Self {
        Self { served: HashMap::new(), events }
    }

    pub(crate) fn perform(&mut self, id: ElementId, what: Names) {
        match what {
            Names::Serve(addr) => {
                let (records, events) = (Records::default(), self.events.clone());
                let task = tokio::spawn(serve(id, bind(addr), records.clone(), events));
                self.served.insert(id, Served { records, task });
            }
            Names::Answer(zone) => {
                if let Some(served) = self.served.get(&id) {
                    served.records.set(zone);
                }
            }
            Names::Close => drop(self.served.remove(&id)),
        }
    }
}

/// Both sockets, at one port.
fn bind(addr: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    for attempt in 1.. {
        let udp = std::net::UdpSocket::bind(addr)?;
        match std::net::TcpListener::bind(udp.local_addr()?) {
            // Of any port it may be another that is free for both.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && addr.port() == 0 && attempt < ATTEMPTS => {}
            tcp => {
                let tcp = tcp?;
                datagram::tell_apart(&udp)?;
                udp.set_nonblocking(true)?;
                tcp.set_nonblocking(true)?;
                return Ok((UdpSocket::from_std(udp)?, TcpListener::from_std(tcp)?));
            }
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

/// Says what came of binding, and answers for as long as it is let.
async fn serve(
    id: ElementId,
    bound: io::Result<(UdpSocket, TcpListener)>,
    records: Records,
    events: mpsc::Sender<EffectEvent>,
) {
    let event = match bound.as_ref().map_err(errno).and_then(|(udp, _)| udp.local_addr().map_err(|e| errno(&e))) {
        Ok(addr) => NamesEvent::Serving(addr),
        Err(errno) => NamesEvent::Failed { errno },
    };
    // If nobody listens, the server has ended.
    let _ = events.send(EffectEvent::Names { id, event }).await;
    if let Ok((udp, tcp)) = bound {
        tokio::join!(udp::answer(&udp, &records), tcp::answer(&tcp, &records));
    }
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(rustix::io::Errno::INVAL.raw_os_error())
}
