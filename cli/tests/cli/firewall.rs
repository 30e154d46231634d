//! Clients that nobody can connect to. It takes root, `ip` and `nft`; where they
//! are not to be had, it says so and proves nothing.

use circuit_tests::wire::{Rules, Wire, skip};

use crate::{
    readme::EXAMPLES,
    support::{Bed, Hosts},
};

#[test]
fn the_examples_work_from_behind_a_firewall() {
    let wire = match Wire::with_rules("wall", 2) {
        Ok(wire) => wire,
        Err(why) => return skip("the_examples_work_from_behind_a_firewall", &why),
    };
    let only_answers = ("filter hook input priority 0; policy drop;", "ct state established,related accept");
    let _wall = Rules::new(wire.host(1), "inet wall", &[only_answers]);
    let hosts = |servers: usize, clients| {
        let name = |host: usize| wire.host(host).to_owned();
        Hosts { servers: name(servers), clients: name(clients), listen: wire.addr(servers).to_string() }
    };
    nobody_is_let_in(hosts(1, 0));
    for example in EXAMPLES {
        example(&Bed::on_hosts(hosts(0, 1), 2));
    }
}

/// A server at the clients' place cannot be dialled from the servers'.
fn nobody_is_let_in(swapped: Hosts) {
    let listen = format!("-a {} -hmac .hmac", swapped.listen);
    let mut bed = Bed::on_hosts(swapped, 0);
    bed.add(&listen);
    bed.fails("circuit ls --timeout 1s /", 3, "the time is over");
}
