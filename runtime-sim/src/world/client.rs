//! A client in the world.

use circuit_core::{
    Instant, Rng, Target,
    client::{Client, Output},
};

use super::{ClientIndex, Happening, Settings, Sim, Told, net::End};

pub(super) struct SimClient {
    pub(super) client: Client,
    /// Counts its connections; the present one is the last.
    pub(super) dial: u64,
    rng: Rng,
    timer: Option<Instant>,
}

impl SimClient {
    pub(super) fn new(index: ClientIndex, rng: &Rng, settings: &Settings) -> Self {
        let mut rng = rng.fork(&format!("client {index}"));
        let client = new_client(index, &mut rng, settings);
        Self { client, dial: 0, rng, timer: None }
    }
}

/// A client that knows one server, another each, and learns of the others.
fn new_client(index: ClientIndex, rng: &mut Rng, settings: &Settings) -> Client {
    let server = index % settings.servers;
    let ip = std::net::Ipv4Addr::new(10, 0, (server >> 8) as u8, server as u8);
    let target = Target { addr: (ip, 11_022).into(), expect: None };
    Client::new(format!("client {index}"), vec![target], rng.seed())
}

impl Sim {
    pub(super) fn client_input(&mut self, client: ClientIndex, act: impl FnOnce(&mut Client, Instant)) {
        act(&mut self.clients[client].client, self.now);
        self.drain_client(client);
    }

    pub(super) fn client_timer(&mut self, client: ClientIndex) {
        let due = self.clients[client].timer.is_some_and(|at| at <= self.now);
        if due {
            self.clients[client].timer = None;
            self.client_input(client, Client::handle_timeout);
        }
    }

    /// Does what a client wants, and notes when it wants to be called.
    pub(super) fn drain_client(&mut self, client: ClientIndex) {
        while let Some(output) = self.clients[client].client.poll_output() {
            let end = End::Client { index: client, dial: self.clients[client].dial };
            match output {
                Output::Dial(target) => {
                    self.close(end);
                    self.clients[client].dial += 1;
                    let end = End::Client { index: client, dial: self.clients[client].dial };
                    self.dial(end, target.addr, target.expect);
                }
                Output::Send(frame) => self.transmit(end, &frame),
                Output::Close(_) => self.close(end),
                Output::Event(event) => self.told.push_back(Told::Client(client, event)),
            }
        }
        if let Some((at, _)) = self.clients[client].client.poll_timeout()
            && self.clients[client].timer.is_none_or(|set| at < set)
        {
            self.clients[client].timer = Some(at);
            self.schedule(at.max(self.now), Happening::ClientTimer(client));
        }
    }

    /// A client is killed, and another takes its place.
    pub(super) fn crash_client(&mut self, client: ClientIndex) {
        self.reset_client(client);
        let settings = self.settings.clone();
        let of = &mut self.clients[client];
        of.client = new_client(client, &mut of.rng, &settings);
        of.dial += 1;
        of.timer = None;
        self.told.push_back(Told::Replaced(client));
    }

    /// How many calls of a client are not answered.
    pub fn open_calls(&self, client: ClientIndex) -> usize {
        self.clients[client].client.open()
    }
}
