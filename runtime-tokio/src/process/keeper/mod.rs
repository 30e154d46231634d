//! Processes that outlive their server: each has a keeper, a small process that
//! starts and watches it as the server would, and is talked to over a socket.
//!
//! What is here is the keeper's side. It goes on when its server is lost, and
//! waits for the next, which hears first how things are ([`Kept`]) and then all
//! that comes of it. It ends when its element is removed and the process has
//! ended. If it is killed its process is, by the same means by which others are
//! with their server.

mod link;
mod server;
#[cfg(test)]
mod tests;

use std::{
    fs, io,
    os::{
        fd::{AsFd, FromRawFd, OwnedFd},
        unix::net::UnixListener as StdListener,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use circuit_core::{
    effect::{Effect, EffectEvent, ProcessEvent, Timed},
    elements::{ElementId, Kept},
};
use tokio::{net::UnixListener, runtime::Builder, sync::mpsc, time};

use super::{Order, Processes};
use crate::outside::wall_clock;
use link::{FromKeeper, Link, ToKeeper};
pub(super) use server::{Carrier, Known, Place, begin, carry, find, start};

/// Its one process.
const ID: ElementId = ElementId(0);
/// Events that may wait before the process's task waits.
const EVENTS: usize = 16;
/// The name of the socket in a keeper's folder.
const SOCKET: &str = "socket";

/// Keeps a process for a server, which starts this program for that alone, with
/// a listening socket as standard input: see [`crate::ServerConfig::keeper`].
///
/// # Errors
/// Standard input is no such socket, or what the operating system says.
pub fn keep(folder: &Path) -> io::Result<()> {
    // SAFETY: nobody else in this program has to do with its standard input.
    let listener = StdListener::from(unsafe { OwnedFd::from_raw_fd(0) });
    if !rustix::net::sockopt::socket_acceptconn(listener.as_fd()).unwrap_or(false) {
        std::mem::forget(listener); // whatever it is, it is not for us to close
        return Err(io::Error::other("only a server starts a keeper: standard input is not its socket"));
    }
    // It was started as processes are, and is not to die as they do.
    rustix::process::set_parent_process_death_signal(None)?;
    listener.set_nonblocking(true)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let result = runtime
        .block_on(async { run(Door { listener: UnixListener::from_std(listener)?, folder: folder.to_owned() }).await });
    // What is left to read on threads nobody waits for.
    runtime.shutdown_background();
    result
}

/// Where servers find it. With this goes the folder, once: then its number is free,
/// and may be another keeper's.
struct Door {
    listener: UnixListener,
    folder: PathBuf,
}

impl Drop for Door {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.folder.join(SOCKET));
        let _ = fs::remove_dir(&self.folder);
    }
}

async fn run(door: Door) -> io::Result<()> {
    let mut link = Link::new(door.listener.accept().await?.0);
    link.greet(None);
    let Some(ToKeeper::Start(at, spec)) = link.next().await else {
        return Ok(()); // the server was lost before it had said what to start
    };
    let (sender, mut events) = mpsc::channel(EVENTS);
    let mut processes = Processes::new(sender);
    processes.store_in(door.folder.clone());
    processes.perform(Effect::Spawn { id: ID, spec: Box::new(spec.clone()) });
    let mut kept = Kept::new(at, spec);
    let first = heard(events.recv().await, &mut kept);
    let orders = processes.orders(ID);
    let (Some(first), Some(orders)) = (first, orders) else {
        return Ok(());
    };
    let runs = kept.started > 0;
    link.push(&FromKeeper::Event(first));
    if !runs {
        link.flush().await;
        return Ok(());
    }
    Keeper { door: Some(door), link: Some(link), kept, orders, events }.run().await;
    // With this ends the thread on which the process was started.
    drop(processes);
    Ok(())
}

/// A keeper whose process was started.
struct Keeper {
    /// Nothing once no server is to find it any more.
    door: Option<Door>,
    /// The server, if there is one.
    link: Option<Link>,
    kept: Kept,
    orders: mpsc::UnboundedSender<Order>,
    events: mpsc::Receiver<EffectEvent>,
}

impl Keeper {
    /// Runs until nothing is left of the process that anybody wants.
    async fn run(mut self) {
        loop {
            let room = self.link.as_ref().is_none_or(Link::has_room);
            tokio::select! {
                biased;
                link = accept(self.door.as_ref()) => self.meet(link).await,
                message = next(self.link.as_mut()) => match message {
                    Some(ToKeeper::Order(order)) => self.obey(order),
                    Some(ToKeeper::Start(..)) | None => self.link = None,
                },
                event = self.events.recv(), if room => {
                    let Some(event) = heard(event, &mut self.kept) else { return };
                    let last = matches!(event, ProcessEvent::Killed { .. });
                    if let Some(link) = &mut self.link {
                        link.push(&FromKeeper::Event(event));
                        if last {
                            link.flush().await;
                        }
                    }
                    if last {
                        return;
                    }
                }
                () = self.orders.closed() => return,
            }
        }
    }

    /// A server has come; the one before is gone, as a server holds its folder
    /// for itself.
    async fn meet(&mut self, link: io::Result<Link>) {
        match link {
            Ok(mut link) => {
                link.greet(Some(&self.kept));
                self.link = Some(link);
            }
            Err(_) => time::sleep(Duration::from_millis(50)).await, // no descriptor is free
        }
    }

    fn obey(&mut self, order: Order) {
        match &order {
            Order::Write(bytes) if !self.kept.closed => self.kept.unwritten += bytes.len() as u64,
            Order::Read(of, until) => self.kept.output(*of).until = *until,
            Order::Forget(of, before) => self.kept.output(*of).base = *before,
            Order::Release | Order::Kill(_) => {
                self.door = None;
            }
            _ => {}
        }
        let _ = self.orders.send(order); // the task ends when nothing is left to be done
    }
}

/// Notes an event, with the time where that matters.
fn heard(event: Option<EffectEvent>, kept: &mut Kept) -> Option<ProcessEvent> {
    let Some(EffectEvent::Process { event, .. }) = event else {
        return None;
    };
    let time = wall_clock();
    kept.heard(time, &event);
    Some(match event {
        ProcessEvent::Started { pid } => ProcessEvent::At { time, event: Timed::Started { pid } },
        ProcessEvent::Exited { how } => ProcessEvent::At { time, event: Timed::Exited { how } },
        event => event,
    })
}

async fn accept(door: Option<&Door>) -> io::Result<Link> {
    match door {
        Some(door) => Ok(Link::new(door.listener.accept().await?.0)),
        None => std::future::pending().await,
    }
}

async fn next(link: Option<&mut Link>) -> Option<ToKeeper> {
    match link {
        Some(link) => link.next().await,
        None => std::future::pending().await,
    }
}
