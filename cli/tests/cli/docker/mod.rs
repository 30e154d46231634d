//! Containers, by a real engine: skipped where there is none.

mod bad;
mod engine;
mod leaks;
mod registry;

use std::ops::{Deref, DerefMut};

use circuit_tests::engine::{IMAGE, is_there};

use crate::support::{Bed, Done};

/// A circuit whose containers go with it, though its servers are killed.
struct Clean(Bed);

impl Deref for Clean {
    type Target = Bed;
    fn deref(&self) -> &Bed {
        &self.0
    }
}

impl DerefMut for Clean {
    fn deref_mut(&mut self) -> &mut Bed {
        &mut self.0
    }
}

impl Drop for Clean {
    fn drop(&mut self) {
        self.sh(&format!("docker rm --force --volumes $({})", listed(self)));
    }
}

/// A circuit of one server that makes containers, if it can.
fn bed(options: &str) -> Option<Clean> {
    is_there().then(|| {
        let mut bed = Bed::new();
        bed.add(&format!("-a 127.0.0.1 -hmac .hmac {options}"));
        Clean(bed)
    })
}

/// Makes a container, of the test's image unless it names another.
fn make(bed: &Bed, name: &str, fields: &str) -> Done {
    let image = if fields.contains("\"Image\"") { String::new() } else { format!("\"Image\": \"{IMAGE}\", ") };
    bed.fed(&format!("circuit mkdkr $X/{name}"), &format!("{{{image}{fields}}}"))
}

fn made(bed: &Bed, name: &str, fields: &str) {
    let done = make(bed, name, fields);
    assert_eq!((done.status, done.stderr.as_str()), (0, ""), "{fields}: {done:?}");
}

/// What a shell in a container should do.
fn shell(script: &str) -> String {
    format!(r#""Path": "/bin/sh", "Args": ["-c", "{script}"]"#)
}

/// How the engine's command names the containers of this circuit's server.
fn listed(bed: &Bed) -> String {
    format!("docker ps --all --quiet --filter label=circuit.server={}", bed.anchor().trim_start_matches('/'))
}

#[test]
fn streams_are_as_those_of_a_process() {
    let Some(bed) = bed("-docker") else { return };
    made(&bed, "c", &shell("cat; echo wrong >&2"));
    assert_eq!(bed.ok("circuit ls -l $X"), format!("docker {}/c\n", bed.anchor()));
    bed.ok("echo right | circuit stdin $X/c");
    assert!(bed.ok("circuit wait -o json $X/c").contains("\"Code\":0,\"Signal\":null,"));
    for _ in 0..2 {
        let read = (bed.ok("circuit stdout $X/c"), bed.ok("circuit stderr $X/c"));
        assert_eq!(read, ("right\n".into(), "wrong\n".into()));
    }
    bed.ok("circuit stdin $X/c < /dev/null");
    bed.fails("echo late | circuit stdin $X/c", 1, "does not read any more");
    bed.fails("circuit signal TERM $X/c", 1, "the container has ended");
    bed.fails("circuit send $X/c < /dev/null", 1, "'send' is not for docker");
    bed.ok("circuit scrub $X/c");
    bed.until(&listed(&bed), str::is_empty);
}

#[test]
fn nothing_is_lost_of_what_nobody_reads_and_the_container_waits() {
    let Some(bed) = bed("-docker") else { return };
    made(&bed, "c", &shell("yes 0123456789 | dd bs=1M count=64 iflag=fullblock; echo done >&2"));
    bed.until("circuit peek -o json $X/c", |peeked| peeked.contains("\"Running\":true"));
    assert_eq!(bed.ok("circuit stdout $X/c | head -c 1100"), "0123456789\n".repeat(100));
    assert_eq!(bed.ok("circuit stdout $X/c | wc -c; circuit stderr $X/c | tail -n 1"), "67108864\ndone\n");
    let most = bed.server(0).most_memory();
    assert!(most < 128 * 1024, "{most} KiB");
}

#[test]
fn what_is_wished_for_is_what_it_gets() {
    let Some(bed) = bed("-docker") else { return };
    bed.ok("mkdir volume && echo inside > volume/file");
    let volume = bed.path().join("volume");
    let fields = format!(
        r#""Memory": 33554432, "CpuShares": 3, "Lxc": [], "Volume": ["/fresh", "{}:/data:ro"], "Dir": "/tmp", "Entry": "/bin/sh",
        "Env": ["A=b", "PATH=/bin"], "Args": ["-c", "pwd; echo $A; cat /data/file; ls -d /fresh; echo x > /data/file"],"#,
        volume.display()
    );
    made(&bed, "c", &fields);
    bed.ok("circuit wait $X/c");
    assert_eq!(bed.ok("circuit stdout $X/c"), "/tmp\nb\ninside\n/fresh\n");
    assert!(bed.ok("circuit stderr $X/c").contains("Read-only file system"));
    let peeked = bed.ok("circuit peek -o json $X/c");
    for part in ["\"Memory\":33554432", "\"CpuShares\":3", "\"WorkingDir\":\"/tmp\"", "\"Privileged\":false"] {
        assert!(peeked.contains(part), "{part}: {peeked}");
    }
    // The engine's own words, and all of them.
    let script = format!(
        "docker inspect $({}) | tr -d ' \\t\\n' | wc -c; circuit peek $X/c | tr -d ' \\t\\n' | wc -c",
        listed(&bed)
    );
    let counts = bed.ok(&script);
    let counts: Vec<usize> = counts.lines().map(|count| count.parse().expect("a number")).collect();
    assert_eq!(counts[0], counts[1] + 2, "but for the brackets");
    let volumes = bed.ok(&format!("docker volume ls --quiet; circuit scrub -kill $X/c; {}", listed(&bed)));
    bed.until("docker volume ls --quiet", |left| volumes.lines().any(|volume| !left.contains(volume)));
}

#[test]
fn what_engines_have_no_more_is_ignored_and_said() {
    let Some(bed) = bed("-docker") else { return };
    let done = make(&bed, "c", r#""Path": "/bin/true", "Lxc": ["lxc.cgroup.cpuset.cpus = 0,1"]"#);
    assert_eq!((done.status, done.stderr.as_str()), (0, "circuit: Lxc is ignored: engines no longer have it\n"));
    bed.ok("circuit wait $X/c");
}

#[test]
fn signals_reach_it_and_stopping_is_the_engines() {
    let Some(bed) = bed("-docker") else { return };
    made(&bed, "c", &shell("trap 'echo got; exit 3' TERM; echo ready; while :; do sleep 0.05; done"));
    bed.ok("circuit stdout $X/c | head -n 1");
    for (name, paused) in [("STOP", "\"Paused\":true"), ("sigcont", "\"Paused\":false")] {
        bed.ok(&format!("circuit signal {name} $X/c"));
        bed.until("circuit peek -o json $X/c", |peeked| peeked.contains(paused));
    }
    bed.ok("circuit signal TERM $X/c");
    assert!(bed.ok("circuit wait -o json $X/c").contains("\"Code\":3,"));
    made(&bed, "d", r#""Path": "/bin/cat""#);
    bed.ok("circuit signal KILL $X/d");
    assert!(bed.ok("circuit wait -o json $X/d").contains("\"Code\":137,"));
}

#[test]
fn an_end_from_outside_is_noticed() {
    let Some(bed) = bed("-docker") else { return };
    let running = format!("$({} --filter status=running)", listed(&bed));
    for (end, peeked) in
        [("stop --time 0", "\"Status\":\"exited\""), ("kill", "\"Status\":\"exited\""), ("rm --force", "")]
    {
        made(&bed, "c", r#""Path": "/bin/cat""#);
        let waiting = bed.command("circuit wait -o json $X/c").spawn().expect("a shell");
        bed.until("circuit peek -o json $X", |stat| stat.contains("\"Streams\":1"));
        bed.ok(&format!("docker {end} {running} > /dev/null"));
        let waited = waiting.wait_with_output().expect("its end");
        let exit = String::from_utf8_lossy(&waited.stdout).into_owned();
        assert!(exit.contains("\"Code\":137,"), "{end}: {exit}");
        assert_eq!(bed.ok("circuit stdout $X/c"), "");
        if peeked.is_empty() {
            bed.fails("circuit peek $X/c", 1, "No such container");
        } else {
            assert!(bed.ok("circuit peek -o json $X/c").contains(peeked), "{end}");
        }
        bed.ok("circuit scrub -kill $X/c");
        assert_eq!(bed.ok(&listed(&bed)), "");
    }
}

#[test]
fn removing_lets_it_go_on_unless_it_is_to_be_killed() {
    let Some(bed) = bed("-docker") else { return };
    bed.ok("mkdir volume");
    let volume = format!(r#""Volume": ["{}:/data"]"#, bed.path().join("volume").display());
    let wait = shell("until [ -e /data/go ]; do :; done; echo done > /data/gone; cat");
    made(&bed, "c", &format!("{wait}, {volume}"));
    bed.ok("circuit scrub $X/c; touch volume/go");
    bed.until("cat volume/gone", |text| text == "done\n");
    // What runs on, nobody sees; it is removed when it has ended.
    bed.ok(&format!("docker kill $({}) > /dev/null", listed(&bed)));
    bed.until(&listed(&bed), str::is_empty);
    made(&bed, "d", &shell("trap 'exit 0' TERM; while :; do sleep 0.05; done"));
    let waiting = bed.command("circuit wait $X/d").spawn().expect("a shell");
    bed.until("circuit peek -o json $X", |stat| stat.contains("\"Streams\":1"));
    assert_eq!(bed.ok(&format!("circuit scrub -kill $X/d; {}", listed(&bed))), "");
    let waited = waiting.wait_with_output().expect("its end");
    assert!(String::from_utf8_lossy(&waited.stderr).contains("removed"), "{waited:?}");
    made(&bed, "e", r#""Path": "/bin/true", "Scrub": true"#);
    bed.until("circuit ls $X", str::is_empty);
    bed.until(&listed(&bed), str::is_empty);
}
