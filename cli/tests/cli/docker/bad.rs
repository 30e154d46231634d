//! Containers that cannot be, and servers and engines that end.

use rustix::process::Signal;

use super::{IMAGE, bed, listed, made, make, shell};
use crate::support::Bed;

/// Why one whose memory is limited ended, where nobody knows.
const PERHAPS: &str = "it was killed on its host, perhaps since it used more memory than it may";

#[test]
fn what_cannot_be_made_is_said_and_nothing_of_it_is_left() {
    let Some(bed) = bed("-docker") else { return };
    for (fields, says) in [
        (r#""Image": "127.0.0.1:1/no/such""#, "the image 127.0.0.1:1/no/such is not there and cannot be pulled"),
        (r#""Image": "No Name""#, "invalid reference format"),
        (r#""Image": "get?names=busybox&x=""#, "invalid reference format"),
        (r#""Image": "../containers/x/export""#, "invalid reference format"),
        (r#""Image": """#, "Image is empty"),
        (r#""Path": "/bin/nothing""#, "/bin/nothing could not be started: no such file or directory"),
        (r#""Path": "/tmp""#, "/tmp could not be started: permission denied"),
        (r#""Args": []"#, "No command specified"),
        (r#""Path": "/bin/true", "Memory": 1000"#, "Minimum memory limit"),
        (r#""Path": "/bin/true", "Env": ["A"]"#, "entry 1 of Env is not NAME=VALUE"),
        (r#""Path": "/bin/true", "Volume": ["here:there"]"#, "here:there"),
        (r#""Path": "/bin/true", "Privileged": true"#, "forbidden: Privileged"),
        (r#""Path": "/bin/true", "HostNamespaces": ["net"]"#, "forbidden: HostNamespaces"),
        (r#""Path": "/bin/true", "Volume": ["/var/run/docker.sock:/s"]"#, "leads to the engine's socket"),
        (r#""Path": "/bin/true", "Volume": ["/:/host:ro"]"#, "leads to the engine's socket"),
    ] {
        let done = make(&bed, "c", fields);
        assert!(done.status == 1 && done.stderr.contains(says), "{fields}: {done:?}");
        assert!(done.stderr.lines().count() <= 4, "{fields}: {done:?}");
    }
    bed.ok("ln -s /var/run/docker.sock innocent");
    for way in ["innocent", "nothing/../innocent"] {
        let volume = bed.path().join(way);
        let done = make(&bed, "c", &format!(r#""Path": "/bin/true", "Volume": ["{}:/s"]"#, volume.display()));
        assert!(done.status == 1 && done.stderr.contains("innocent leads to the engine's socket"), "{done:?}");
    }
    let long = format!("\"Args\": [\"{}\"]", "x".repeat(1024 * 1024));
    assert!(make(&bed, "c", &long).stderr.contains("over 1 MiB"));
    assert_eq!(bed.ok("circuit ls $X"), "");
    bed.until(&listed(&bed), str::is_empty);
}

#[test]
fn one_that_uses_too_much_memory_is_ended_and_that_is_said() {
    let Some(bed) = bed("-docker") else { return };
    let greedy = shell("exec dd if=/dev/zero of=/dev/null bs=64M count=1");
    made(&bed, "c", &format!(r#"{greedy}, "Memory": 16777216"#));
    let exit = bed.ok("circuit wait -o json $X/c");
    // An engine may miss that it was its memory.
    let known = bed.ok("circuit peek -o json $X/c").contains("\"OOMKilled\":true");
    let why = if known { "it used more memory than it may" } else { PERHAPS };
    assert!(exit.contains(&format!(r#""Code":137,"Signal":null,"Core":false,"Why":"{why}""#)), "{exit}");
}

#[test]
fn who_kills_one_whose_memory_is_limited_is_not_taken_for_its_memory() {
    let Some(bed) = bed("-docker") else { return };
    let limited = format!(r#"{}, "Memory": 16777216"#, shell("exec sleep 600"));
    let ended = |name, kill: &str| {
        made(&bed, name, &limited);
        bed.ok(kill);
        bed.ok(&format!("circuit wait -o json $X/{name}"))
    };
    let exit = ended("a", "circuit signal KILL $X/a");
    assert!(exit.contains(r#""Code":137"#) && !exit.contains("Why"), "{exit}");
    bed.ok("circuit scrub -kill $X/a");
    let exit = ended("b", &format!("docker kill $({}) > /dev/null", listed(&bed)));
    assert!(exit.contains(PERHAPS), "{exit}");
}

#[test]
fn servers_make_no_containers_unless_they_are_told_to() {
    let bed = Bed::with_servers(1);
    let done = make(&bed, "c", r#""Path": "/bin/true""#);
    done.fails("mkdkr", 1, "forbidden: containers need a server started with -docker");
    assert_eq!(bed.ok("circuit ls $X"), "");
}

#[test]
fn all_is_allowed_where_that_is_said() {
    let Some(bed) = bed("-docker -docker-unsafe") else { return };
    let allowed = r#""HostNamespaces": ["uts", "net"], "Volume": ["/var/run/docker.sock:/s"]"#;
    made(&bed, "c", &format!("{}, {allowed}", shell("ls /s")));
    bed.ok("circuit wait $X/c");
    assert_eq!(bed.ok("circuit stdout $X/c"), "/s\n");
    let peeked = bed.ok("circuit peek -o json $X/c");
    assert!(peeked.contains("\"UTSMode\":\"host\"") && peeked.contains("\"NetworkMode\":\"host\""), "{peeked}");
    // Whether the machine lets its engine do that is not the server's business.
    let done = make(&bed, "d", &format!("{}, \"Privileged\": true", shell("true")));
    assert!(done.status == 0 || done.stderr.contains("the container engine says"), "{done:?}");
}

#[test]
fn an_engine_that_is_not_there_is_named() {
    let mut bed = Bed::new();
    bed.add("-a 127.0.0.1 -hmac .hmac -docker /nowhere/engine.sock");
    let done = make(&bed, "c", r#""Path": "/bin/true""#);
    done.fails("mkdkr", 3, "the container engine at /nowhere/engine.sock does not answer: No such file");
    assert_eq!(bed.ok("circuit ls $X"), "");
    bed.ok("circuit suicide $X");
}

#[test]
fn containers_end_with_their_server() {
    let Some(mut bed) = bed("-docker") else { return };
    let server = bed.start(&format!("-a 127.0.0.1 -hmac .hmac -docker -j {}", bed.server(0).url));
    bed.until("circuit ls /", |listed| listed.lines().count() == 2);
    let spec = format!(r#"{{"Image": "{}", "Path": "/bin/cat"}}"#, IMAGE);
    for name in ["c", "d"] {
        assert_eq!(bed.fed(&format!("circuit mkdkr {}/{name}", server.anchor), &spec).status, 0);
    }
    bed.ok(&format!("circuit scrub {}/d", server.anchor)); // which goes on
    let containers = listed(&bed).replace(bed.anchor().trim_start_matches('/'), server.anchor.trim_start_matches('/'));
    assert_eq!(bed.ok(&containers).lines().count(), 2);
    server.signal(Signal::TERM);
    assert_eq!(server.end().0, Some(0));
    assert_eq!(bed.ok(&containers), "");
    // One that is killed can do nothing; the next of its name does.
    let args = format!("-a 127.0.0.1 -hmac .hmac -docker -var state -j {}", bed.server(0).url);
    bed.add(&args);
    bed.until("circuit ls /", |listed| listed == bed.listing());
    made(&bed, "c", r#""Path": "/bin/cat""#);
    bed.server(1).signal(Signal::KILL);
    assert_eq!(bed.ok(&listed(&bed)).lines().count(), 1);
    bed.add(&args);
    bed.until(&listed(&bed), str::is_empty);
}
