//! The shell scripts of `examples/`, as a user runs them on three servers.

use std::{
    io::{BufRead, BufReader},
    net::IpAddr,
    process::Stdio,
};

use circuit_tests::engine::{IMAGE, is_there};

use crate::support::Bed;

/// A circuit of three, and the command that runs a script on it.
fn bed() -> (Bed, impl Fn(&str) -> String) {
    let bed = Bed::with_servers(3);
    let absolute = format!("export CIRCUIT={0}/url CIRCUIT_HMAC={0}/.hmac;", bed.path().display());
    let script = move |line: &str| format!("{absolute} {}/../examples/{line}", env!("CARGO_MANIFEST_DIR"));
    (bed, script)
}

#[test]
fn a_job_runs_on_every_server() {
    let (bed, script) = bed();
    let job = r#"{"Path": "/bin/sh", "Args": ["-c", "echo done"]}"#;
    let done = bed.fed(&script("wait-all.sh"), job);
    let each: String = bed.listing().lines().map(|server| format!("{server}: done\n")).collect();
    assert_eq!((done.status, done.stdout.as_str()), (0, each.as_str()), "{done:?}");
    assert_eq!(bed.ok("circuit ls /..."), bed.listing(), "nothing is left");
}

#[test]
fn the_first_of_a_race_is_told_and_the_others_are_ended() {
    let (bed, script) = bed();
    bed.ok(": > prize");
    let prize = bed.path().join("prize").display().to_string();
    let one = format!("mv {prize} {prize}.taken 2> /dev/null && echo mine && exit; exec sleep 1000");
    let job = format!(r#"{{"Path": "/bin/sh", "Args": ["-c", "{one}"]}}"#);
    let done = bed.fed(&script("wait-first.sh"), &job);
    assert_eq!(done.status, 0, "{done:?}");
    assert!(done.stdout.starts_with("first: /X") && done.stdout.ends_with("\nmine\n"), "{done:?}");
    assert_eq!(bed.ok("circuit ls /..."), bed.listing(), "nothing is left");
}

#[test]
fn a_watchbot_keeps_its_payload_alive() {
    let (bed, script) = bed();
    let births = bed.path().join("births").display().to_string();
    let payload = format!(r#"{{"Path": "/bin/sh", "Args": ["-c", "echo born >> {births}; exec sleep 1000"]}}"#);
    bed.ok(&format!("echo '{payload}' > payload.json"));
    bed.ok(&script("watchbot.sh start payload.json"));
    let born = |times: usize| bed.until("cat births", |births| births.lines().count() == times);
    let place = |name: &str| {
        let line = format!("circuit ls /... | grep /watchbot/{name}$");
        bed.until(&line, |found| !found.is_empty());
        bed.ok(&line).trim_end().to_owned()
    };
    born(1);
    // It may run before its server knows that it does.
    bed.ok(&format!("until circuit signal KILL {} 2> /dev/null; do :; done", place("payload")));
    born(2);
    // The bot dies: its heir takes its place, and has an heir.
    let (bot, _) = (place("bot-1"), place("bot-2"));
    bed.ok(&format!("circuit signal KILL {bot}"));
    let _ = place("bot-3");
    bed.sh(&script("watchbot.sh stop"));
    assert_eq!(bed.ok("circuit ls /..."), bed.listing(), "nothing is left");
}

#[test]
fn watchbots_spread_and_report_home() {
    let (bed, script) = bed();
    let mut bots = bed.command(&script("watchbot-with-chan.sh")).stdin(Stdio::piped()).spawn().expect("a shell");
    let mut reports = BufReader::new(bots.stdout.take().expect("its output")).lines();
    let mut lives = || reports.next().expect("a line").expect("text");
    let mut spread = [lives(), lives(), lives()];
    spread.sort_unstable();
    let each: Vec<String> = bed.listing().lines().map(|server| format!("a bot lives on {server}")).collect();
    assert_eq!(spread[..], each);
    // One dies, and another takes its place.
    let bot = bed.ok("circuit ls /... | grep '/watchbot-[0-9]*/bot$' | tail -n 1");
    let server = bot.split('/').nth(1).expect("a server");
    bed.ok(&format!("circuit signal KILL {bot}"));
    assert_eq!(lives(), format!("a bot lives on /{server}"));
    // And where a server comes they go, too.
    let fourth = bed.start(&format!("-a 127.0.0.1 -hmac .hmac -j {}", bed.server(0).url));
    assert_eq!(lives(), format!("a bot lives on {}", fourth.anchor));
    drop(bots.stdin.take());
    let ended = bots.wait_with_output().expect("its end");
    assert!(ended.status.success() && ended.stderr.is_empty(), "{ended:?}");
    assert_eq!(reports.count(), 0);
    bed.ok(&format!("circuit suicide {}", fourth.anchor));
    bed.until("circuit ls /...", |listed| listed == bed.listing());
}

#[test]
fn an_application_finds_its_database_by_name() {
    if !is_there() {
        return;
    }
    let (mut bed, script) = bed(); // who make no containers
    bed.add(&format!("-a 127.0.0.1 -hmac .hmac -docker -j {}", bed.server(0).url));
    bed.until("circuit ls /", |listed| listed == bed.listing());
    let said = bed.ok(&script(&format!("app-with-database.sh {IMAGE}")));
    let (place, rest) = said.split_once('\n').expect("lines");
    let place = place.strip_prefix("database.shop is at ").expect("an address");
    assert!(place.parse::<IpAddr>().is_ok(), "{place}");
    assert_eq!(rest, "Ann is visitor 1\nBen is visitor 2\nCleo is visitor 3\n");
    assert_eq!(bed.ok("circuit ls /..."), bed.listing(), "nothing is left");
    let label = bed.anchor().trim_start_matches('/');
    assert_eq!(bed.ok(&format!("docker ps --all --quiet --filter label=circuit.server={label}")), "");
    // Where nobody makes containers, that is said.
    let (bed, script) = self::bed();
    let done = bed.sh(&script("app-with-database.sh"));
    assert_eq!((done.status, done.stdout.as_str()), (1, ""), "{done:?}");
    assert!(done.stderr.contains("no server has made the database: circuit: mkdkr /X"), "{done:?}");
}
