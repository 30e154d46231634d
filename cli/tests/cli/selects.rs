//! Selects, whose clauses are on several servers.

use crate::support::Bed;

#[test]
fn one_clause_takes_place_and_its_message_is_moved() {
    let bed = Bed::with_servers(3);
    let far = &bed.server(1).anchor;
    bed.ok(&format!("circuit mkchan $X/a 0 && circuit mkchan {far}/b 1"));
    let clauses = format!(r#"[{{"Name": "near", "Recv": "'$X'/a"}}, {{"Name": "far", "Recv": "{far}/b"}}]"#);
    bed.ok(&format!("echo '{clauses}' | circuit mkselect $X/s"));
    assert!(bed.ok("circuit ls -l $X").contains("select "), "its kind is shown");
    bed.fails("circuit recv $X/s", 1, "not decided yet");
    bed.ok(&format!("printf hello | circuit send {far}/b"));
    assert_eq!(bed.ok("circuit wait -o json $X/s"), "{\"clause\":1,\"name\":\"far\"}\n");
    assert_eq!(bed.ok("circuit recv $X/s"), "hello");
    bed.fails("circuit send -try $X/a", 1, "send");
    let peeked = bed.ok("circuit peek -o json $X/s");
    assert!(peeked.contains(r#""Chosen":{"clause":1,"name":"far"}"#), "{peeked}");
    bed.fails("printf x | circuit send $X/s", 1, "send");
}

#[test]
fn a_select_sends() {
    let bed = Bed::with_servers(2);
    bed.ok("circuit mkchan $X/a 1");
    bed.ok(r#"echo '[{"After": "1h"}, {"Send": "'$X'/a"}]' | circuit mkselect $X/s"#);
    assert_eq!(bed.ok("circuit wait -o json $X/s"), "{\"clause\":1,\"name\":\"\"}\n");
    bed.ok("printf sent | circuit send $X/s");
    assert_eq!(bed.ok("circuit recv $X/a"), "sent");
}

#[test]
fn times_defaults_and_ends_are_clauses_too() {
    let bed = Bed::with_servers(2);
    bed.ok("circuit mkchan $X/a 0");
    bed.ok(r#"echo '[{"Recv": "'$X'/a"}, {"Default": true}]' | circuit mkselect $X/now"#);
    assert_eq!(bed.ok("circuit wait -o json $X/now"), "{\"clause\":1,\"name\":\"\"}\n");
    bed.ok(r#"echo '[{"Recv": "'$X'/a"}, {"Name": "late", "After": "1ms"}]' | circuit mkselect $X/soon"#);
    assert_eq!(bed.ok("circuit wait -o json $X/soon"), "{\"clause\":1,\"name\":\"late\"}\n");
    bed.ok(r#"echo '{"Path": "/bin/sh", "Args": ["-c", "exit 3"]}' | circuit mkproc $X/p"#);
    bed.ok(r#"echo '[{"Recv": "'$X'/a"}, {"Exit": "'$X'/p"}]' | circuit mkselect $X/end"#);
    let ended = bed.ok("circuit wait -o json $X/end");
    assert!(ended.starts_with(r#"{"clause":1,"name":"","exit":{"Code":3,"#), "{ended}");
}

#[test]
fn a_select_that_is_removed_leaves_no_trace() {
    let bed = Bed::with_servers(2);
    bed.ok("circuit mkchan $X/a 0");
    bed.ok(r#"echo '[{"Recv": "'$X'/a"}]' | circuit mkselect $X/s && circuit scrub $X/s"#);
    bed.fails("circuit wait $X/s", 1, "wait");
    bed.fails("printf x | circuit send -try $X/a", 1, "send");
}

#[test]
fn bad_clauses_are_refused_before_anything_is_made() {
    let bed = Bed::with_servers(1);
    for (clauses, says) in [
        ("[]", "at least one clause"),
        (r#"[{"Default": true}, {"Default": true}]"#, "one default at most"),
        (r#"[{"Recv": "X"}]"#, "clause 0"),
        ("nothing", "clauses of the select"),
    ] {
        bed.fails(&format!("echo '{clauses}' | circuit mkselect $X/s"), 2, says);
    }
    let many = format!("[{}]", vec![r#"{"After": "1s"}"#; 65].join(","));
    bed.fails(&format!("echo '{many}' | circuit mkselect $X/s"), 2, "64 clauses at most");
    assert_eq!(bed.ok("circuit ls $X"), "");
}

#[test]
fn the_first_of_several_processes_is_waited_for() {
    let bed = Bed::with_servers(2);
    let far = bed.server(0).anchor.clone();
    bed.ok(r#"echo '{"Path": "/bin/cat"}' | circuit mkproc $X/slow"#);
    bed.ok(&format!(r#"echo '{{"Path": "/bin/sh", "Args": ["-c", "exit 4"]}}' | circuit mkproc {far}/quick"#));
    assert_eq!(bed.ok(&format!("circuit wait -any $X/slow {far}/quick")), format!("{far}/quick\n"));
    let first = bed.ok(&format!("circuit wait -any -o json $X/slow {far}/quick"));
    assert!(first.contains(&format!(r#""Anchor":"{far}/quick""#)) && first.contains(r#""Code":4"#), "{first}");
    bed.fails("circuit wait -any $X/slow --timeout 10ms", 3, "the deadline passed");
    bed.fails(&format!("circuit wait $X/slow {far}/quick"), 2, "-any");
}
