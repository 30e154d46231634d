//! Every command line of the README about what there is so far, as it stands
//! there but for addresses and ids: on two servers with a key, from a client
//! that dials the first, with elements on the second.

use crate::support::Bed;

/// What the README shows of a circuit that runs.
pub(crate) const EXAMPLES: [fn(&Bed); 7] = [dialling, process, output, channel, nameserver, listings, subscriptions];

#[test]
fn the_examples_work() {
    for example in EXAMPLES {
        example(&Bed::with_servers(2));
    }
}

fn dialling(bed: &Bed) {
    let (url, listing) = (&bed.server(0).url, bed.listing());
    assert_eq!(bed.ok("circuit ls /"), listing);
    assert_eq!(bed.ok("circuit ls /..."), listing);
    for line in [
        format!("circuit ls -d {url} /"),
        format!("circuit ls -dial {url} /..."),
        format!("circuit ls --dial={url} /..."),
        format!("unset CIRCUIT_HMAC; circuit ls -hmac .hmac -d {url} /..."),
    ] {
        assert_eq!(bed.ok(&format!("unset CIRCUIT; {line}")), listing);
    }
    let by_file = format!("echo {url} > ~/.circuit; export CIRCUIT=\"~/.circuit\"; circuit ls /");
    assert_eq!(bed.ok(&by_file), listing);
}

fn process(bed: &Bed) {
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
    assert_eq!(bed.ok("circuit ls /..."), bed.listing());
}

/// It shows before standard input is closed.
fn output(bed: &Bed) {
    bed.ok(r#"echo '{"Path": "/bin/sh", "Args": ["-c", "echo at once; cat; echo aside >&2"]}' | circuit mkproc $X/p"#);
    assert_eq!(bed.ok("circuit stdout $X/p | head -n 1"), "at once\n");
    assert!(bed.ok("circuit peek $X/p").contains("\"Phase\": \"running\""));
    bed.ok("echo more | circuit stdin $X/p; echo $X/p | circuit waitall");
    assert_eq!(bed.ok("circuit stderr $X/p"), "aside\n");
    bed.ok(r#"echo '{"Path": "/bin/cat"}' | circuit mkproc $X/cat; circuit signal KILL $X/cat"#);
    assert!(bed.ok("circuit wait $X/cat").contains("\"Signal\": \"KILL\""));
    bed.ok("circuit scrub $X/p; circuit scrub $X/cat");
}

fn channel(bed: &Bed) {
    bed.ok("circuit mkchan $X/this/is/charlie 3");
    let peeked = bed.ok("circuit peek $X/this/is/charlie");
    let printed =
        "{\n\t\"Cap\": 3,\n\t\"Closed\": false,\n\t\"Aborted\": false,\n\t\"NumSend\": 0,\n\t\"NumRecv\": 0\n}\n";
    assert_eq!(peeked, printed);
    bed.ok("echo over there > some_file; circuit send $X/this/is/charlie < some_file");
    assert_eq!(bed.ok("circuit recv $X/this/is/charlie"), "over there\n");
    bed.ok("circuit close $X/this/is/charlie");
    assert!(bed.ok("circuit peek $X/this/is/charlie").contains("\"Closed\": true"));
    bed.ok("circuit scrub $X/this/is/charlie");
}

fn nameserver(bed: &Bed) {
    bed.ok("circuit mkdns $X/mydns");
    let peeked = bed.ok("circuit peek $X/mydns");
    let own = format!("{{\n\t\"Address\": \"{}:", bed.server(1).url.split(['/', ':']).nth(3).expect("a host"));
    assert!(peeked.starts_with(&own) && peeked.ends_with("\",\n\t\"Records\": {}\n}\n"), "{peeked}");
    bed.ok("circuit set $X/mydns \"miek.nl. 3600 IN MX 10 mx.miek.nl.\"");
    bed.ok("circuit set $X/mydns \"miek.nl. 3600 IN MX 20 mx2.miek.nl.\"");
    let peeked = bed.ok("circuit peek $X/mydns");
    let records = "\t\"Records\": {\n\t\t\"miek.nl.\": [\n\t\t\t\"miek.nl.\\t3600\\tIN\\tMX\\t10 mx.miek.nl.\",\n\
                   \t\t\t\"miek.nl.\\t3600\\tIN\\tMX\\t20 mx2.miek.nl.\"\n\t\t]\n\t}\n}\n";
    assert!(peeked.ends_with(records), "{peeked}");
    bed.ok("circuit unset $X/mydns miek.nl.");
    assert!(bed.ok("circuit peek $X/mydns").ends_with("\"Records\": {}\n}\n"));
    bed.ok("circuit scrub $X/mydns");
}

fn listings(bed: &Bed) {
    let x = bed.anchor();
    bed.ok("circuit mkchan $X/a/b 0; echo '{\"Path\": \"/bin/true\"}' | circuit mkproc $X/a/b/c");
    assert_eq!(bed.ok("circuit ls $X"), format!("{x}/a\n"));
    assert_eq!(bed.ok("circuit ls $X/..."), format!("{x}/a\n{x}/a/b\n{x}/a/b/c\n"));
    let long = bed.ok("circuit ls -l /...");
    assert!(long.contains(&format!("server {x}\n·      {x}/a\nchan   {x}/a/b\nproc   {x}/a/b/c\n")), "{long}");
    let turned = bed.ok("circuit ls -depth /...");
    assert!(turned.contains(&format!("{x}/a/b/c\n{x}/a/b\n{x}/a\n{x}\n")), "{turned}");
    assert_eq!(bed.ok("circuit ls -de -long $X/a/..."), format!("proc   {x}/a/b/c\nchan   {x}/a/b\n"));
    bed.ok("circuit scrub $X/a/b/c; circuit scrub $X/a/b");
}

fn subscriptions(bed: &Bed) {
    bed.ok("circuit mk@join $X/watch/join; circuit mk@leave $X/watch/leave");
    let there = bed.ok("circuit recv $X/watch/join; circuit recv $X/watch/join");
    assert_eq!(there, bed.listing(), "those that are there come first");
    let peeked = bed.ok("circuit peek $X/watch/join");
    assert_eq!(peeked, "{\n\t\"Source\": \"@join\",\n\t\"Pending\": 0,\n\t\"Closed\": false\n}\n");
    let third = bed.start(&format!("{} -hmac .hmac -j {}", bed.listen(), bed.server(0).url));
    assert_eq!(bed.ok("circuit recv $X/watch/join"), format!("{}\n", third.anchor));
    bed.ok(&format!("circuit suicide {}", third.anchor));
    assert_eq!(bed.ok("circuit recv $X/watch/leave"), format!("{}\n", third.anchor));
    assert_eq!(third.end(), (Some(0), String::new()), "a server that was told to end does so in good order");
    let x = bed.anchor();
    let listed = bed.ok("circuit ls -l $X/...");
    assert_eq!(listed, format!("·      {x}/watch\n@join  {x}/watch/join\n@leave {x}/watch/leave\n"));
    bed.ok("circuit scrub $X/watch/join; circuit scrub $X/watch/leave");
}

#[test]
fn servers_are_started_one_after_the_other() {
    let bed = Bed::new();
    let first = bed.launch("exec circuit start -a 127.0.0.1 -hmac .hmac");
    assert!(first.url.starts_with("circuit://127.0.0.1:"), "{}", first.url);
    let second = bed.launch(&format!("exec circuit start -a 127.0.0.1:0 -j {}", first.url));
    for url in [&first.url, &second.url] {
        bed.until(&format!("circuit ls -d {url} /"), |listed| listed.lines().count() == 2);
    }
}

#[test]
fn servers_and_clients_find_each_other() {
    let bed = Bed::new();
    let _first = bed.launch("exec circuit start -if lo -discover 228.8.8.8:7711");
    let _second = bed.launch("export CIRCUIT_DISCOVER=228.8.8.8:7711; exec circuit start -if lo");
    bed.until("circuit ls -discover 228.8.8.8:7711 /...", |listed| listed.lines().count() == 2);
    bed.until("export CIRCUIT_DISCOVER=228.8.8.8:7711; circuit ls /...", |listed| listed.lines().count() == 2);
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
    let verbs = "start keygen join suicide stk log ls peek scrub mkproc stdin stdout stderr signal wait waitall \
                 mkchan send recv close mkdns set unset mk@join mk@leave run";
    for verb in verbs.split(' ') {
        assert!(help.lines().any(|line| line.trim_start().starts_with(&format!("{verb} "))), "{verb}: {help}");
        let more = bed.ok(&format!("circuit help {verb}"));
        assert!(more.contains(&format!("Usage: circuit {verb}")), "{more}");
    }
}
