//! Commands run on servers, as if they ran here.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
};

use rustix::process::Signal;

use crate::support::{Bed, send};

#[test]
fn a_command_is_fed_read_and_its_status_returned() {
    let bed = Bed::with_servers(1);
    let done = bed.fed("circuit run -i -- sh -c 'cat; echo wrong >&2; exit 7'", "from here");
    assert_eq!((done.status, done.stdout.as_str(), done.stderr.as_str()), (7, "from here", "wrong\n"));
    assert_eq!(bed.ok("circuit run $X -- echo -all --"), "-all --\n");
    assert_eq!(bed.ok("circuit ls $X"), "", "nothing is left");
}

#[test]
fn the_status_is_as_a_shell_has_it() {
    let bed = Bed::with_servers(1);
    assert_eq!(bed.sh("circuit run -- sh -c 'kill -9 $$'").status, 137);
    bed.fails("circuit run -- /nowhere/nothing", 127, "no such file");
    bed.fails("circuit run -- /etc/passwd", 126, "permission denied");
    bed.fails("circuit run /X0000000000000001 -- true", 125, "no server of this id");
    bed.fails("circuit mkchan $X/taken 0; circuit run $X/taken -- true", 125, "already exists");
    bed.fails("circuit run / -- true", 125, "-all");
    bed.fails("circuit run -d circuit://127.0.0.1:1/1/Q0000000000000001 -- true", 125, "connection refused");
}

#[test]
fn a_command_that_does_not_read_ends_though_there_is_input() {
    let bed = Bed::with_servers(1);
    let mut child = bed.command("circuit run -i -- echo hi").stdin(Stdio::piped()).spawn().expect("a shell");
    let held = child.stdin.take();
    let done = child.wait_with_output().expect("its end");
    assert_eq!((done.status.code(), done.stdout), (Some(0), b"hi\n".to_vec()));
    drop(held);
}

#[test]
fn a_command_that_reads_no_more_is_not_at_fault() {
    let bed = Bed::with_servers(1);
    let gates = ["one", "two"].map(|name| bed.path().join(name).display().to_string());
    bed.ok(&format!("mkfifo {} {}", gates[0], gates[1]));
    let script = format!("cat {}; exec 0<&-; echo ready; cat {}", gates[0], gates[1]);
    let mut child = bed.command(&format!("yes | circuit run -i -- sh -c '{script}'")).spawn().expect("a shell");
    let mut output = BufReader::new(child.stdout.take().expect("its output"));
    let mut line = String::new();
    // It is fed, and does not read; then it never will.
    bed.until("circuit stk $X", |text| text.contains("stdin of"));
    bed.ok(&format!(": > {}", gates[0]));
    output.read_line(&mut line).expect("a line");
    bed.until("circuit stk $X", |text| !text.contains("stdin of"));
    bed.ok(&format!("echo hi > {}", gates[1]));
    output.read_line(&mut line).expect("a line");
    let done = child.wait_with_output().expect("its end");
    assert_eq!((done.status.code(), line.as_str(), done.stderr.len()), (Some(0), "ready\nhi\n", 0), "{done:?}");
}

#[test]
fn on_several_each_line_has_its_server_and_the_worst_status_counts() {
    let bed = Bed::with_servers(1);
    let x = bed.anchor().trim_start_matches('/');
    // The directory can be made once.
    let done = bed.sh("circuit run $X/a $X/b -- sh -c 'printf one\\\\ntwo; mkdir once 2> /dev/null'");
    let mut lines: Vec<&str> = done.stdout.lines().collect();
    lines.sort_unstable();
    let expected = [format!("{x}/a: one"), format!("{x}/a: two"), format!("{x}/b: one"), format!("{x}/b: two")];
    assert_eq!(lines, expected);
    assert_eq!(done.status, 1, "{done:?}");
    assert_eq!(bed.ok("circuit run -all -- echo hi"), format!("{x}: hi\n"));
}

#[test]
fn each_of_several_is_given_all_of_the_input() {
    let bed = Bed::with_servers(1);
    let x = bed.anchor().trim_start_matches('/');
    bed.ok("head -c 3000000 /dev/urandom > sent");
    let sum = bed.ok("cksum < sent");
    let folded = bed.ok("circuit run -i -b $X/a $X/b -- cksum < sent");
    assert_eq!(folded, format!("== {x}/a {x}/b\n{sum}"));
    let none = bed.ok("circuit run $X/a $X/b -b -- cat < sent");
    assert_eq!(none, "", "without -i there is nothing to read");
}

#[test]
fn equal_output_is_folded() {
    let bed = Bed::with_servers(1);
    let x = bed.anchor().trim_start_matches('/');
    assert_eq!(bed.ok("circuit run -b $X/b $X/a -- echo same"), format!("== {x}/a {x}/b\nsame\n"));
    let differing =
        bed.ok("circuit run -fold $X/a $X/b -- sh -c 'mkdir once 2> /dev/null && echo first || echo second'");
    assert_eq!(differing.matches("== ").count(), 2, "{differing}");
}

#[test]
fn json_tells_the_server_the_stream_and_the_status() {
    let bed = Bed::with_servers(1);
    let x = bed.anchor().trim_start_matches('/');
    let done = bed.sh("circuit run -o json -- sh -c 'echo hi; exit 3'");
    let expected = format!(
        "{{\"Server\":\"{x}\",\"Stream\":\"stdout\",\"Text\":\"hi\\n\"}}\n{{\"Server\":\"{x}\",\"Status\":3}}\n"
    );
    assert_eq!((done.status, done.stdout), (3, expected));
}

#[test]
fn a_closed_pipe_kills_the_command() {
    let bed = Bed::with_servers(1);
    let mut child = bed.command("exec circuit run -- yes").spawn().expect("a shell");
    first_line(&mut child);
    let done = child.wait_with_output().expect("its end");
    assert_eq!((done.status.code(), done.stderr.len()), (Some(141), 0), "{done:?}");
    assert_eq!(bed.ok("circuit ls $X"), "", "nothing is left");
}

#[test]
fn an_interrupt_goes_to_the_command_and_a_second_kills_it() {
    let bed = Bed::with_servers(1);
    // Whom the command has started may hold its output open; this one until now.
    let child = format!("trap '' INT; echo ready; tail -f --pid={} /dev/null; true", std::process::id());
    for (script, status) in [("echo ready; exec cat", 130), ("trap '' INT; echo ready; exec cat", 137), (&child, 137)] {
        let mut command = bed.command(&format!("exec circuit run -i -- sh -c \"{script}\""));
        let mut child = command.stdin(Stdio::piped()).spawn().expect("a shell");
        let mut output = BufReader::new(child.stdout.take().expect("its output"));
        let mut line = String::new();
        output.read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n");
        let held = child.stdin.take();
        let ended = if status == 130 {
            send(&child, Signal::INT);
            child.wait().expect("its end")
        } else {
            loop {
                send(&child, Signal::INT);
                if let Some(ended) = child.try_wait().expect("its state") {
                    break ended;
                }
            }
        };
        assert_eq!(ended.code(), Some(status), "{script}");
        drop(held);
        assert_eq!(bed.ok("circuit ls $X"), "", "nothing is left");
    }
}

#[test]
fn input_that_cannot_be_read_is_an_error() {
    let bed = Bed::with_servers(1);
    bed.fails("circuit run -i -- cat < /", 125, "standard input: is a directory");
    assert_eq!(bed.ok("circuit ls $X"), "", "nothing is left");
}

/// Reads a line, and closes the pipe.
fn first_line(child: &mut Child) {
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
}
