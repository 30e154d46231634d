//! Hosts that share this machine: network namespaces on a bridge. They take root,
//! `ip`, and for their rules `nft`.

use std::{
    fs::{self, File},
    io::{self, Write},
    net::Ipv4Addr,
    os::fd::AsFd,
    process::{Command, Stdio},
    thread::{self, JoinHandle},
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Where this is set, what cannot be tested is a failure.
const REQUIRED: &str = "CIRCUIT_TEST_NETWORKS";

/// Says that a test proves nothing here, and why: past the capture of output, as
/// nobody is to think that it was tested.
///
/// # Panics
/// If `CIRCUIT_TEST_NETWORKS` is set, which requires these tests.
pub fn skip(test: &str, why: &str) {
    assert!(std::env::var_os(REQUIRED).is_none(), "{test} is required by {REQUIRED}, and cannot run: {why}");
    let _ = writeln!(io::stderr(), "skipped {test}: {why}");
}

/// The address of the bridge itself, where it is a host.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 254);

/// Hosts on one wire, each with an interface `eth0`; gone when this is dropped.
#[derive(Debug)]
pub struct Wire {
    hosts: Vec<String>,
    hub: String,
}

impl Wire {
    /// So many hosts, on a wire that has this name among those of this process.
    ///
    /// # Errors
    /// They cannot be had here: what was tried, and what came of it.
    pub fn new(name: &str, hosts: usize) -> Result<Self, String> {
        let space = |host: &str| format!("circuit-{}-{name}-{host}", std::process::id());
        let wire = Self { hosts: (1..=hosts).map(|host| space(&host.to_string())).collect(), hub: space("hub") };
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

    /// The same, where packets can be filtered as well.
    ///
    /// # Errors
    /// As [`Wire::new`].
    pub fn with_rules(name: &str, hosts: usize) -> Result<Self, String> {
        let wire = Self::new(name, hosts)?;
        does(&format!("ip netns exec {} nft list ruleset", wire.hub), "")?;
        Ok(wire)
    }

    /// The address of a host, counted from 0.
    pub fn addr(&self, host: usize) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, u8::try_from(host + 1).unwrap_or(u8::MAX))
    }

    /// The network namespace of a host.
    pub fn host(&self, host: usize) -> &str {
        &self.hosts[host]
    }

    /// The network namespace of the bridge, whose ports are `port1` and so on.
    pub fn hub(&self) -> &str {
        &self.hub
    }

    /// Runs something on one of the hosts, in a tokio runtime of its own.
    pub fn on<T: Send + 'static>(&self, host: usize, work: impl AsyncFnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        within(self.host(host), || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(work())
        })
    }

    /// Lets the bridge's namespace be a host as well, and moves this thread there,
    /// and what it starts; its address.
    ///
    /// # Errors
    /// As [`Wire::new`].
    pub fn enter_hub(&self) -> Result<Ipv4Addr, String> {
        let (hub, address) = (&self.hub, GATEWAY);
        ip(&format!("-n {hub} addr add {address}/24 dev wire"))?;
        ip(&format!("-n {hub} link set lo up"))?;
        enter(hub).map_err(|error| format!("{hub}: {error}"))?;
        Ok(address)
    }

    /// Connects the bridge to that of another wire, as its gateway: what the
    /// hosts of either want from elsewhere leaves by its interface `wan`, with
    /// these addresses.
    ///
    /// # Errors
    /// As [`Wire::new`].
    ///
    /// # Panics
    /// The system's settings cannot be written.
    pub fn connect(&self, other: &Self, addresses: [Ipv4Addr; 2]) -> Result<(), String> {
        ip(&format!("link add name wan netns {} type veth peer name wan netns {}", self.hub, other.hub))?;
        for (wire, address) in [self, other].into_iter().zip(addresses) {
            let hub = &wire.hub;
            ip(&format!("-n {hub} addr add {address}/24 dev wan"))?;
            ip(&format!("-n {hub} link set wan up"))?;
            ip(&format!("-n {hub} addr add {GATEWAY}/24 dev wire"))?;
            for host in &wire.hosts {
                ip(&format!("-n {host} route add default via {GATEWAY}"))?;
            }
            let settings = within(hub, || {
                // Nobody is told of a shorter way, as that leads past the gateway.
                for (setting, value) in [("ip_forward", "1"), ("conf/all/send_redirects", "0")] {
                    fs::write(format!("/proc/sys/net/ipv4/{setting}"), value)?;
                }
                fs::write("/proc/sys/net/ipv4/conf/wire/send_redirects", "0")
            });
            settings.join().expect("a thread").expect("a gateway");
        }
        Ok(())
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for name in self.hosts.iter().chain([&self.hub]) {
            let _ = ip(&format!("netns del {name}"));
        }
    }
}

/// Runs something in a network namespace.
fn within<T: Send + 'static>(space: &str, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let space = space.to_owned();
    thread::spawn(move || {
        enter(&space).expect("to go there");
        work()
    })
}

/// Moves this thread into a network namespace.
fn enter(space: &str) -> io::Result<()> {
    let space = File::open(format!("/run/netns/{space}"))?;
    Ok(move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network))?)
}

/// A table of rules of a network namespace; it is gone when this is dropped.
#[derive(Debug)]
pub struct Rules {
    space: String,
    table: String,
}

impl Rules {
    /// Puts a table into effect: `table` is its family and name, and each of the
    /// chains has a hook and rules, as `nft` reads them.
    ///
    /// # Panics
    /// They are not in order.
    pub fn new(space: &str, table: &str, chains: &[(&str, &str)]) -> Self {
        let mut text = format!("table {table} {{\n");
        for (number, (hook, rules)) in (1..).zip(chains) {
            text += &format!("chain c{number} {{\ntype {hook}\n{rules}\n}}\n");
        }
        text += "}\n";
        does(&format!("ip netns exec {space} nft -f -"), &text).unwrap_or_else(|why| panic!("{text}{why}"));
        Self { space: space.to_owned(), table: table.to_owned() }
    }

    /// What comes in by `eth0` and is of this kind is dropped.
    ///
    /// # Panics
    /// There is no such kind.
    pub fn drop_incoming(space: &str, which: &str) -> Self {
        let rule = format!("iifname eth0 {which} drop");
        Self::new(space, "inet drops", &[("filter hook input priority 0;", &rule)])
    }
}

impl Drop for Rules {
    fn drop(&mut self) {
        let Self { space, table } = self;
        let _ = does(&format!("ip netns exec {space} nft delete table {table}"), "");
    }
}

fn ip(line: &str) -> Result<(), String> {
    does(&format!("ip {line}"), "")
}

/// Runs a command that gets `input`.
fn does(line: &str, input: &str) -> Result<(), String> {
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().unwrap_or_default());
    let command = command.args(words).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("{line}: {error}"))?;
    let fed = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(input.as_bytes()));
    let done = fed.and_then(|()| child.wait_with_output()).map_err(|error| format!("{line}: {error}"))?;
    if done.status.success() { Ok(()) } else { Err(format!("{line}: {}", String::from_utf8_lossy(&done.stderr))) }
}
