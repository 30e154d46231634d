//! What is printed, and what happens when nobody reads it.

use std::io::{BufRead, BufReader, Read};

use crate::support::{Bed, most_memory};

#[test]
fn every_verb_that_prints_prints_json() {
    let mut bed = Bed::with_servers(1);
    let x = bed.anchor().to_owned();
    bed.ok("circuit mkchan $X/a/b 2");
    let listing = format!("[{{\"Path\":\"{x}/a\",\"Kind\":null}},{{\"Path\":\"{x}/a/b\",\"Kind\":\"chan\"}}]\n");
    assert_eq!(bed.ok("circuit ls -o json $X/..."), listing);
    let stat = "{\"Cap\":2,\"Closed\":false,\"Aborted\":false,\"NumSend\":0,\"NumRecv\":0}\n";
    assert_eq!(bed.ok("circuit peek -output json $X/a/b"), stat);
    bed.ok("echo hi | circuit send $X/a/b; printf '\\377\\000' | circuit send $X/a/b");
    assert_eq!(bed.ok("circuit recv -o json $X/a/b"), "{\"Text\":\"hi\\n\"}\n");
    assert_eq!(bed.ok("circuit recv -o json $X/a/b"), "{\"Base64\":\"/wA=\"}\n");
    bed.ok(r#"echo '{"Path": "/bin/sh", "Args": ["-c", "echo out; echo err >&2"]}' | circuit mkproc $X/p"#);
    assert_eq!(bed.ok("circuit stdout -o json $X/p"), "{\"Text\":\"out\\n\"}\n");
    assert_eq!(bed.ok("circuit stderr -o json $X/p"), "{\"Text\":\"err\\n\"}\n");
    assert!(bed.ok("circuit wait -o json $X/p").starts_with("{\"Cmd\":{"));
    let server = bed.ok("circuit peek -o json $X");
    let fields = ["Addr", "Joined", "Version", "Uptime", "Members", "Sessions", "Elements", "Streams", "Bytes"];
    assert!(fields.iter().all(|field| server.contains(&format!("\"{field}\":"))), "{server}");
    let started = bed.add("-a 127.0.0.1 -hmac .hmac -o json").url.clone();
    assert!(started.starts_with("{\"Url\":\"circuit://127.0.0.1:"), "{started}");
}

#[test]
fn a_closed_pipe_ends_a_command_quietly() {
    let bed = Bed::with_servers(1);
    bed.ok(r#"echo '{"Path": "/usr/bin/yes"}' | circuit mkproc $X/yes"#);
    let mut child = bed.command("exec circuit stdout $X/yes").spawn().expect("a shell");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
    assert_eq!(line, "y\n"); // and the pipe is closed
    let done = child.wait_with_output().expect("its end");
    assert_eq!((done.status.code(), done.stderr.len()), (Some(0), 0), "{done:?}");
    bed.ok("circuit signal KILL $X/yes");
}

#[test]
fn output_that_is_closed_from_the_start_is_a_fault() {
    let bed = Bed::with_servers(1);
    for line in ["ls /...", "peek $X", "help", "log $X"] {
        bed.fails(&format!("circuit {line} >&-"), 1, "standard output is closed");
        bed.ok(&format!("circuit {line} >/dev/null"));
    }
}

#[test]
fn an_error_that_can_be_told_to_nobody_is_the_same_error() {
    let bed = Bed::with_servers(1);
    for line in ["peek $X/nothing", "ls --nonsense"] {
        let told = bed.sh(&format!("circuit {line}"));
        let untold = bed.sh(&format!("circuit {line} 2>/dev/full"));
        assert!(told.status != 0 && told.status == untold.status, "{line}: {told:?} {untold:?}");
    }
}

#[test]
fn a_slow_reader_costs_no_memory_and_loses_nothing() {
    const LENGTH: usize = 128 << 20;
    let bed = Bed::with_servers(1);
    let spec = format!(r#"{{"Path": "/usr/bin/head", "Args": ["-c", "{LENGTH}", "/dev/zero"]}}"#);
    bed.fed("circuit mkproc $X/p", &spec);
    let mut child = bed.command("exec circuit stdout $X/p").spawn().expect("a shell");
    let mut output = child.stdout.take().expect("its output");
    let mut piece = vec![0; 1 << 20];
    output.read_exact(&mut piece).expect("the first");
    // What is not read fits nowhere, so the process cannot have ended.
    assert!(bed.ok("circuit peek $X/p").contains("\"Phase\": \"running\""));
    for _ in 2..LENGTH >> 20 {
        output.read_exact(&mut piece).expect("more");
    }
    let (client, server) = (most_memory(&child), bed.server(0).most_memory());
    assert!(client < 48 * 1024 && server < 48 * 1024, "client {client} KiB, server {server} KiB");
    assert_eq!(output.read_to_end(&mut Vec::new()).expect("the rest"), 1 << 20);
    assert_eq!(child.wait().expect("its end").code(), Some(0));
}

#[test]
fn a_long_input_arrives_whole() {
    let bed = Bed::with_servers(1);
    bed.ok("head -c 50000000 /dev/urandom > sent; circuit run -i -- cat < sent | cmp - sent");
}
