//! Servers that come, go, come back and are told to.

use std::net::TcpListener;

use rustix::process::Signal;

use crate::support::Bed;

/// A port that was free just now.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address").port()
}

#[test]
fn two_circuits_become_one() {
    let bed = Bed::with_servers(2);
    let other = bed.start("-a 127.0.0.1 -hmac .hmac");
    bed.ok("circuit mk@join $X/joins; circuit mk@leave $X/leaves; circuit recv $X/joins; circuit recv $X/joins");
    bed.ok(&format!("circuit join $X {}", other.url));
    assert_eq!(bed.ok("circuit recv $X/joins"), format!("{}\n", other.anchor));
    bed.until("circuit ls /", |listed| listed.lines().count() == 3);
    bed.until(&format!("circuit ls -d {} /", other.url), |listed| listed.lines().count() == 3);
    bed.ok(&format!("circuit join $X {}; circuit join $X {}", other.url, bed.server(0).url));
    bed.fails("circuit recv -try $X/joins", 1, "would block");
    bed.fails("circuit recv -try $X/leaves", 1, "would block");
}

#[test]
fn a_killed_server_is_gone_and_its_elements_say_so() {
    let bed = Bed::with_servers(3);
    bed.ok("circuit mkchan $X/c 0");
    let leaves = format!("{}/leaves", bed.server(1).anchor);
    bed.ok(&format!("circuit mk@leave {leaves}"));
    let waiting = bed.command("circuit recv $X/c").spawn().expect("a shell");
    bed.until("circuit peek -o json $X", |stat| stat.contains("\"Streams\":1"));
    bed.server(2).signal(Signal::KILL);
    assert_eq!(bed.ok(&format!("circuit recv -o json {leaves}")), format!("{{\"Left\":\"{}\"}}\n", bed.anchor()));
    let waited = waiting.wait_with_output().expect("its end");
    assert_eq!(waited.status.code(), Some(3), "{waited:?}");
    bed.until("circuit ls /", |listed| listed.lines().count() == 2);
    bed.fails("circuit ls $X", 3, "unreachable");
}

#[test]
fn what_a_server_does_is_told() {
    let bed = Bed::with_servers(2);
    bed.ok("circuit mkchan $X/c 0");
    let mut waiting = bed.command("exec circuit recv $X/c").spawn().expect("a shell");
    bed.until("circuit stk $X", |told| told.contains("waits at /c for"));
    let told = bed.ok("circuit stk $X");
    for part in ["membership: 2 here", "session 1 with server", "timer"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let json = bed.ok("circuit stk -o json $X");
    assert!(json.starts_with("{\"Lines\":[\"membership: 2 here") && json.lines().count() == 1, "{json}");
    crate::support::send(&waiting, Signal::INT);
    waiting.wait().expect("its end");
}

#[test]
fn a_server_is_told_to_end_through_another_and_by_itself() {
    let bed = Bed::with_servers(2);
    bed.ok("circuit suicide $X");
    assert_eq!(bed.ok("circuit ls /"), format!("{}\n", bed.server(0).anchor));
    bed.ok(&format!("circuit suicide {}", bed.server(0).anchor));
    bed.fails("circuit ls /", 3, "no server at");
}

#[test]
fn a_killed_server_rejoins_by_the_same_command_line_as_the_same_one() {
    let mut bed = Bed::with_servers(1);
    let joins = format!("-a 127.0.0.1:{} -hmac .hmac -var state -j {}", free_port(), bed.server(0).url);
    let before = bed.start(&joins);
    bed.until("circuit ls /", |listed| listed.contains(&before.anchor));
    assert!(bed.ok(&format!("circuit stk {}", before.anchor)).contains("epoch 1."));
    before.signal(Signal::KILL);
    bed.until("circuit ls /", |listed| !listed.contains(&before.anchor));
    let after = bed.add(&joins);
    assert_eq!(after.anchor, before.anchor);
    bed.until("circuit ls /", |listed| listed.contains(&before.anchor));
    assert!(bed.ok("circuit stk $X").contains("epoch 2."), "the start is counted");
    // The old URL still dials, though the process is another.
    bed.until(&format!("circuit ls -d {} /", before.url), |listed| listed.lines().count() == 2);
}

#[test]
fn the_first_server_is_found_again_by_those_that_joined_it() {
    let mut bed = Bed::new();
    let line = format!("-a 127.0.0.1:{} -hmac .hmac -var first", free_port());
    let first = bed.start(&line);
    let second = bed.add(&format!("-a 127.0.0.1 -hmac .hmac -j {}", first.url)).url.clone();
    bed.until(&format!("circuit ls -d {second} /"), |listed| listed.lines().count() == 2);
    first.signal(Signal::KILL);
    bed.until(&format!("circuit ls -d {second} /"), |listed| listed.lines().count() == 1);
    let again = bed.start(&line);
    bed.until(&format!("circuit ls -d {} /", again.url), |listed| listed.lines().count() == 2);
    bed.until(&format!("circuit ls -d {second} /"), |listed| listed.lines().count() == 2);
}

#[test]
fn servers_can_be_started_in_any_order() {
    let mut bed = Bed::new();
    let line = format!("-a 127.0.0.1:{} -hmac .hmac -var first", free_port());
    let first = bed.start(&line);
    let url = first.url.clone();
    first.signal(Signal::KILL);
    first.end();
    let second = bed.add(&format!("-a 127.0.0.1 -hmac .hmac -j {url}")).anchor.clone();
    assert_eq!(bed.ok("circuit ls /"), format!("{second}\n"), "it runs, and nobody else does");
    let first = bed.start(&line);
    bed.until(&format!("circuit ls -d {} /", first.url), |listed| listed.lines().count() == 2);
}
