//! Servers and clients for tests that use real sockets.

pub mod actor;
pub mod hops;
pub mod proxy;

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
    ServerConfig { listen: loopback(), advertise: None, discover: None, join: Vec::new(), key: key.clone(), var: None }
}

/// A server on loopback.
pub async fn server(key: &ClusterKey) -> Server {
    Server::start(config(key)).await.expect("a server")
}

/// A client of a server.
pub async fn client(server: &Server, key: &ClusterKey) -> Circuit {
    Circuit::dial(Dial::url(server.url()).key(key.clone())).await.expect("a client")
}
