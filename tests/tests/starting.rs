//! What a program is given when it is started.

use std::path::PathBuf;

use circuit_core::{
    ErrorKind,
    wire::op::{Exit, How, OnServerExit, OutputSpec, ProcSpec},
};
use circuit_tests::{actor::Actor, client, config, key, server};
use circuit_tokio::{Circuit, Dial, Server, ServerConfig, client::Anchor};

/// The signals that have names; of the others the C library keeps some to itself.
const NAMED: u64 = (1 << 31) - 1;

fn spec(path: &str, args: &[&str]) -> ProcSpec {
    let args = args.iter().map(|&arg| arg.to_owned()).collect();
    ProcSpec { path: path.to_owned(), args, scrub: true, ..ProcSpec::default() }
}

/// What a program prints.
async fn printed(anchor: &Anchor, spec: &ProcSpec) -> String {
    let process = anchor.make_proc(&ProcSpec { scrub: false, ..spec.clone() }).await.expect("a process");
    let (mut text, mut output) = (Vec::new(), process.stdout());
    while let Some(bytes) = output.next().await.expect("output") {
        text.extend_from_slice(&bytes);
    }
    anchor.scrub().await.expect("removed");
    String::from_utf8(text).expect("text")
}

#[tokio::test]
async fn a_program_starts_with_a_clean_slate() {
    let key = key();
    let server = server(&key).await;
    let circuit = client(&server, &key).await;
    let anchor = circuit.server(server.url().id).walk("p").expect("a path");
    // The program handles no signal of the server's, ignores and blocks none.
    let status = printed(&anchor, &spec("/bin/cat", &["/proc/self/status"])).await;
    for field in ["SigBlk", "SigIgn", "SigCgt"] {
        let line = status.lines().find(|line| line.starts_with(field)).expect("a field");
        let set = u64::from_str_radix(line.rsplit('\t').next().unwrap_or_default(), 16).expect("a number");
        assert_eq!(set & NAMED, 0, "{line}");
    }
    // Its session and process group are its own.
    let stat = printed(&anchor, &spec("/bin/cat", &["/proc/self/stat"])).await;
    let fields: Vec<&str> = stat.split(' ').collect();
    assert_eq!((fields[4], fields[5]), (fields[0], fields[0]), "{stat}");
    // It has three descriptors; the fourth is the one that lists them.
    assert_eq!(printed(&anchor, &spec("/bin/ls", &["/proc/self/fd"])).await, "0\n1\n2\n3\n");
}

#[tokio::test]
async fn a_program_gets_the_folder_environment_and_path_it_was_given() {
    let key = key();
    let server = server(&key).await;
    let circuit = client(&server, &key).await;
    let anchor = circuit.server(server.url().id).walk("p").expect("a path");
    let dir = ProcSpec { dir: "/usr".to_owned(), ..spec("pwd", &[]) };
    assert_eq!(printed(&anchor, &dir).await, "/usr\n", "and a name without a folder is looked for");
    let given = |env: &[&str]| ProcSpec { env: env.iter().map(|&pair| pair.to_owned()).collect(), ..spec("env", &[]) };
    assert_eq!(
        printed(&anchor, &given(&["PATH=/nowhere:/usr/bin", "A=1", "A=2"])).await,
        "A=2\nPATH=/nowhere:/usr/bin\n"
    );
    let nowhere = anchor.make_proc(&given(&["PATH=/nowhere"])).await.expect_err("not found");
    assert_eq!(nowhere.kind, ErrorKind::SpawnFailed(2));
}

#[tokio::test]
async fn a_program_can_be_started_and_waited_for_in_one_breath() {
    let key = key();
    let server = server(&key).await;
    let circuit = client(&server, &key).await;
    let anchor = circuit.server(server.url().id).walk("p").expect("a path");
    for number in 0..50 {
        let stat = anchor.run_proc(&spec("/bin/sh", &["-c", &format!("exit {number}")])).await.expect("its end");
        assert!(matches!(stat.exit, Some(Exit { how: How::Code(code), .. }) if code == number), "{stat:?}");
    }
    let error = anchor.run_proc(&spec("/nowhere/nothing", &[])).await.expect_err("refused");
    assert_eq!(error.kind, ErrorKind::SpawnFailed(2));
    assert_eq!(server.snapshot().await.expect("it runs").elements, 0);
}

#[tokio::test]
async fn no_program_outlives_a_server_that_was_killed() {
    let key = key();
    let (actor, url) = Actor::server(env!("CARGO_BIN_EXE_actor"), &key, None).await.expect("a server");
    let circuit = Circuit::dial(Dial::url(url).key(key)).await.expect("a client");
    let anchor = circuit.server(url.id).walk("p").expect("a path");
    let process = anchor.make_proc(&spec("/bin/sh", &["-c", "echo $$; exec sleep 1000"])).await.expect("a process");
    let pid = process.stdout().next().await.expect("output").expect("its number");
    let pid = String::from_utf8(pid.to_vec()).expect("text");
    let state = || std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    assert!(state().is_ok());
    drop(actor); // which kills it
    while state().is_ok_and(|state| !state.contains(" Z ")) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_process_that_cannot_be_kept_is_refused_with_the_reason() {
    let key = key();
    let folder = tempfile::tempdir().expect("a folder");
    let var = Some(folder.path().to_owned());
    for (var, keeper, says) in [
        (None, Some("/bin/true"), "with -var"),
        (var.clone(), None, "was told by which program"),
        (var.clone(), Some("/nowhere/circuit"), "/nowhere/circuit, cannot be started"),
        (var, Some("/bin/true"), "its keeper is none"),
    ] {
        let config = ServerConfig { var, keeper: keeper.map(PathBuf::from), ..config(&key) };
        let server = Server::start(config).await.expect("a server");
        let circuit = client(&server, &key).await;
        let anchor = circuit.server(server.url().id).walk("p").expect("a path");
        let (output, on_server_exit) = (OutputSpec::File, OnServerExit::Keep);
        let refused = anchor.make_proc(&ProcSpec { output, on_server_exit, ..spec("/bin/cat", &[]) }).await;
        let error = refused.expect_err("it is not kept");
        assert!(error.kind == ErrorKind::Forbidden && error.detail.contains(says), "{error}");
        server.stop().await;
    }
    let left = folder.path().join("processes").read_dir().expect("a folder").count();
    assert_eq!(left, 0);
}
