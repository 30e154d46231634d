//! Discovery between hosts: network namespaces on a bridge. It takes root and
//! `ip`; where they are not to be had, it says so and proves nothing.

use std::{
    fs::File,
    io::Write,
    net::IpAddr,
    os::fd::AsFd,
    process::Command,
    thread::{self, JoinHandle},
    time::Duration,
};

use circuit_core::session::ClusterKey;
use circuit_tests::key;
use circuit_tokio::{Circuit, Dial, Group, Server, ServerConfig};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::sync::oneshot;

/// Hosts on one wire; gone when this is dropped.
struct Wire {
    hosts: Vec<String>,
    hub: String,
}

impl Wire {
    fn new(hosts: usize) -> Result<Self, String> {
        let name = |host: &str| format!("circuit-{}-{host}", std::process::id());
        let wire = Self { hosts: (1..=hosts).map(|host| name(&host.to_string())).collect(), hub: name("hub") };
        let hub = &wire.hub;
        ip(&format!("netns add {hub}"))?;
        ip(&format!("-n {hub} link add wire type bridge"))?;
        ip(&format!("-n {hub} link set wire up"))?;
        for (number, host) in (1..).zip(&wire.hosts) {
            ip(&format!("netns add {host}"))?;
            ip(&format!("link add name eth0 netns {host} type veth peer name port{number} netns {hub}"))?;
            ip(&format!("-n {hub} link set port{number} master wire up"))?;
            ip(&format!("-n {host} addr add 10.77.0.{number}/24 dev eth0"))?;
            ip(&format!("-n {host} addr add fd77::{number}/64 dev eth0 nodad"))?;
            ip(&format!("-n {host} link set lo up"))?;
            ip(&format!("-n {host} link set eth0 up"))?;
        }
        Ok(wire)
    }

    /// Runs something on one of the hosts.
    fn on<T: Send + 'static>(&self, host: usize, work: impl AsyncFnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        let path = format!("/run/netns/{}", self.hosts[host]);
        thread::spawn(move || {
            let space = File::open(path).expect("the namespace");
            move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).expect("to go there");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(work())
        })
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for name in self.hosts.iter().chain([&self.hub]) {
            let _ = ip(&format!("netns del {name}"));
        }
    }
}

fn ip(line: &str) -> Result<(), String> {
    let done = Command::new("ip").args(line.split(' ')).output();
    let done = done.map_err(|error| format!("ip: {error}"))?;
    if done.status.success() { Ok(()) } else { Err(format!("ip {line}: {}", String::from_utf8_lossy(&done.stderr))) }
}

/// A server that listens everywhere, until it is told to end; it says where it
/// found others as soon as it did.
async fn server(group: Group, key: ClusterKey, found: oneshot::Sender<Vec<IpAddr>>, end: oneshot::Receiver<()>) {
    let any = if group.addr().is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let listen = any.parse().expect("an address");
    let config = ServerConfig { listen, advertise: None, discover: Some(group), join: Vec::new(), key, var: None };
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
    let wire = match Wire::new(4) {
        Ok(wire) => wire,
        Err(why) => {
            // Past the capture of output: nobody is to think that it was tested.
            let _ = writeln!(std::io::stderr(), "skipped hosts_on_a_bridge_find_each_other: {why}");
            return;
        }
    };
    for group in ["239.77.12.1:7711", "[ff02::77:12]:7711"] {
        hosts_find_each_other(&wire, group.parse().expect("a group"));
    }
}
