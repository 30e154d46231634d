//! Every command line of the README about what there is so far, as it stands
//! there but for addresses and ids.

use crate::support::Bed;

#[test]
fn a_server_prints_its_url_and_is_dialled_by_it() {
    let mut bed = Bed::new();
    let server = bed.add("-a 127.0.0.1 -hmac .hmac");
    let (url, anchor) = (server.url.clone(), server.anchor.clone());
    assert!(url.starts_with("circuit://127.0.0.1:"), "{url}");
    assert_eq!(bed.ok("circuit ls /"), format!("{anchor}\n"));
    let listed = format!("{anchor}\n");
    assert_eq!(bed.ok(&format!("unset CIRCUIT; circuit ls -d {url} /")), listed);
    assert_eq!(bed.ok(&format!("unset CIRCUIT; circuit ls -dial {url} /...")), listed);
    assert_eq!(bed.ok(&format!("unset CIRCUIT; circuit ls --dial={url} /...")), listed);
    assert_eq!(bed.ok("unset CIRCUIT_HMAC; circuit ls -hmac .hmac /..."), listed);
    let by_file = format!("echo {url} > ~/.circuit; export CIRCUIT=\"~/.circuit\"; circuit ls /");
    assert_eq!(bed.ok(&by_file), listed);
}

#[test]
fn a_server_binds_to_an_interface() {
    let bed = Bed::new();
    let server = bed.start("-if lo");
    assert!(server.url.starts_with("circuit://127.0.0.1:"), "{}", server.url);
}

#[test]
fn a_key_is_made_and_used() {
    let bed = Bed::new();
    let key = bed.ok("circuit keygen");
    assert_eq!((key.len(), key.ends_with("=\n")), (45, true), "{key}");
}

#[test]
fn the_help_screen_lists_the_verbs() {
    let bed = Bed::new();
    let help = bed.ok("circuit help");
    let verbs =
        "start keygen ls peek scrub mkproc stdin stdout stderr signal wait waitall mkchan send recv close log run";
    for verb in verbs.split(' ') {
        assert!(help.lines().any(|line| line.trim_start().starts_with(&format!("{verb} "))), "{verb}: {help}");
        let more = bed.ok(&format!("circuit help {verb}"));
        assert!(more.contains(&format!("Usage: circuit {verb}")), "{more}");
    }
}

#[test]
fn the_example_of_a_process_works() {
    let bed = Bed::with_servers(1);
    bed.ok(r#"circuit mkproc $X/pippi << EOF
	{
		"Path": "/bin/ls", 
		"Args":["/"]
	}
EOF"#);
    let peeked = bed.ok("circuit peek $X/pippi");
    assert!(peeked.starts_with("{\n\t\"Cmd\": {\n\t\t\"Env\": [],"), "{peeked}");
    assert!(peeked.contains("\"Path\": \"/bin/ls\"") && peeked.contains("\"Phase\": "), "{peeked}");
    bed.ok("cat /dev/null | circuit stdin $X/pippi");
    assert_eq!(bed.ok("circuit stdout $X/pippi"), bed.ok("/bin/ls /"));
    bed.ok("circuit scrub $X/pippi");
    assert_eq!(bed.ok("circuit ls /..."), format!("{}\n", bed.anchor()));
}

#[test]
fn output_shows_before_standard_input_is_closed() {
    let bed = Bed::with_servers(1);
    bed.ok(r#"echo '{"Path": "/bin/sh", "Args": ["-c", "echo at once; cat"]}' | circuit mkproc $X/p"#);
    assert_eq!(bed.ok("circuit stdout $X/p | head -n 1"), "at once\n");
    assert!(bed.ok("circuit peek $X/p").contains("\"Phase\": \"running\""));
}

#[test]
fn the_example_of_a_channel_works() {
    let bed = Bed::with_servers(1);
    bed.ok("circuit mkchan $X/this/is/charlie 3");
    let peeked = bed.ok("circuit peek $X/this/is/charlie");
    let printed =
        "{\n\t\"Cap\": 3,\n\t\"Closed\": false,\n\t\"Aborted\": false,\n\t\"NumSend\": 0,\n\t\"NumRecv\": 0\n}\n";
    assert_eq!(peeked, printed);
    bed.ok("echo over there > some_file; circuit send $X/this/is/charlie < some_file");
    assert_eq!(bed.ok("circuit recv $X/this/is/charlie"), "over there\n");
    bed.ok("circuit close $X/this/is/charlie");
    assert!(bed.ok("circuit peek $X/this/is/charlie").contains("\"Closed\": true"));
}

#[test]
fn listings_are_long_deep_and_leaves_first() {
    let bed = Bed::with_servers(1);
    let x = bed.anchor();
    bed.ok("circuit mkchan $X/a/b 0; echo '{\"Path\": \"/bin/true\"}' | circuit mkproc $X/a/b/c");
    assert_eq!(bed.ok("circuit ls $X"), format!("{x}/a\n"));
    assert_eq!(bed.ok("circuit ls $X/..."), format!("{x}/a\n{x}/a/b\n{x}/a/b/c\n"));
    assert_eq!(bed.ok("circuit ls -l /..."), format!("server {x}\n·      {x}/a\nchan   {x}/a/b\nproc   {x}/a/b/c\n"));
    assert_eq!(bed.ok("circuit ls -depth /..."), format!("{x}/a/b/c\n{x}/a/b\n{x}/a\n{x}\n"));
    assert_eq!(bed.ok("circuit ls -de -long $X/a/..."), format!("proc   {x}/a/b/c\nchan   {x}/a/b\n"));
}
