//! The examples, as a user runs them. Their servers are processes of the
//! example that embeds one.

use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use circuit_core::{ErrorKind, ServerId, Url};
use circuit_tokio::{Circuit, Dial, client::Anchor, read_key, system_rng, write_key};
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

    /// All that it prints from now on.
    fn rest(&mut self) -> Vec<String> {
        let rest: Result<Vec<String>, _> = self.output.by_ref().lines().collect();
        rest.expect("text")
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
fn three_programs_find_each_other_and_share_out_the_work() {
    let bed = Bed::new(0);
    // Addresses that nobody else has: not of any other test, either.
    let number = std::process::id();
    let own = |host: usize| format!("127.{}.{}.{}:7711", 1 + number % 250, number / 250 % 250, host + 1);
    let (one, two, three) = (own(0), own(1), own(2));
    // Whatever the order, of starting them and of naming the others.
    let mut programs = [[&three, &one, &two], [&one, &two, &three], [&two, &three, &one]]
        .map(|addresses| bed.run("gather", &addresses.map(String::as_str)));
    let said = programs.each_mut().map(Program::rest);
    for (program, said) in programs.iter_mut().zip(&said) {
        assert_eq!(program.finish(), Some(0), "{said:?}");
        assert!(said.iter().any(|line| line.starts_with("I count those from ")), "{said:?}");
    }
    let leader = said[0][0].strip_prefix("all 3 are here, and ").and_then(|line| line.strip_suffix(" leads"));
    let leader = leader.unwrap_or_else(|| panic!("{said:?}"));
    assert!(said.iter().all(|lines| lines[0] == said[0][0]), "they agree: {said:?}");
    let all: Vec<&String> = said.iter().flatten().collect();
    let found: Vec<&str> = all.iter().filter_map(|line| line.split_once(" has found ")).map(|(who, _)| who).collect();
    assert!(found.len() == 3 && found.contains(&leader) && found.iter().min() == Some(&leader), "{said:?}");
    let sums: Vec<_> = all.iter().filter(|line| line.ends_with(" primes below 300000")).collect();
    assert_eq!(sums, [&"25997 primes below 300000"], "one of them adds up: {said:?}");
}

#[test]
fn a_job_runs_on_every_server() {
    let bed = Bed::new(3);
    let mut job = bed.run("wait-all", &[&bed.url(), "/bin/sh", "-c", "echo done; exit 3"]);
    let mut ids: Vec<ServerId> = bed.servers.iter().map(|(_, url)| url.id).collect();
    ids.sort_unstable();
    for id in ids {
        assert_eq!(job.line(), format!("/{id} status 3"));
        assert_eq!(job.line(), "done");
    }
    assert_eq!(job.finish(), Some(0));
}

#[tokio::test]
async fn the_first_of_a_race_is_told_and_the_others_are_ended() {
    let bed = Bed::new(3);
    // On one server alone the file can be moved away.
    let file = bed.folder.path().join("prize").display().to_string();
    std::fs::write(&file, "").expect("written");
    let script = format!("mv {file} {file}.taken 2> /dev/null && echo mine && exit; exec sleep 1000");
    let mut race = bed.run("wait-first", &[&bed.url(), "/bin/sh", "-c", &script]);
    let first = race.line();
    let servers: Vec<String> = bed.servers.iter().map(|(_, url)| format!("first: /{}/", url.id)).collect();
    assert!(servers.iter().any(|server| first.starts_with(server)), "{first}");
    assert_eq!(race.line(), "mine");
    assert_eq!(race.finish(), Some(0));
    let left = bed.client().await.anchor("/").expect("the root").view_all().await.expect("a listing");
    assert!(left.iter().all(|entry| !entry.anchor.path().contains("wait-first")), "{left:?}");
}

#[tokio::test]
async fn a_watchbot_keeps_its_payload_alive() {
    let mut bed = Bed::new(3);
    let circuit = bed.client().await;
    let births = bed.folder.path().join("births");
    // A pipe, so that each birth is waited for.
    rustix::fs::mknodat(rustix::fs::CWD, &births, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("a pipe");
    let read = std::fs::OpenOptions::new().read(true).write(true).open(&births).expect("opened");
    let mut read = BufReader::new(read).lines();
    let mut born = || assert_eq!(read.next().expect("a line").expect("text"), "born");
    let script = format!("echo born > {}; exec sleep 1000", births.display());
    let mut start = bed.run("watchbot", &["start", &bed.url(), "/bin/sh", "-c", &script]);
    assert_eq!(start.finish(), Some(0), "it goes on without who began it");
    born();
    kill(&place(&circuit, "payload").await).await;
    born();
    // The bot dies: its heir takes its place, and has an heir.
    let bot = place(&circuit, "bot-1").await;
    let _ = place(&circuit, "bot-2").await;
    kill(&bot).await;
    let _ = place(&circuit, "bot-3").await;
    // A server dies, and the payload with it.
    let first = bed.servers[0].1.id;
    let mut host = place(&circuit, "payload").await.server_id().expect("a server");
    while host == first {
        // That one is dialled: not there.
        kill(&place(&circuit, "payload").await).await;
        born();
        host = place(&circuit, "payload").await.server_id().expect("a server");
    }
    bed.kill(host);
    born();
    assert_eq!(bed.run("watchbot", &["stop", &bed.url()]).finish(), Some(0));
    let left = circuit.anchor("/").expect("the root").view_all().await.expect("a listing");
    assert!(left.iter().all(|entry| !entry.anchor.path().contains("watchbot")), "nothing is left: {left:?}");
}

/// Where something of this name is, once it is somewhere.
async fn place(circuit: &Circuit, name: &str) -> Anchor {
    let name = format!("/watchbot/{name}");
    loop {
        let all = circuit.anchor("/").expect("the root").view_all().await.expect("a listing");
        if let Some(entry) = all.into_iter().find(|entry| entry.anchor.path().ends_with(&name)) {
            return entry.anchor;
        }
    }
}

/// Kills a process, which may run before its server knows that it does.
async fn kill(place: &Anchor) {
    let process = place.proc().expect("a process");
    loop {
        match process.signal(9).await {
            Err(error) if error.kind == ErrorKind::NotFound => {}
            killed => return killed.expect("killed"),
        }
    }
}

#[cfg(feature = "docker")]
#[tokio::test(flavor = "multi_thread")]
async fn an_application_finds_its_database_by_name() {
    use circuit_tests::engine::{IMAGE, is_there};
    use circuit_tokio::{ContainerRules, Server, ServerConfig};

    if !is_there() {
        return;
    }
    let bed = Bed::new(1); // the one that makes no containers
    let key = read_key(&bed.folder.path().join("key")).expect("a key");
    let rules = ContainerRules { socket: "/var/run/docker.sock".to_owned(), all: false };
    let join = vec![bed.servers[0].1.into()];
    let server = Server::start(ServerConfig { containers: Some(rules), join, ..circuit_tests::config(&key) }).await;
    let server = server.expect("a server");
    let circuit = Circuit::dial(Dial::url(server.url()).key(key)).await.expect("a client");
    while circuit.members().await.expect("a view").members.len() < 2 {}

    let mut shop = bed.run("app-with-database", &[&server.url().to_string(), IMAGE]);
    let said = shop.rest();
    assert_eq!(shop.finish(), Some(0), "{said:?}");
    let place = said[0].strip_prefix("database.shop is at ").expect("an address");
    assert!(place.parse::<std::net::IpAddr>().is_ok(), "{place}");
    assert_eq!(said[1..], ["Ann is visitor 1", "Ben is visitor 2", "Cleo is visitor 3"]);
    let left = circuit.anchor("/").expect("the root").view_all().await.expect("a listing");
    assert!(left.iter().all(|entry| !entry.anchor.path().contains("shop")), "nothing is left: {left:?}");
    circuit.close().await;
    server.stop().await;
}

#[tokio::test]
async fn watchbots_spread_and_keep_each_other_alive() {
    let mut bed = Bed::new(3);
    let circuit = bed.client().await;
    let mut bots = bed.run("watchbot-with-chan", &[&bed.url()]);
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
