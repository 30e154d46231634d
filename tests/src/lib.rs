//! Servers and clients for tests that use real sockets.

pub mod actor;
pub mod engine;
pub mod fleet;
pub mod hops;
pub mod proxy;
pub mod serf;
pub mod watch;
pub mod wire;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use circuit_core::session::ClusterKey;
use circuit_tokio::{Circuit, Dial, Server, ServerConfig, system_rng};

/// A key of the test's own.
pub fn key() -> ClusterKey {
    ClusterKey::generate(&mut system_rng().expect("randomness"))
}

/// Any free port of loopback.
pub const fn loopback() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)
}

/// What a server on loopback is started with.
pub fn config(key: &ClusterKey) -> ServerConfig {
    ServerConfig::new(loopback(), key.clone())
}

/// A server on loopback.
pub async fn server(key: &ClusterKey) -> Server {
    Server::start(config(key)).await.expect("a server")
}

/// A client of a server.
pub async fn client(server: &Server, key: &ClusterKey) -> Circuit {
    Circuit::dial(Dial::url(server.url()).key(key.clone())).await.expect("a client")
}
