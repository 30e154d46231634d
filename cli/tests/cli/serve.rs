//! How a server begins and ends.

use std::io::{BufRead as _, BufReader};

use rustix::process::Signal;

use crate::support::Bed;

#[test]
fn a_signal_ends_a_server_in_good_order() {
    for signal in [Signal::TERM, Signal::INT] {
        let bed = Bed::new();
        let server = bed.start("-a 127.0.0.1 -hmac .hmac");
        server.signal(signal);
        assert_eq!(server.end(), (Some(0), String::new()), "the URL stands alone on standard output");
    }
}

#[test]
fn a_server_whose_log_cannot_be_written_goes_on() {
    let mut bed = Bed::new();
    let server = bed.launch("unset CIRCUIT_HMAC; exec circuit start -a 127.0.0.1 -hmac .hmac 2>/dev/full");
    // It would say who joins.
    bed.add(&format!("-a 127.0.0.1 -hmac .hmac -j {}", server.url));
    bed.ok(&format!("echo {} > url", server.url));
    bed.until("CIRCUIT=url circuit ls /", |servers| servers.lines().count() == 2);
    server.signal(Signal::TERM);
    assert_eq!(server.end().0, Some(0));
}

#[test]
fn a_directory_belongs_to_one_server_which_is_the_same_after_a_crash() {
    let bed = Bed::new();
    let server = bed.start("-a 127.0.0.1 -hmac .hmac -var state");
    let (url, anchor, port) = (server.url.clone(), server.anchor.clone(), server.port().to_owned());
    let refused = bed.sh("circuit start -a 127.0.0.1 -hmac .hmac -var state");
    refused.fails("a second server", 1, "another server is using it");
    server.signal(Signal::KILL);
    server.end();
    let again = bed.start(&format!("-a 127.0.0.1:{port} -hmac .hmac -var state"));
    assert_eq!(again.anchor, anchor);
    // The old URL still dials, though the process is another.
    assert_eq!(bed.ok(&format!("circuit ls -d {url} /")), format!("{anchor}\n"));
}

#[test]
fn another_server_at_an_old_address_does_not_answer_for_the_first() {
    let bed = Bed::new();
    let server = bed.start("-a 127.0.0.1 -hmac .hmac");
    let port = server.port().to_owned();
    let url = server.url.clone();
    server.signal(Signal::TERM);
    server.end();
    let _other = bed.start(&format!("-a 127.0.0.1:{port} -hmac .hmac"));
    bed.fails(&format!("circuit ls -d {url} /"), 3, "answered where");
}

#[test]
fn a_taken_address_is_an_error_that_names_it() {
    let bed = Bed::new();
    let server = bed.start("-a 127.0.0.1 -hmac .hmac");
    let port = server.port();
    let refused = bed.sh(&format!("circuit start -a 127.0.0.1:{port}"));
    refused.fails("the same address", 1, &format!("cannot listen at 127.0.0.1:{port}: "));
}

#[test]
fn what_others_dial_may_differ_from_what_is_bound() {
    let bed = Bed::new();
    let server = bed.start("-a 127.0.0.1 -hmac .hmac -advertise 192.0.2.7:4000");
    assert!(server.url.starts_with("circuit://192.0.2.7:4000/"), "{}", server.url);
}

#[test]
fn a_server_says_why_it_cannot_join() {
    let bed = Bed::new();
    let server = bed.start("-a 127.0.0.1 -hmac .hmac");
    bed.ok("circuit keygen other");
    // Nobody listens there; and somebody with another key does here.
    for (key, joined) in [(".hmac", "circuit://127.0.0.1:1/3/Qf9d7e27ac1c4f250"), ("other", &server.url)] {
        let line = format!("unset CIRCUIT_HMAC; exec circuit start -a 127.0.0.1 -hmac {key} -j {joined} 2>{key}.log");
        let _alone = bed.launch(&line);
        bed.until(&format!("cat {key}.log"), |log| log.contains("127.0.0.1:") && log.contains("was not reached"));
    }
}

#[test]
fn the_log_tells_who_did_what_and_follows() {
    let bed = Bed::with_servers(1);
    bed.ok("circuit mkchan $X/a/b 1; circuit mkchan $X/c 1");
    bed.sh("circuit mkchan $X/c 1");
    let log = bed.ok("circuit log $X");
    let fields: Vec<Vec<&str>> = log.lines().map(|line| line.split('\t').collect()).collect();
    let x = bed.anchor();
    let told: Vec<(&str, String, &str)> =
        fields.iter().map(|line| (line[2], line[3].replace(x, ""), line[4])).collect();
    let expected = [("mkchan", "/a/b", "ok"), ("mkchan", "/c", "ok"), ("mkchan", "/c", "already exists")];
    assert_eq!(told, expected.map(|(verb, path, outcome)| (verb, path.to_owned(), outcome)));
    assert_eq!(bed.ok("circuit log $X/a").lines().count(), 1, "of an anchor, what is at it and beneath");
    assert!(bed.ok("circuit log -o json $X/a").contains("\"Seq\":1,"));
    let followed = bed.ok("circuit log -f $X/d | head -n 1 & circuit mkchan $X/d 0; wait");
    assert!(followed.contains("mkchan"), "{followed}");
}

#[test]
fn who_follows_the_log_of_a_server_that_starts_again_misses_nothing() {
    let bed = Bed::new();
    let server = bed.start("-a 127.0.0.1 -hmac .hmac -var state");
    let (url, anchor, port) = (server.url.clone(), server.anchor.clone(), server.port().to_owned());
    let make = |name: &str| bed.ok(&format!("circuit mkchan -d {url} {anchor}/{name} 0"));
    (0..3).for_each(|number| drop(make(&number.to_string())));
    let mut follower = bed.command(&format!("exec circuit log -f -d {url} {anchor}")).spawn().expect("a shell");
    let mut lines = BufReader::new(follower.stdout.take().expect("its output")).lines();
    let mut line = || lines.next().expect("a line").expect("text");
    (0..3).for_each(|_| drop(line()));
    server.signal(Signal::KILL);
    server.end();
    let _again = bed.start(&format!("-a 127.0.0.1:{port} -hmac .hmac -var state"));
    make("again");
    let next = line();
    assert!(next.starts_with("1\t") && next.contains("/again"), "{next}");
    follower.kill().expect("killed");
    follower.wait().expect("its end");
}
