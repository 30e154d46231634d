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

#[test]
fn removing_and_killing_ends_all_of_its_group() {
    let bed = Bed::with_servers(1);
    let stubborn = r#"{"Path": "/bin/sh", "Args": ["-c", "trap '' TERM; sleep 1000 & echo $!; wait"], "Grace": "5ms"}"#;
    bed.fed("circuit mkproc $X/p", stubborn);
    let child = bed.ok("circuit stdout $X/p | head -n 1");
    bed.ok("circuit scrub -kill $X/p");
    bed.until(&format!("kill -0 {} || echo gone", child.trim()), |said| said == "gone\n");
    assert_eq!(bed.ok("circuit ls $X"), "");
    // One that has ended, and left somebody behind who holds its output, or does not.
    for output in ["", "> /dev/null 2>&1"] {
        let leaving = format!(r#"{{"Path": "/bin/sh", "Args": ["-c", "sleep 1000 {output} & echo $!"]}}"#);
        bed.fed("circuit mkproc $X/q", &leaving);
        bed.ok("circuit wait $X/q");
        let child = bed.ok("circuit stdout $X/q | head -n 1");
        bed.ok("circuit scrub -kill $X/q");
        bed.until(&format!("kill -0 {} || echo gone", child.trim()), |said| said == "gone\n");
    }
}

#[test]
fn a_server_has_all_descriptors_it_may_and_its_programs_as_many_as_it_began_with() {
    let bed = Bed::new();
    let server = bed.launch("unset CIRCUIT_HMAC; ulimit -Sn 300; exec circuit start -hmac .hmac -a 127.0.0.1");
    bed.ok(&format!("echo {} > url", server.url));
    let script = |line: &str| format!("export CIRCUIT=url X={}; {line}", server.anchor);
    let look = r#"{"Path": "/bin/sh", "Args": ["-c", "ulimit -Sn; grep 'open files' /proc/$PPID/limits"]}"#;
    bed.fed(&script("circuit mkproc $X/p"), look);
    let said = bed.ok(&script("circuit stdout $X/p"));
    let words: Vec<&str> = said.split_whitespace().collect();
    assert!(matches!(words[..], ["300", "Max", "open", "files", soft, hard, _] if soft == hard), "{said}");
}

#[test]
fn all_of_a_group_has_the_grace_whoever_ends_first() {
    let bed = Bed::with_servers(1);
    let slow = "(trap 'sleep 0.2; echo saved > saved; exit' TERM; echo ready; while :; do sleep 0.01; done) & wait";
    let spec = format!(r#"{{"Path": "/bin/sh", "Args": ["-c", "{slow}"], "Grace": "30s"}}"#);
    bed.fed("circuit mkproc $X/p", &spec);
    bed.ok("circuit stdout $X/p | head -n 1");
    bed.ok("circuit scrub -kill $X/p");
    assert_eq!(bed.ok("cat saved"), "saved\n");
}

#[test]
fn several_read_at_once_from_the_start_or_from_the_end() {
    let bed = Bed::with_servers(1);
    bed.fed("circuit mkproc $X/p", r#"{"Path": "/bin/sh", "Args": ["-c", "echo one; read line; echo $line"]}"#);
    let readers: Vec<_> = ["a", "b"].map(|name| format!("circuit stdout $X/p > {name}")).into();
    let mut readers: Vec<_> = readers.iter().map(|script| bed.command(script).spawn().expect("a shell")).collect();
    for name in ["a", "b"] {
        bed.until(&format!("cat {name}"), |text| text == "one\n");
    }
    readers.push(bed.command("circuit stdout -from-end $X/p > c").spawn().expect("a shell"));
    bed.until("circuit peek -o json $X", |stat| stat.contains("\"Streams\":3"));
    bed.ok("echo two | circuit stdin $X/p");
    for mut reader in readers {
        assert!(reader.wait().expect("its end").success());
    }
    assert_eq!(bed.ok("cat a b c"), "one\ntwo\none\ntwo\ntwo\n");
    assert_eq!(bed.ok("circuit stdout $X/p; circuit stdout --from-end $X/p"), "one\ntwo\n");
}

#[test]
fn a_process_whose_output_is_dropped_never_waits_and_readers_hear_what_they_missed() {
    let bed = Bed::with_servers(1);
    let script = "head -c 3000000 /dev/zero | tr '\\\\0' x; echo end";
    let spec = format!(r#"{{"Path": "/bin/sh", "Args": ["-c", "{script}"], "Output": "drop", "Grace": "2s"}}"#);
    bed.fed("circuit mkproc $X/p", &spec);
    let end = bed.ok("circuit wait -o json $X/p");
    assert!(end.contains(r#""Output":"drop","Grace":"2s"},"#) && end.contains("\"Code\":0"), "{end}");
    let read = bed.sh("circuit stdout $X/p");
    assert_eq!((read.status, read.stdout.len()), (0, 1 << 20), "{}", read.stderr);
    assert!(read.stdout.ends_with("xend\n"));
    let missed = 3_000_004 - (1 << 20);
    assert!(read.stderr.contains(&format!("{missed} bytes of it were no longer kept")), "{}", read.stderr);
}

#[test]
fn output_on_disk_is_whole_however_late_it_is_read_and_leaves_nothing() {
    let mut bed = Bed::new();
    bed.add("-hmac .hmac -a 127.0.0.1 -var var");
    let script = "seq 300000; seq 300000 400000 >&2";
    let spec = format!(r#"{{"Path": "/bin/sh", "Args": ["-c", "{script}"], "Output": "file"}}"#);
    bed.fed("circuit mkproc $X/p", &spec);
    // It would wait for ever if more than 1 MiB were not kept.
    let end = bed.ok("circuit wait -o json $X/p");
    assert!(end.contains(r#""Scrub":false,"Output":"file"}"#) && end.contains("\"Code\":0"), "{end}");
    bed.ok("seq 300000 > out; seq 300000 400000 > err");
    for _ in 0..2 {
        bed.ok("circuit stdout $X/p | cmp - out");
    }
    bed.ok("circuit stderr $X/p | cmp - err");
    bed.ok("circuit stdout $X/p | head -c 100000 > half; head -c 100000 out | cmp - half");
    assert_eq!(bed.ok("ls -A var/processes; stat -c %a var/processes"), "700\n");
    let pid = bed.server(0).pid();
    let open = format!("ls -l /proc/{pid}/fd | grep -c /var/processes/ || true");
    assert_eq!(bed.ok(&open), "2\n");
    bed.ok("circuit scrub $X/p");
    bed.until(&open, |open| open == "0\n");
}
