//! Processes: fed, read, signalled, waited for.

use crate::support::Bed;

#[test]
fn streams_are_apart_and_can_be_read_after_the_end_and_again() {
    let bed = Bed::with_servers(1);
    let spec = r#"{"Path": "/bin/sh", "Args": ["-c", "cat; echo wrong >&2"], "Dir": "/", "Env": ["A=b"]}"#;
    bed.fed("circuit mkproc $X/p", spec);
    bed.ok("echo right | circuit stdin $X/p");
    assert!(bed.ok("circuit wait -o json $X/p").contains("\"Code\":0,\"Signal\":null,"));
    for _ in 0..2 {
        assert_eq!(
            (bed.ok("circuit stdout $X/p"), bed.ok("circuit stderr $X/p")),
            ("right\n".into(), "wrong\n".into())
        );
    }
    bed.ok("circuit stdin $X/p < /dev/null");
    bed.fails("echo late | circuit stdin $X/p", 1, "the process does not read any more");
    let peeked = bed.ok("circuit peek $X/p -o json");
    assert!(peeked.contains(r#""Env":["A=b"],"Dir":"/","Path":"/bin/sh""#), "{peeked}");
}

#[test]
fn signals_are_sent_by_name() {
    let bed = Bed::with_servers(1);
    bed.ok(r#"echo '{"Path": "/bin/sleep", "Args": ["1000"]}' | circuit mkproc $X/p"#);
    for (name, phase) in [("STOP", "stopped"), ("sigcont", "continued")] {
        bed.ok(&format!("circuit signal {name} $X/p"));
        bed.until("circuit peek $X/p", |peeked| peeked.contains(phase));
    }
    bed.ok("circuit signal SIGTERM $X/p");
    let end = bed.ok("circuit wait -o json $X/p");
    assert!(end.contains(r#""Code":null,"Signal":"TERM","Core":false"#) && end.contains("\"signaled\""), "{end}");
}

#[test]
fn waitall_waits_for_all_that_are_named() {
    let bed = Bed::with_servers(1);
    for name in ["a", "b"] {
        bed.ok(&format!("echo '{{\"Path\": \"/bin/cat\"}}' | circuit mkproc $X/{name}"));
    }
    let waiting = bed.command("printf \"$X/a\\n$X/b\\n\" | circuit waitall").spawn().expect("a shell");
    bed.until("circuit peek -o json $X", |stat| stat.contains("\"Streams\":2"));
    bed.ok("circuit stdin $X/a < /dev/null; circuit stdin $X/b < /dev/null");
    let done = waiting.wait_with_output().expect("its end");
    assert_eq!((done.status.code(), done.stderr.len()), (Some(0), 0), "{done:?}");
    bed.fails("echo $X/nowhere | circuit waitall", 1, "not found");
    bed.fails("echo nowhere | circuit waitall", 2, "line 1 of standard input");
}

#[test]
fn an_element_may_go_with_its_process() {
    let bed = Bed::with_servers(1);
    bed.ok(r#"echo '{"Path": "/bin/cat", "Scrub": true}' | circuit mkproc $X/a"#);
    bed.ok(r#"echo '{"Path": "/bin/cat"}' | circuit mkproc -scrub $X/b"#);
    bed.ok("circuit stdin $X/a < /dev/null; circuit stdin $X/b < /dev/null");
    bed.until("circuit ls $X", str::is_empty);
}

#[test]
fn removing_a_process_lets_it_go_on() {
    let bed = Bed::with_servers(1);
    let spec = r#"{"Path": "/bin/sh", "Args": ["-c", "until [ -e go ]; do :; done; echo done > gone"]}"#;
    bed.fed("circuit mkproc $X/p", spec);
    bed.ok("circuit scrub $X/p");
    bed.ok("touch go");
    bed.until("cat gone", |text| text == "done\n");
}
