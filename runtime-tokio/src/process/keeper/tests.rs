//! Keepers within this program, and servers that come and go.

use bytes::Bytes;
use circuit_core::wire::op::{How, OutputSpec, ProcSpec, Stdio};
use tokio::{net::UnixStream, task::JoinHandle};

use super::*;

/// A keeper in a folder.
struct Rig {
    folder: tempfile::TempDir,
    task: JoinHandle<io::Result<()>>,
}

impl Rig {
    /// One to which a server is connected, as it always is.
    async fn new() -> (Self, Link) {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(folder.path().join(SOCKET)).expect("a socket");
        let stream = UnixStream::connect(folder.path().join(SOCKET)).await.expect("connected");
        let door = Door { listener, folder: folder.path().to_owned() };
        let task = tokio::spawn(run(door));
        (Self { folder, task }, Link::new(stream))
    }

    /// Another server.
    async fn connect(&self) -> Link {
        Link::new(UnixStream::connect(self.folder.path().join(SOCKET)).await.expect("connected"))
    }

    async fn end(self) {
        self.task.await.expect("no panic").expect("no error");
    }
}

fn start(script: &str) -> ToKeeper {
    let args = vec!["-c".to_owned(), script.to_owned()];
    let spec = ProcSpec { path: "/bin/sh".to_owned(), args, output: OutputSpec::File, ..ProcSpec::default() };
    ToKeeper::Start("a/b".parse().expect("a path"), spec)
}

/// Listens until something is said that is wanted.
async fn until(link: &mut Link, mut wanted: impl FnMut(&ProcessEvent) -> bool) {
    loop {
        match link.next().await {
            Some(FromKeeper::Event(ProcessEvent::At { event, .. })) if wanted(&event.into()) => return,
            Some(FromKeeper::Event(event)) if wanted(&event) => return,
            Some(_) => {}
            None => panic!("the keeper has hung up"),
        }
    }
}

#[tokio::test]
async fn a_keeper_that_nobody_told_what_to_start_ends() {
    let (rig, link) = Rig::new().await;
    drop(link);
    rig.end().await;
    let (rig, mut first) = Rig::new().await;
    assert_eq!(first.greeted().await, Ok(None));
    drop(first);
    rig.end().await;
}

#[tokio::test]
async fn what_was_started_just_before_the_server_was_lost_is_kept() {
    let (rig, mut link) = Rig::new().await;
    link.push(&start("read line; echo $line; exit 3"));
    link.flush().await;
    drop(link);
    let mut next = rig.connect().await;
    let kept = next.greeted().await.expect("a keeper").expect("a process");
    assert_eq!((kept.at.as_str(), kept.stdout.end, kept.exit), ("a/b", 0, None));
    assert!(kept.started > 0);
    // What it is told by one server, the one after sees.
    let order = |order| ToKeeper::Order(order);
    next.push(&order(Order::Read(Stdio::Out, 1_000)));
    next.push(&order(Order::Write(Bytes::from_static(b"hello\n"))));
    next.push(&order(Order::CloseInput));
    let (mut stored, mut exited) = (false, false);
    until(&mut next, |event| {
        stored |= matches!(event, ProcessEvent::Stored { count: 6, .. });
        exited |= matches!(event, ProcessEvent::Exited { .. });
        stored && exited
    })
    .await;
    drop(next);
    let mut last = rig.connect().await;
    let kept = last.greeted().await.expect("a keeper").expect("a process");
    assert_eq!((kept.stdout.end, kept.stdout.until, kept.closed, kept.unwritten), (6, 1_000, true, 0));
    assert_eq!(kept.exit.map(|exit| (exit.how, exit.started)), Some((How::Code(3), kept.started)));
    last.push(&order(Order::Fetch(Stdio::Out, 0, 6)));
    let hello = Ok(Bytes::from_static(b"hello\n"));
    until(&mut last, |event| matches!(event, ProcessEvent::Fetched { result, .. } if *result == hello)).await;
    last.push(&order(Order::Read(Stdio::Err, 1)));
    last.push(&order(Order::Release));
    last.flush().await;
    rig.end().await;
}

#[tokio::test]
async fn one_that_is_to_be_killed_is_whoever_is_told_of_it() {
    let (rig, mut link) = Rig::new().await;
    link.push(&start("trap '' TERM; echo ready; sleep 1000"));
    assert_eq!(link.greeted().await, Ok(None));
    link.push(&ToKeeper::Order(Order::Read(Stdio::Out, 1_000)));
    until(&mut link, |event| matches!(event, ProcessEvent::Stored { .. })).await;
    let socket = rig.folder.path().join(SOCKET);
    assert!(socket.exists());
    link.push(&ToKeeper::Order(Order::Kill(Duration::ZERO)));
    until(&mut link, |event| matches!(event, ProcessEvent::Killed { result: Ok(()) })).await;
    assert!(!socket.exists());
    rig.end().await;
}

#[tokio::test]
async fn what_cannot_be_started_is_said_and_nothing_is_left() {
    let (rig, mut link) = Rig::new().await;
    let spec = ProcSpec { path: "/nowhere".to_owned(), output: OutputSpec::File, ..ProcSpec::default() };
    link.push(&ToKeeper::Start("a".parse().expect("a path"), spec));
    assert_eq!(link.greeted().await, Ok(None));
    until(&mut link, |event| matches!(event, ProcessEvent::Failed { errno: 2 })).await;
    rig.end().await;
}
