//! The key: made, kept private, and needed.

use std::{fs, os::unix::fs::PermissionsExt};

use crate::support::Bed;

fn mode(bed: &Bed, name: &str) -> u32 {
    fs::metadata(bed.path().join(name)).expect("a file").permissions().mode() & 0o777
}

#[test]
fn a_key_is_written_for_its_owner_alone() {
    let bed = Bed::new();
    bed.ok("umask 0; circuit keygen to_file; circuit keygen > by_shell");
    assert_eq!((mode(&bed, "to_file"), mode(&bed, "by_shell")), (0o600, 0o600));
    let read = |name| fs::read_to_string(bed.path().join(name)).expect("a key");
    assert_eq!(read("to_file").len(), read("by_shell").len());
    assert_ne!(read("to_file"), read("by_shell"));
    bed.fails("circuit keygen to_file", 1, "file exists");
    assert!(bed.ok("circuit keygen -o json").starts_with("{\"Key\":\""));
}

#[test]
fn a_server_refuses_a_bad_key_and_never_repeats_it() {
    let bed = Bed::new();
    let secret = "c2VjcmV0c2VjcmV0c2VjcmV0";
    for (make, says) in [
        ("rm -f k", "no such file"),
        (&*format!("echo {secret} > k"), "not 32"),
        (&format!("echo '{secret}?' > k"), "not base64"),
        ("head -c 32 /dev/zero | base64 > k", "all zero"),
        ("circuit keygen > k; chmod 640 k", "read by others"),
        ("rm k; ln -s .hmac k", "is a link"),
        ("rm k; mkfifo -m 600 k", "not a plain file"),
        ("rm k; mkdir -m 700 k", "not a plain file"),
    ] {
        bed.ok(&format!("{make}; if [ -f k ] && [ ! -L k ]; then chmod go-w k; fi"));
        if !says.contains("others") {
            bed.ok("if [ -f k ] && [ ! -L k ]; then chmod 600 k; fi");
        }
        let done = bed.sh("circuit start -a 127.0.0.1 -hmac k");
        done.fails(make, 2, says);
        assert!(!done.stderr.contains(secret) && done.stdout.is_empty(), "{done:?}");
    }
}

#[test]
fn without_the_key_nothing_is_learnt_or_changed() {
    let bed = Bed::with_servers(1);
    bed.fails("unset CIRCUIT_HMAC; circuit mkchan $X/a 1", 3, "hint: the circuit may have a key");
    bed.fails("CIRCUIT_HMAC= circuit ls /", 3, "hint: the circuit may have a key");
    bed.ok("circuit keygen other");
    bed.fails("circuit ls -hmac other /", 3, "hint: the server must be started with the same key");
    assert_eq!(bed.ok("circuit ls $X"), "");
}

#[test]
fn an_option_beats_the_environment() {
    let bed = Bed::with_servers(1);
    assert_eq!(bed.ok("CIRCUIT_HMAC=nowhere circuit ls -hmac .hmac /"), format!("{}\n", bed.anchor()));
    let url = &bed.server(0).url;
    assert_eq!(bed.ok(&format!("CIRCUIT=nowhere circuit ls -d {url} /")), format!("{}\n", bed.anchor()));
}

#[test]
fn a_circuit_without_a_key_is_open_on_loopback_and_nowhere_else() {
    let mut bed = Bed::new();
    bed.fails("unset CIRCUIT_HMAC; circuit start -a 192.0.2.1:0", 2, "hint: make a key");
    bed.add("-a 127.0.0.1");
    bed.fails("circuit ls /", 3, "same key");
    assert_eq!(bed.ok("unset CIRCUIT_HMAC; circuit ls /"), format!("{}\n", bed.anchor()));
    // With --insecure it is not the key that is in the way.
    bed.fails(
        "unset CIRCUIT_HMAC; circuit start -a 192.0.2.1:0 --insecure 2> all; tail -n 1 all >&2; exit 1",
        1,
        "cannot listen at 192.0.2.1:0",
    );
}
