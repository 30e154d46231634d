//! Many containers, by an engine that dies among them: nothing is left, nothing
//! is stuck.

use std::{
    fs,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use super::{IMAGE, engine::Private};
use crate::support::Bed;

const CONTAINERS: usize = 100;
const AT_ONCE: usize = 8;

#[test]
fn a_hundred_come_and_go_and_the_engine_too() {
    let Some(mut engine) = Private::start() else { return };
    let mut bed = Bed::new();
    let server = bed.add(&format!("-a 127.0.0.1 -hmac .hmac -docker {}", engine.socket().display()));
    let pid = server.pid();
    one(&bed, "first");
    let before = (descriptors(pid), server_memory(pid));
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= CONTAINERS {
                        return;
                    }
                    one(&bed, &number.to_string());
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        while done.load(Ordering::Relaxed) < CONTAINERS / 2 {
            thread::yield_now();
        }
        engine.kill();
        engine.launch();
    });
    assert_eq!(bed.ok("circuit ls $X"), "");
    let containers = format!("docker {} ps --all --quiet", engine.options());
    bed.until(&containers, str::is_empty);
    // What a client has left is closed a moment after it.
    while descriptors(pid) > before.0 {
        thread::yield_now();
    }
    let memory = server_memory(pid);
    assert!(memory < before.1 + 16 * 1024, "{} KiB before, {memory} after", before.1);
}

/// A container is made, waited for and removed. While there is no engine that is
/// said, and tried again.
fn one(bed: &Bed, name: &str) {
    let spec = format!(r#"{{"Image": "{IMAGE}", "Path": "/bin/echo", "Args": ["{name}"]}}"#);
    loop {
        let made = bed.fed(&format!("circuit mkdkr $X/{name}"), &spec);
        if made.status == 0 {
            break;
        }
        assert!(made.stderr.contains("container engine"), "{made:?}");
    }
    let waited = bed.ok(&format!("circuit wait -o json $X/{name}"));
    assert!(waited.contains("\"Phase\":\"exited\""), "{waited}");
    let read = bed.ok(&format!("circuit stdout $X/{name}"));
    // One that was killed with its engine may have said nothing.
    assert!(read == format!("{name}\n") || !waited.contains("\"Code\":0,"), "{read:?} {waited}");
    let removed = bed.sh(&format!("circuit scrub -kill $X/{name}"));
    assert!(removed.status == 0 || removed.stderr.contains("container engine"), "{removed:?}");
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("its descriptors").count()
}

/// What memory a server has, in KiB.
fn server_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("its state");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
