//! The examples, as a user runs them. Their servers are processes of the
//! example that embeds one.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use circuit_core::{ServerId, Url};
use circuit_tokio::{Circuit, Dial, read_key, system_rng, write_key};
use tempfile::TempDir;

/// A program that is killed when this is dropped.
struct Program {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Program {
    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.output.read_line(&mut line).expect("text") > 0, "it ended");
        line.trim_end().to_owned()
    }

    /// Closes its input, and waits for its end.
    fn finish(&mut self) -> Option<i32> {
        drop(self.child.stdin.take());
        self.child.wait().expect("its end").code()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Bed {
    folder: TempDir,
    servers: Vec<(Program, Url)>,
}

impl Bed {
    fn new(count: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let key = circuit_core::session::ClusterKey::generate(&mut system_rng().expect("randomness"));
        write_key(&folder.path().join("key"), &key).expect("written");
        let mut bed = Self { folder, servers: Vec::new() };
        for _ in 0..count {
            bed.add();
        }
        bed
    }

    /// Starts a server, and waits until the first one sees it.
    fn add(&mut self) -> Url {
        let first = self.servers.first().map(|(_, url)| url.to_string());
        let mut program = self.run("embed", &first.iter().map(String::as_str).collect::<Vec<_>>());
        let url: Url = program.line().parse().expect("a URL");
        self.servers.push((program, url));
        assert_eq!(self.servers[0].0.line(), format!("/{} is here", url.id));
        url
    }

    fn run(&self, example: &str, args: &[&str]) -> Program {
        let mut command = Command::new(built(example));
        command.args(args).env("CIRCUIT_HMAC", self.folder.path().join("key"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the example runs");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        Program { child, output }
    }

    fn url(&self) -> String {
        self.servers[0].1.to_string()
    }

    fn kill(&mut self, id: ServerId) {
        self.servers.retain(|(_, url)| url.id != id);
    }

    async fn client(&self) -> Circuit {
        let key = read_key(&self.folder.path().join("key")).expect("a key");
        Circuit::dial(Dial::url(self.servers[0].1).key(key)).await.expect("a client")
    }
}

/// Where cargo puts the examples of a package whose tests it runs.
fn built(example: &str) -> PathBuf {
    let test = std::env::current_exe().expect("this test");
    let folder = test.parent().and_then(Path::parent).expect("its folder");
    let path = folder.join("examples").join(example);
    assert!(path.exists(), "{} is built by 'cargo test' or 'cargo build --examples'", path.display());
    path
}

#[test]
fn a_program_embeds_a_server_and_hears_who_comes_and_goes() {
    let mut bed = Bed::new(2);
    let (first, second) = (bed.servers[0].1.id, bed.servers[1].1.id);
    // Who is there already comes in the order of ids.
    let mut heard = [bed.servers[1].0.line(), bed.servers[1].0.line()];
    let mut expected = [first, second].map(|id| format!("/{id} is here"));
    heard.sort_unstable();
    expected.sort_unstable();
    assert_eq!(heard, expected);
    assert_eq!(bed.servers[1].0.finish(), Some(0));
    assert_eq!(bed.servers[0].0.line(), format!("/{second} is gone"));
    assert_eq!(bed.servers[0].0.finish(), Some(0));
}

#[test]
fn a_job_runs_on_every_server() {
    let bed = Bed::new(3);
    let mut job = bed.run("waitall", &[&bed.url(), "/bin/sh", "-c", "echo done; exit 3"]);
    let mut ids: Vec<ServerId> = bed.servers.iter().map(|(_, url)| url.id).collect();
    ids.sort_unstable();
    for id in ids {
        assert_eq!(job.line(), format!("/{id} status 3"));
        assert_eq!(job.line(), "done");
    }
    assert_eq!(job.finish(), Some(0));
}

#[tokio::test]
async fn watchbots_spread_and_keep_each_other_alive() {
    let mut bed = Bed::new(3);
    let circuit = bed.client().await;
    let mut bots = bed.run("watchbot", &[&bed.url()]);
    let lives = |id: ServerId| format!("a bot lives on /{id}");
    let mut spread = [bots.line(), bots.line(), bots.line()];
    spread.sort_unstable();
    let mut expected: Vec<String> = bed.servers.iter().map(|(_, url)| lives(url.id)).collect();
    expected.sort_unstable();
    assert_eq!(spread[..], expected);

    let second = bed.servers[1].1.id;
    let all = circuit.server(second).view().await.expect("a listing");
    let bot = all.iter().find(|entry| entry.anchor.path().ends_with("-bot")).expect("a bot");
    bot.anchor.proc().expect("a process").signal(9).await.expect("killed");
    assert_eq!(bots.line(), lives(second), "another takes its place");

    bed.kill(second);
    assert_eq!(bed.servers[0].0.line(), format!("/{second} is gone"));
    let fresh = bed.add();
    assert_eq!(bots.line(), lives(fresh.id), "and goes where a server comes");

    assert_eq!(bots.finish(), Some(0));
    let left = circuit.anchor("/").expect("the root").view_all().await.expect("a listing");
    let left: Vec<String> = left.into_iter().map(|entry| entry.anchor.path()).collect();
    assert!(left.iter().all(|path| !path.contains("watchbot")), "nothing is left: {left:?}");
}
