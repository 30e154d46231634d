//! Discovery over UDP: the sockets, and the tasks that drive
//! [`circuit_core::discovery`].

mod faces;
pub(crate) mod sockets;

use std::{io, time::Duration};

use circuit_core::{
    Rng, Target,
    discovery::{Announcer, Finder, Group, MAX_FOUND, Output, Place},
    session::ClusterKey,
};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{self, MissedTickBehavior},
};

use crate::{Clock, Net, driver::Question};
use faces::{Faces, News};

/// How often a server looks which interfaces there are.
const RESCAN: Duration = Duration::from_secs(10);

/// Announces a server for as long as somebody wants to be told of others: they
/// come as [`Question::Found`], again and again, whether they are known or not.
pub(crate) fn announce<N: Net>(
    net: N,
    group: Group,
    mut announcer: Announcer,
    wall: fn() -> u64,
    tell: mpsc::Sender<Question>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let clock = Clock::start();
        let mut faces = Faces::new(net, group, true);
        let mut rescan = time::interval(RESCAN);
        rescan.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut complained = false;
        loop {
            let due = announcer.poll_timeout().map(|at| clock.at(at));
            tokio::select! {
                biased;
                () = tell.closed() => return,
                _ = rescan.tick() => {
                    scan(&mut faces, &mut announcer, clock);
                    if faces.is_empty() && !complained {
                        complained = true;
                        tracing::warn!("nobody can discover this server: no interface can be used for {group} yet");
                    }
                }
                news = faces.next() => match news {
                    News::Heard { interface, from, packet } => {
                        let heard = announcer.handle_datagram(clock.now(), wall(), interface, from, &packet);
                        if let Err(refusal) = heard {
                            tracing::debug!(%from, interface, "dropped {refusal}");
                        }
                    }
                    News::Down(interface) => announcer.handle_down(interface),
                },
                () = sleep_until(due) => announcer.handle_timeout(clock.now(), wall()),
            }
            while let Some(output) = announcer.poll_output() {
                match output {
                    Output::Send { interface, to, packet } => faces.send(interface, to, packet),
                    // That nobody listens any more shows above.
                    Output::Found(place) => drop(tell.send(Question::Found(place)).await),
                }
            }
        }
    })
}

fn scan<N: Net>(faces: &mut Faces<N>, announcer: &mut Announcer, clock: Clock) {
    let wanted = announcer.faces(&faces.interfaces());
    let used: Vec<_> = wanted.iter().map(|face| face.interface).collect();
    for gone in faces.set(&used) {
        announcer.handle_down(gone);
    }
    for face in wanted.into_iter().filter(|face| faces.has(face.interface.index)) {
        announcer.handle_up(clock.now(), face);
    }
}

/// Looks for servers until `within` has passed or nobody wants any.
///
/// # Errors
/// There is no interface to ask on.
pub(crate) fn find<N: Net>(
    net: N,
    group: Group,
    key: &ClusterKey,
    rng: Rng,
    within: Duration,
    wall: fn() -> u64,
) -> io::Result<mpsc::Receiver<Target>> {
    let clock = Clock::start();
    let now = clock.now();
    let mut finder = Finder::new(group, key, rng, now, now + within);
    let mut faces = Faces::new(net, group, false);
    let used = finder.interfaces(&faces.interfaces());
    faces.set(&used);
    for interface in used.into_iter().filter(|interface| faces.has(interface.index)) {
        finder.handle_up(interface);
    }
    if faces.is_empty() {
        return Err(io::Error::other(format!("no interface of this host can send to the group {group}")));
    }
    let (tell, found) = mpsc::channel(MAX_FOUND);
    tokio::spawn(async move {
        while !finder.is_over(clock.now()) {
            let due = clock.at(finder.poll_timeout());
            tokio::select! {
                biased;
                () = tell.closed() => return,
                news = faces.next() => match news {
                    News::Heard { interface, from, packet } => {
                        if let Err(refusal) = finder.handle_datagram(interface, &packet) {
                            tracing::debug!(%from, interface, "dropped {refusal}");
                        }
                    }
                    News::Down(interface) => finder.handle_down(interface),
                },
                () = time::sleep_until(due) => finder.handle_timeout(clock.now(), wall()),
            }
            while let Some(output) = finder.poll_output() {
                match output {
                    Output::Send { interface, to, packet } => faces.send(interface, to, packet),
                    // There is room for as many as a finder tells of.
                    Output::Found(place) => drop(tell.try_send(target(place))),
                }
            }
        }
    });
    Ok(found)
}

/// What is dialled: the handshake proves that it is this server.
const fn target(place: Place) -> Target {
    Target { addr: place.addr, expect: Some(place.incarnation.id) }
}

async fn sleep_until(due: Option<time::Instant>) {
    match due {
        Some(at) => time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
