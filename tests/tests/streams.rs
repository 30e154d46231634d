//! Many bytes, many channels, and readers that do not keep up.

use bytes::Bytes;
use circuit_core::{
    ErrorKind,
    wire::op::{Exit, How, Phase, ProcSpec},
};
use circuit_tests::{
    actor::{Actor, bytes_to_move},
    client, key, server,
};
use circuit_tokio::{Circuit, Dial};
use futures::{StreamExt, TryStreamExt, stream};
use std::time::Duration;

const ACTOR: &str = env!("CARGO_BIN_EXE_actor");
/// What a server or a client may use, whatever passes through it.
const FLAT: u64 = 64 << 20;

/// With a gibibyte: `cargo test --release -p circuit-tests --test streams`.
#[tokio::test]
async fn what_goes_through_a_process_comes_back_whole_and_nothing_grows() {
    let key = key();
    let length = bytes_to_move();
    let (near, dialled) = Actor::server(ACTOR, &key, None).await.expect("a server");
    let (far, host) = Actor::server(ACTOR, &key, Some(dialled)).await.expect("another");
    let part = ["echo", &dialled.to_string(), &host.id.to_string(), &length.to_string()];
    let mut client = Actor::start(ACTOR, &part, &key).await.expect("a client");
    let client: u64 = client.line().await.expect("all of it came back").parse().expect("a number");
    assert!(length > 2 * FLAT, "too little was moved to see anything grow");
    for (who, peak) in
        [("client", client), ("dialled", near.peak().expect("it runs")), ("host", far.peak().expect("it runs"))]
    {
        assert!(peak < FLAT, "{who}: {peak} bytes");
    }
}

#[tokio::test]
async fn a_process_that_nobody_reads_is_held_back_and_loses_nothing() {
    const WRITTEN: u64 = 256 << 20;
    let key = key();
    let (server, url) = Actor::server(ACTOR, &key, None).await.expect("a server");
    let circuit = Circuit::dial(Dial::url(url).key(key)).await.expect("a client");
    let anchor = circuit.server(url.id).walk("writer").expect("a path");
    let args = ["-c", &WRITTEN.to_string(), "/dev/zero"].map(str::to_owned).to_vec();
    let head = ProcSpec { path: "/usr/bin/head".to_owned(), args, ..ProcSpec::default() };
    let process = anchor.make_proc(&head).await.expect("a process");
    // It could not end now however long it had.
    let hasty = anchor.clone().within(Duration::from_millis(300)).proc().expect("a process");
    assert_eq!(hasty.wait().await.expect_err("it waits").kind, ErrorKind::Timeout);
    assert_eq!(process.peek().await.expect("its state").phase, Phase::Running);
    let (mut output, mut read) = (process.stdout(), 0);
    while let Some(bytes) = output.next().await.expect("output") {
        assert!(bytes.iter().all(|&byte| byte == 0));
        read += bytes.len() as u64;
    }
    assert_eq!((output.finish().await, read), (Ok(0), WRITTEN));
    assert!(matches!(process.wait().await.expect("its end").exit, Some(Exit { how: How::Code(0), .. })));
    let peak = server.peak().expect("it runs");
    assert!(peak < FLAT, "the server used {peak} bytes");
}

/// A reader that is slow, but reads: what it has not taken stays where it is.
#[tokio::test]
async fn a_stream_waits_for_the_slowest_on_its_way() {
    const WRITTEN: usize = 128 << 20;
    const PIECE: usize = 64 * 1024;
    let key = key();
    let (server, url) = Actor::server(ACTOR, &key, None).await.expect("a server");
    let [sender, receiver] = [Dial::url(url).key(key.clone()), Dial::url(url).key(key)]
        .map(Circuit::dial)
        .map(|dial| async { dial.await.expect("a client") });
    let (sender, receiver) = tokio::join!(sender, receiver);
    let path = format!("/{}/long", url.id);
    let to = sender.anchor(&path).expect("a path").make_chan(0).await.expect("a channel");
    let from = receiver.anchor(&path).expect("a path").chan().expect("a channel");
    let (progress, mut written) = tokio::sync::watch::channel(0);
    let sending = tokio::spawn(async move {
        let mut message = to.sender();
        for _ in 0..WRITTEN / PIECE {
            message.write(Bytes::from(vec![7; PIECE])).await.expect("room");
            progress.send_modify(|written| *written += PIECE);
        }
        message.sent().await
    });
    let (mut message, mut read) = (from.recv().await.expect("a message"), 0);
    while let Some(bytes) = message.next().await.expect("more") {
        let ahead = written.borrow_and_update().saturating_sub(read);
        assert!(ahead < 8 << 20, "the sender was {ahead} bytes ahead");
        read += bytes.len();
    }
    assert_eq!(read, WRITTEN);
    message.confirm().await.expect("it is ours");
    sending.await.expect("a task").expect("delivered");
    let peak = server.peak().expect("it runs");
    assert!(peak < FLAT, "the server used {peak} bytes");
}

#[tokio::test]
async fn ten_thousand_channels_receivers_and_messages_at_once() {
    const MANY: usize = 10_000;
    let key = key();
    let server = server(&key).await;
    let circuit = client(&server, &key).await;
    let home = circuit.server(server.url().id);
    let make = |number: usize| {
        let anchor = home.walk(&format!("many/{number}")).expect("a path");
        async move { anchor.make_chan(0).await }
    };
    let channels: Vec<_> = stream::iter(0..MANY).map(make).buffered(512).try_collect().await.expect("channels");
    let receiving: Vec<_> = channels
        .iter()
        .map(|channel| {
            let channel = channel.clone();
            tokio::spawn(async move { channel.recv().await?.bytes().await })
        })
        .collect();
    while server.snapshot().await.expect("it runs").waiting < MANY {
        tokio::task::yield_now().await;
    }
    let sender = client(&server, &key).await;
    let send = |number: usize| {
        let channel = sender.anchor(&channels[number].anchor().path()).and_then(|anchor| anchor.chan());
        async move { channel?.send(format!("to {number}")).await }
    };
    let sent = stream::iter(0..MANY).map(send).buffer_unordered(512);
    sent.try_for_each(async |_| Ok(())).await.expect("delivered");
    for (number, receiving) in receiving.into_iter().enumerate() {
        let text = receiving.await.expect("a task").expect("a message");
        assert_eq!(text, format!("to {number}"));
    }
    circuit.close().await;
    sender.close().await;
    while server.snapshot().await.expect("it runs").calls > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.snapshot().await.expect("it runs").elements, MANY, "channels stay, and nothing else does");
}

#[tokio::test]
async fn a_stream_that_is_being_read_goes_on_when_many_calls_begin_to_wait() {
    const WRITTEN: u64 = 16 << 20;
    let key = key();
    let server = server(&key).await;
    let circuit = client(&server, &key).await;
    // What stands still fails in the end.
    let home = circuit.server(server.url().id).within(Duration::from_secs(60));
    let channel = home.walk("channel").expect("a path").make_chan(1).await.expect("a channel");
    channel.send("early").await.expect("room for it");
    let mut early = channel.recv().await.expect("it was sent before");
    assert_eq!(early.next().await.expect("a piece").as_deref(), Some(&b"early"[..]));
    let args = ["-c", &WRITTEN.to_string(), "/dev/zero"].map(str::to_owned).to_vec();
    let head = ProcSpec { path: "/usr/bin/head".to_owned(), args, ..ProcSpec::default() };
    let process = home.walk("writer").expect("a path").make_proc(&head).await.expect("a process");
    let (mut output, mut read) = (process.stdout(), 0);
    let mut waiting = Vec::new();
    while let Some(bytes) = output.next().await.expect("output") {
        read += bytes.len() as u64;
        if read > WRITTEN / 4 && waiting.is_empty() {
            let recv = |_| {
                tokio::spawn({
                    let channel = channel.clone();
                    async move { channel.recv().await?.bytes().await }
                })
            };
            waiting = (0..200).map(recv).collect();
            while server.snapshot().await.expect("it runs").waiting < 200 {
                tokio::task::yield_now().await;
            }
        }
    }
    assert_eq!((output.finish().await, read), (Ok(0), WRITTEN));
    assert_eq!(early.next().await.expect("its end"), None);
    early.confirm().await.expect("its end is acknowledged, late as it is");
    channel.close().await.expect("it was open");
    for call in waiting {
        let error = call.await.expect("a task").expect_err("it was closed");
        assert_eq!(error.kind, ErrorKind::Closed);
    }
}
