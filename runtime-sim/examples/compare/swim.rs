//! `foca`: SWIM, by datagrams, as its `Config::new_lan` has it, or `new_wan` where
//! servers are far from each other.

use std::{
    net::{Ipv4Addr, SocketAddr},
    num::NonZero,
    time::Duration,
};

use bytes::Bytes;
use circuit_core::Instant;
use foca::{Config, Foca, Identity, NoCustomBroadcast, Notification, PostcardCodec, Runtime};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use serde::{Deserialize, Serialize};

use super::{
    system::{Setup, Who},
    world::{Output, Outputs, Peer},
};

/// A datagram that is to let it in may be lost: it is sent again after this.
const AGAIN: Duration = Duration::from_secs(1);
/// Those that are still held for gone by mistake take another name, up to so
/// many in a life.
const NAMES: u32 = 1 << 16;

/// What a server is called: its address, and a number that grows from life to
/// life and each time that it was held for gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Name {
    addr: SocketAddr,
    number: u32,
}

impl Name {
    fn of(who: Who) -> Self {
        let [.., high, low] = who.server.to_be_bytes();
        Self { addr: (Ipv4Addr::new(10, 0, high, low), 7_711).into(), number: who.life * NAMES }
    }

    fn who(&self) -> Who {
        let SocketAddr::V4(addr) = self.addr else { unreachable!("all have such addresses") };
        let [.., high, low] = addr.ip().octets();
        Who { server: usize::from(high) << 8 | usize::from(low), life: self.number / NAMES }
    }
}

impl Identity for Name {
    type Addr = SocketAddr;

    fn renew(&self) -> Option<Self> {
        Some(Self { addr: self.addr, number: self.number + 1 })
    }

    fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn win_addr_conflict(&self, other: &Self) -> bool {
        self.number > other.number
    }
}

pub(crate) struct Swim {
    foca: Foca<Name, PostcardCodec, ChaCha8Rng, NoCustomBroadcast>,
    through: Option<Who>,
}

pub(crate) enum Timer {
    Foca(foca::Timer<Name>),
    /// It may have to ask again to be let in.
    Join,
}

/// Writes down what foca does.
struct Notes<'a>(&'a mut Outputs<Swim>);

impl Runtime<Name> for Notes<'_> {
    fn notify(&mut self, notification: Notification<'_, Name>) {
        match notification {
            Notification::MemberUp(name) => self.0.push(Output::Here(name.who())),
            Notification::MemberDown(name) => self.0.push(Output::Gone(name.who())),
            Notification::Rename(before, after) if before.who() != after.who() => {
                self.0.push(Output::Gone(before.who()));
                self.0.push(Output::Here(after.who()));
            }
            _ => {}
        }
    }

    fn send_to(&mut self, to: Name, data: &[u8]) {
        self.0.push(Output::Send { to: to.who(), message: Bytes::copy_from_slice(data), bytes: data.len() });
    }

    fn submit_after(&mut self, timer: foca::Timer<Name>, after: Duration) {
        self.0.push(Output::After(after, Timer::Foca(timer)));
    }
}

impl Swim {
    fn join(&mut self, out: &mut Outputs<Self>) {
        if let Some(first) = self.through.filter(|_| self.foca.num_members() == 0) {
            out.push(Output::After(AGAIN, Timer::Join));
            // It fails for a name that is not let in, and is tried again.
            let _ = self.foca.announce(Name::of(first), Notes(out));
        }
    }
}

impl Peer for Swim {
    type Message = Bytes;
    type Timer = Timer;
    const CONNECTED: bool = false;

    fn new(own: Who, through: Option<Who>, setup: &Setup, seed: u64) -> Self {
        let size = u32::try_from(setup.servers).ok().and_then(NonZero::new).expect("there are servers");
        let config = if setup.is_wide() { Config::new_wan(size) } else { Config::new_lan(size) };
        let rng = ChaCha8Rng::seed_from_u64(seed);
        Self { foca: Foca::new(Name::of(own), config, rng, PostcardCodec), through }
    }

    fn start(&mut self, _: Instant, out: &mut Outputs<Self>) {
        self.join(out);
    }

    fn receive(&mut self, _: Instant, _: Who, message: Bytes, out: &mut Outputs<Self>) {
        // What it refuses was for somebody else, or from somebody who is gone.
        let _ = self.foca.handle_data(&message, Notes(out));
    }

    fn fire(&mut self, _: Instant, timer: Timer, out: &mut Outputs<Self>) {
        match timer {
            // A timer that comes too late for its probe is an error, and no harm.
            Timer::Foca(timer) => drop(self.foca.handle_timer(timer, Notes(out))),
            Timer::Join => self.join(out),
        }
    }

    fn ended(&mut self, _: Instant, _: Who, _: bool, _: &mut Outputs<Self>) {}
}
