//! Clients that nobody can connect to. It takes root, `ip` and `nft`; where they
//! are not to be had, it says so and proves nothing.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use crate::{
    readme::EXAMPLES,
    support::{Bed, Hosts},
};

/// Nothing comes in that was not asked for.
const RULES: &str = "table inet wall { chain inward { \
    type filter hook input priority 0; policy drop; ct state established,related accept; } }";

/// A network of two hosts, of which that of the clients has a firewall; gone
/// when this is dropped.
struct Wall(Hosts);

impl Wall {
    fn new() -> Result<Self, String> {
        let name = |host: &str| format!("circuit-{}-{host}", std::process::id());
        let wall = Self(Hosts { servers: name("cloud"), clients: name("desk"), listen: "10.78.0.1" });
        let Hosts { servers, clients, .. } = &wall.0;
        for host in [servers, clients] {
            does(&format!("ip netns add {host}"), "")?;
            does(&format!("ip -n {host} link set lo up"), "")?;
        }
        does(&format!("ip link add name eth0 netns {servers} type veth peer name eth0 netns {clients}"), "")?;
        for (number, host) in (1..).zip([servers, clients]) {
            does(&format!("ip -n {host} addr add 10.78.0.{number}/24 dev eth0"), "")?;
            does(&format!("ip -n {host} link set eth0 up"), "")?;
        }
        does(&format!("ip netns exec {clients} nft -f -"), RULES)?;
        Ok(wall)
    }
}

impl Drop for Wall {
    fn drop(&mut self) {
        for host in [&self.0.servers, &self.0.clients] {
            let _ = does(&format!("ip netns del {host}"), "");
        }
    }
}

fn does(line: &str, input: &str) -> Result<(), String> {
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().unwrap_or_default());
    let command = command.args(words).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("{line}: {error}"))?;
    let fed = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(input.as_bytes()));
    let done = fed.and_then(|()| child.wait_with_output()).map_err(|error| format!("{line}: {error}"))?;
    if done.status.success() { Ok(()) } else { Err(format!("{line}: {}", String::from_utf8_lossy(&done.stderr))) }
}

#[test]
fn the_examples_work_from_behind_a_firewall() {
    let wall = match Wall::new() {
        Ok(wall) => wall,
        Err(why) => {
            // Past the capture of output: nobody is to think that it was tested.
            let _ = writeln!(std::io::stderr(), "skipped the_examples_work_from_behind_a_firewall: {why}");
            return;
        }
    };
    nobody_is_let_in(&wall);
    for example in EXAMPLES {
        example(&Bed::on_hosts(wall.0.clone(), 2));
    }
}

/// A server at the clients' place cannot be dialled from the servers'.
fn nobody_is_let_in(wall: &Wall) {
    let Hosts { servers, clients, .. } = wall.0.clone();
    let swapped = Hosts { servers: clients, clients: servers, listen: "10.78.0.2" };
    let mut bed = Bed::on_hosts(swapped, 0);
    bed.add("-a 10.78.0.2 -hmac .hmac");
    bed.fails("circuit ls --timeout 1s /", 3, "the time is over");
}
