//! Discovery between hosts: network namespaces on a bridge. It takes root and
//! `ip`; where they are not to be had, it says so and proves nothing.

use std::{net::IpAddr, time::Duration};

use circuit_core::session::ClusterKey;
use circuit_tests::{
    key,
    wire::{Wire, skip},
};
use circuit_tokio::{Circuit, Dial, Group, Server, ServerConfig};
use tokio::sync::oneshot;

/// A server that listens everywhere, until it is told to end; it says where it
/// found others as soon as it did.
async fn server(group: Group, key: ClusterKey, found: oneshot::Sender<Vec<IpAddr>>, end: oneshot::Receiver<()>) {
    let any = if group.addr().is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let listen = any.parse().expect("an address");
    let config = ServerConfig { discover: Some(group), ..ServerConfig::new(listen, key) };
    let server = Server::start(config).await.expect("a server");
    let others = loop {
        let members = server.snapshot().await.expect("it runs").members;
        let others = members.iter().filter(|record| record.id != server.url().id);
        let others: Vec<IpAddr> = others.map(|record| record.addr.ip()).collect();
        if !others.is_empty() {
            break others;
        }
        tokio::task::yield_now().await;
    };
    found.send(others).expect("somebody to tell");
    let _ = end.await;
}

fn hosts_find_each_other(wire: &Wire, group: Group) {
    let key = key();
    let (mut running, mut reports, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    for host in 0..3 {
        let (found, report) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let key = key.clone();
        running.push(wire.on(host, async move || server(group, key, found, ended).await));
        reports.push(report);
        ends.push(end);
    }
    let client = wire.on(3, async move || {
        let dial = Dial::discover(group).within(Duration::from_secs(600)).key(key);
        let circuit = Circuit::dial(dial).await.expect("a server answers");
        circuit.members().await.expect("and is there").observer.id == circuit.dial_in()
    });
    assert!(client.join().expect("the client"));
    for report in reports {
        let found = report.blocking_recv().expect("a server");
        let on_wire = |addr: &IpAddr| addr.to_string().starts_with("10.77.0.") || addr.to_string().starts_with("fd77:");
        assert!(found.iter().all(on_wire), "{found:?}");
    }
    drop(ends);
    for server in running {
        server.join().expect("a server");
    }
}

#[test]
fn hosts_on_a_bridge_find_each_other() {
    let wire = match Wire::new("discovery", 4) {
        Ok(wire) => wire,
        Err(why) => return skip("hosts_on_a_bridge_find_each_other", &why),
    };
    for group in ["239.77.12.1:7711", "[ff02::77:12]:7711"] {
        hosts_find_each_other(&wire, group.parse().expect("a group"));
    }
}
