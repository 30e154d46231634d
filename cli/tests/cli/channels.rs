//! Messages from one shell to another.

use crate::support::Bed;

#[test]
fn trying_never_waits() {
    let bed = Bed::with_servers(1);
    bed.ok("circuit mkchan $X/c 1");
    bed.fails("circuit recv -try $X/c", 1, "would block\nhint: without -try it waits");
    bed.ok("echo one | circuit send -try $X/c");
    bed.fails("echo two | circuit send -try $X/c", 1, "would block");
    bed.fails("head -c 100000 /dev/zero | circuit send --try $X/c", 1, "would block");
    assert_eq!(bed.ok("circuit recv -try $X/c"), "one\n");
}

#[test]
fn a_long_message_is_tried_when_somebody_waits_for_it() {
    let bed = Bed::with_servers(1);
    bed.ok("circuit mkchan $X/c 0; head -c 300000 /dev/urandom > message");
    let script = "circuit recv $X/c > received & \
                  until circuit send -try $X/c < message 2> why; do :; done; wait; cmp message received";
    bed.ok(script);
}

#[test]
fn a_deadline_ends_what_waits() {
    let bed = Bed::with_servers(1);
    bed.ok("circuit mkchan $X/c 0");
    bed.fails("circuit recv --timeout 20ms $X/c", 3, "the deadline passed");
    bed.fails("echo late | circuit send --timeout 20ms $X/c", 3, "the deadline passed");
    assert!(bed.ok("circuit peek -o json $X/c").contains("\"NumSend\":0,\"NumRecv\":0"));
}

#[test]
fn a_message_of_any_length_goes_through_whole() {
    let bed = Bed::with_servers(1);
    bed.ok("circuit mkchan $X/c 0; head -c 20000000 /dev/urandom > message");
    bed.ok("circuit send $X/c < message & circuit recv $X/c > received; wait; cmp message received");
    bed.ok(": | circuit send $X/c & circuit recv $X/c > received; wait; test ! -s received");
    assert!(bed.ok("circuit peek -o json $X/c").contains("\"NumSend\":2,\"NumRecv\":2"));
}

#[test]
fn what_was_sent_before_a_close_can_be_received_after() {
    let bed = Bed::with_servers(1);
    bed.ok("circuit mkchan $X/c 2; echo kept | circuit send $X/c; circuit close $X/c");
    bed.fails("echo more | circuit send $X/c", 1, "closed");
    assert_eq!(bed.ok("circuit recv $X/c"), "kept\n");
    bed.fails("circuit recv $X/c", 1, "closed");
    bed.fails("circuit close $X/c", 1, "closed");
}

#[test]
fn whoever_waits_on_a_channel_that_is_removed_is_told() {
    let bed = Bed::with_servers(1);
    bed.ok("circuit mkchan $X/c 0");
    let child = bed.command("circuit recv $X/c").spawn().expect("a shell");
    bed.until("circuit peek -o json $X", |stat| stat.contains("\"Streams\":1"));
    bed.ok("circuit scrub $X/c");
    let done = child.wait_with_output().expect("its end");
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(1));
    assert!(said.contains("aborted: the element was removed"), "{said}");
}

#[test]
fn a_message_that_could_not_be_printed_goes_back() {
    let bed = Bed::with_servers(1);
    bed.ok("circuit mkchan $X/c 1; echo precious | circuit send $X/c");
    bed.fails("circuit recv $X/c >&-", 1, "standard output is closed");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let done = bed.command("circuit recv $X/c").stdout(writer).output().expect("a shell");
    assert_eq!((done.status.code(), done.stderr.len()), (Some(1), 0), "{done:?}");
    assert_eq!(bed.ok("circuit recv $X/c"), "precious\n");
}

#[test]
fn an_interrupted_receiver_takes_no_message() {
    let bed = Bed::with_servers(1);
    bed.ok("circuit mkchan $X/c 0");
    let mut child = bed.command("exec circuit recv $X/c").spawn().expect("a shell");
    bed.until("circuit peek -o json $X", |stat| stat.contains("\"Streams\":1"));
    crate::support::send(&child, rustix::process::Signal::INT);
    assert_eq!(child.wait().expect("its end").code(), Some(130));
    bed.fails("echo x | circuit send -try $X/c", 1, "would block");
}
