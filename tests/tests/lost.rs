//! Clients that are lost, and clients whose connection is.

use std::{sync::mpsc, thread, time::Duration};

use bytes::Bytes;
use circuit_core::{
    Target, Url,
    session::ClusterKey,
    wire::op::{Exit, How, ProcSpec},
};
use circuit_tests::{
    actor::{is_pattern, pattern},
    client, config, key,
    proxy::Proxy,
    server,
};
use circuit_tokio::{Circuit, Dial, Server, ServerConfig, client::Proc};
use futures::{StreamExt as _, stream};
use tokio::{sync::oneshot, time};

fn cat() -> ProcSpec {
    ProcSpec { path: "/bin/cat".to_owned(), ..ProcSpec::default() }
}

/// A client that writes to the process `cat`, holds a message of the channel
/// `held` that it has not acknowledged, and waits for one of the channel
/// `empty`. When it is told so it is gone, without a word.
async fn victim(url: Url, key: ClusterKey) -> impl FnOnce() {
    let (ready, is_ready) = oneshot::channel();
    let (kill, killed) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let held = runtime.block_on(async move {
            let circuit = Circuit::dial(Dial::url(url).key(key)).await.expect("a client");
            let at = |name| circuit.server(url.id).walk(name).expect("a path");
            let process = at("cat").make_proc(&cat()).await.expect("a process");
            let (mut stdin, mut stdout) = (process.stdin(), process.stdout());
            stdin.write("its ".into()).await.expect("room");
            assert_eq!(stdout.next().await.expect("output").expect("some"), "its ");
            let message = at("held").chan().expect("a channel").recv().await.expect("a message");
            let waiting = at("empty").chan().expect("a channel");
            tokio::spawn(async move { waiting.recv().await });
            // Its answer means that the others are there: calls keep their order.
            at("held").peek().await.expect("a channel");
            (circuit, stdin, stdout, message)
        });
        let _ = ready.send(());
        let _ = killed.recv();
        drop(runtime); // and the socket with it: nothing can be said any more
        drop(held);
    });
    is_ready.await.expect("it is ready");
    move || {
        drop(kill);
        thread.join().expect("it ended");
    }
}

/// Waits until a server sees so many clients.
async fn clients(server: &Server, count: usize) {
    while server.snapshot().await.expect("it runs").clients != count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_has_read_is_its_own_though_it_closes_at_once() {
    const MESSAGES: u32 = 4_000;
    let key = key();
    let server = server(&key).await;
    let circuit = client(&server, &key).await;
    let channel = |circuit: &Circuit| circuit.server(server.url().id).walk("jobs").expect("a path");
    let jobs = channel(&circuit).make_chan(MESSAGES).await.expect("a channel");
    for round in 1..=20 {
        let send = |_| async { jobs.send(Bytes::from_static(b"job")).await.expect("sent") };
        stream::iter(0..MESSAGES).map(send).buffer_unordered(500).for_each(async |_| ()).await;
        let reader = client(&server, &key).await;
        let from = channel(&reader).chan().expect("a channel");
        let recv = |_| async { from.recv().await.expect("a message").bytes().await.expect("all of it") };
        stream::iter(0..MESSAGES).map(recv).buffer_unordered(1_000).for_each(async |_| ()).await;
        reader.close().await; // with a thousand answers on their way to it
        clients(&server, 1).await;
        assert_eq!(jobs.stat().await.expect("a channel").num_recv, u64::from(MESSAGES * round));
    }
}

#[tokio::test]
async fn a_client_that_is_killed_leaves_nothing_stuck() {
    let key = key();
    let server = server(&key).await;
    let circuit = client(&server, &key).await;
    let at = |name| circuit.server(server.url().id).walk(name).expect("a path");
    let held = at("held").make_chan(1).await.expect("a channel");
    let empty = at("empty").make_chan(1).await.expect("a channel");
    held.send("held").await.expect("accepted");
    let kill = victim(server.url(), key.clone()).await;
    clients(&server, 2).await;
    kill();
    clients(&server, 1).await;

    // What only waits is out of the way at once, and a writer gives way.
    empty.send("next").await.expect("accepted");
    assert_eq!(empty.recv().await.expect("a message").bytes().await.expect("its bytes"), "next");
    let process = at("cat").proc().expect("a process");
    let mut stdin = process.stdin();
    stdin.write("mine".into()).await.expect("room");
    stdin.finish().await.expect("closed");
    let stat = process.wait().await.expect("its end");
    assert!(matches!(stat.exit, Some(Exit { how: How::Code(0), .. })));

    // What it held comes back when its grace is over, and not before.
    let early = held.anchor().clone().within(Duration::from_secs(29));
    time::pause();
    early.chan().expect("a channel").recv().await.expect_err("it may come back");
    time::advance(Duration::from_secs(2)).await;
    time::resume();
    let mut message = held.recv().await.expect("a message");
    assert!(message.again());
    assert_eq!(message.bytes().await.expect("its bytes"), "held");
    message.confirm().await.expect("it is ours");
    let left = server.snapshot().await.expect("it runs");
    assert_eq!((left.clients, left.waiting, left.elements), (1, 0, 3));
}

/// Sends `length` bytes through a `cat`, checks each that comes back, and calls
/// `half_way` in the middle.
async fn echo(process: &Proc, length: u64, half_way: impl AsyncFnOnce()) {
    const PIECE: usize = 32 * 1024;
    let (mut stdin, mut stdout) = (process.stdin(), process.stdout());
    let writing = tokio::spawn(async move {
        for offset in (0..length).step_by(PIECE) {
            stdin.write(Bytes::from(pattern(offset, PIECE))).await?;
        }
        stdin.finish().await
    });
    let (mut offset, mut half_way) = (0, Some(half_way));
    while let Some(bytes) = stdout.next().await.expect("output") {
        assert!(is_pattern(offset, &bytes), "not what was written, at {offset}");
        offset += bytes.len() as u64;
        if offset >= length / 2
            && let Some(half_way) = half_way.take()
        {
            half_way().await;
        }
    }
    assert_eq!(offset, length);
    writing.await.expect("a task").expect("all was written");
    assert_eq!(stdout.finish().await, Ok(0), "nothing was missed");
}

/// A client of `server` behind a proxy.
async fn behind(server: &Server, key: &ClusterKey) -> (Proxy, Circuit) {
    let proxy = Proxy::start(server.url().addr).await.expect("a proxy");
    let target = Target { addr: proxy.addr(), expect: Some(server.url().id) };
    let circuit = Circuit::dial(Dial::targets(vec![target]).key(key.clone())).await.expect("a client");
    (proxy, circuit)
}

const LENGTH: u64 = 32 << 20;

#[tokio::test]
async fn a_connection_that_is_cut_for_five_seconds_goes_on_where_it_was() {
    let key = key();
    let server = server(&key).await;
    let (proxy, circuit) = behind(&server, &key).await;
    let anchor = circuit.server(server.url().id).walk("cat").expect("a path");
    let process = anchor.make_proc(&cat()).await.expect("a process");
    echo(&process, LENGTH, async || {
        proxy.cut();
        time::sleep(Duration::from_secs(5)).await;
        proxy.heal();
    })
    .await;
    assert!(proxy.made() > 2, "it was tried again while the way was cut");
}

#[tokio::test]
async fn a_connection_that_falls_silent_is_given_up_and_made_again() {
    let key = key();
    let server = server(&key).await;
    let (mut proxy, circuit) = behind(&server, &key).await;
    let anchor = circuit.server(server.url().id).walk("cat").expect("a path");
    let process = anchor.make_proc(&cat()).await.expect("a process");
    echo(&process, LENGTH, async || {
        proxy.silence();
        // Nobody can do anything but wait, so the clock may run.
        time::pause();
        proxy.given_up(1).await;
        time::resume();
    })
    .await;
    assert!(proxy.made() >= 2);
}

#[tokio::test]
async fn no_message_is_lost_or_doubled_however_often_the_connection_breaks() {
    const MESSAGES: u32 = 2_000;
    let key = key();
    let server = server(&key).await;
    let (proxy, circuit) = behind(&server, &key).await;
    let at = |circuit: &Circuit| circuit.server(server.url().id).walk("chan").expect("a path");
    let to = at(&circuit).make_chan(16).await.expect("a channel");
    let (other, from) = behind(&server, &key).await;
    let from = at(&from).chan().expect("a channel");
    let sending = tokio::spawn(async move {
        for number in 0..MESSAGES {
            to.send(number.to_be_bytes().to_vec()).await.expect("sent");
        }
    });
    for number in 0..MESSAGES {
        let mut message = from.recv().await.expect("a message");
        if number % 200 == 100 {
            let proxy = if number % 400 == 100 { &proxy } else { &other };
            proxy.cut();
            proxy.heal();
        }
        assert_eq!(message.bytes().await.expect("its bytes")[..], number.to_be_bytes());
        message.confirm().await.expect("it is ours");
    }
    sending.await.expect("a task");
    assert!(proxy.made() + other.made() >= 12, "the connections did break");
}

#[tokio::test]
async fn a_server_that_starts_again_is_found_where_it_was() {
    let key = key();
    let first = server(&key).await;
    let (listen, target) = (first.url().addr, first.url().into());
    let second = Server::start(ServerConfig { join: vec![target], ..config(&key) }).await.expect("a server");
    let both_at = async |server: &Server| {
        let circuit = client(server, &key).await;
        while circuit.members().await.expect("it answers").members.len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    both_at(&first).await;
    let before = first.url().id;
    first.stop().await;
    let again = Server::start(ServerConfig { listen, ..config(&key) }).await.expect("a server");
    assert_ne!(again.url().id, before, "it kept nothing that says who it is");
    both_at(&again).await;
    both_at(&second).await;
}
