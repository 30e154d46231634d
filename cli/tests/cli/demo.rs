//! The demo: it shows the work move, ends by itself, and leaves nothing.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::support::{Bed, send};

/// How long the system may take to end what was killed already.
const PATIENCE: Duration = Duration::from_secs(20);

/// A demo, whose processes are known by a mark in their environment, and whose
/// files by where they are.
struct Demo {
    bed: Bed,
    mark: String,
}

impl Demo {
    fn new(name: &str) -> Self {
        let bed = Bed::new();
        fs::create_dir(bed.path().join("tmp")).expect("a folder");
        Self { bed, mark: format!("CIRCUIT_DEMO_TEST={name}-{}", std::process::id()) }
    }

    fn command(&self, script: &str) -> Command {
        let (name, value) = self.mark.split_once('=').expect("both");
        let mut command = self.bed.command(script);
        command.env("TMPDIR", self.files()).env(name, value);
        command
    }

    fn files(&self) -> PathBuf {
        self.bed.path().join("tmp")
    }

    /// The processes of the demo, itself among them.
    fn processes(&self) -> Vec<i32> {
        let all = fs::read_dir("/proc").expect("processes");
        let numbers = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let marked = |pid: &i32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|&byte| byte == 0).any(|pair| pair == self.mark.as_bytes())
        };
        numbers.filter(marked).collect()
    }

    fn left_nothing(&self) {
        assert_eq!(fs::read_dir(self.files()).expect("a folder").count(), 0, "files are left");
        let until = Instant::now() + PATIENCE;
        while !self.processes().is_empty() {
            assert!(Instant::now() < until, "processes are left: {:?}", self.processes());
            thread::yield_now();
        }
    }
}

/// Reads what a demo says until that contains `words`.
fn heard(child: &mut Child, words: &str) -> BufReader<std::process::ChildStdout> {
    let mut output = BufReader::new(child.stdout.take().expect("its output"));
    let mut line = String::new();
    while !line.contains(words) {
        line.clear();
        assert!(output.read_line(&mut line).expect("text") > 0, "it ended without {words:?}");
    }
    output
}

#[test]
fn the_demo_shows_the_work_move_and_leaves_nothing() {
    let demo = Demo::new("whole");
    let done = demo.command("circuit demo").output().expect("a shell");
    let said = String::from_utf8(done.stdout).expect("text");
    assert_eq!((done.status.code(), done.stderr.len()), (Some(0), 0), "{said}");
    demo.left_nothing();
    let server_of = |job: u32| {
        let words = format!(": {job} squared is {}", job * job);
        let mut lines = said.lines().filter_map(|line| line.strip_suffix(&words));
        let server = lines.next().unwrap_or_else(|| panic!("job {job} was not done: {said}")).trim();
        assert_eq!(lines.next(), None, "job {job} was done twice: {said}");
        server
    };
    assert!((1..=3).all(|job| server_of(job) == server_of(1)), "{said}");
    assert!((4..=8).all(|job| server_of(job) == server_of(4)), "{said}");
    assert_ne!(server_of(1), server_of(4), "the work has moved");
    assert!(said.contains(&format!("  /{}    (", server_of(1))), "the watchbot heard of it: {said}");
    assert!(said.contains("  $ kill -9 "), "{said}");
}

#[test]
fn an_interrupted_demo_leaves_nothing() {
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let demo = Demo::new(&format!("signal-{status}"));
        let mut child = demo.command("exec circuit demo").spawn().expect("a shell");
        let output = heard(&mut child, "circuit mkproc");
        assert!(demo.processes().len() > 3, "it and its servers run");
        send(&child, signal);
        let done = child.wait_with_output().expect("its end");
        drop(output);
        assert_eq!(done.status.code(), Some(status), "{done:?}");
        assert!(String::from_utf8_lossy(&done.stderr).starts_with("circuit: demo: interrupted"), "{done:?}");
        demo.left_nothing();
    }
}

#[test]
fn a_demo_that_is_killed_takes_its_servers_with_it() {
    let demo = Demo::new("killed");
    let mut child = demo.command("exec circuit demo").spawn().expect("a shell");
    let _output = heard(&mut child, "squared is");
    child.kill().expect("killed");
    child.wait().expect("its end");
    fs::remove_dir_all(demo.files()).expect("what it could not remove itself");
    fs::create_dir(demo.files()).expect("a folder");
    demo.left_nothing();
}

#[test]
fn a_demo_that_cannot_go_on_says_why_and_leaves_nothing() {
    let demo = Demo::new("broken");
    let mut child = demo.command("exec circuit demo").spawn().expect("a shell");
    let output = heard(&mut child, "-j circuit://");
    for pid in demo.processes() {
        if u32::try_from(pid) != Ok(child.id()) {
            demo.bed.ok(&format!("kill -9 {pid}"));
        }
    }
    let done = child.wait_with_output().expect("its end");
    drop(output);
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(said.starts_with("circuit: demo: ") && said.lines().count() <= 3, "{said}");
    assert!(matches!(done.status.code(), Some(1 | 3)), "{done:?}");
    demo.left_nothing();

    let done = demo.command("TMPDIR=/nowhere circuit demo").output().expect("a shell");
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!((done.status.code(), said.contains("demo: no temporary directory")), (Some(1), true), "{said}");
}

#[test]
fn a_demo_that_nobody_watches_ends() {
    let demo = Demo::new("unwatched");
    let done = demo.command("circuit demo | head -n 2").output().expect("a shell");
    assert_eq!(String::from_utf8_lossy(&done.stderr), "");
    demo.left_nothing();
}
