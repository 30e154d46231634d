//! What comes to a server's port from those who have no business there.

use std::time::Duration;

use circuit_core::{ErrorKind, Target, links::MAX_HANDSHAKES_PER_SOURCE, session::HANDSHAKE_DEADLINE};
use circuit_tests::{client, key, loopback, proxy::Proxy, server};
use circuit_tokio::{Circuit, Dial, Server};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time,
};

/// What the server says to somebody who sends `bytes` and, if `ends`, no more.
async fn answer(server: &Server, bytes: &[u8], ends: bool) -> Vec<u8> {
    let mut stream = TcpStream::connect(server.url().addr).await.expect("a connection");
    let _ = stream.write_all(bytes).await; // it may be closed in the middle
    if ends {
        let _ = stream.shutdown().await;
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await; // a reset ends it too
    answer
}

/// A first message as a client with `key` sends it.
async fn first_message(dial: fn(circuit_core::Url) -> Dial, key: circuit_core::session::ClusterKey) -> Vec<u8> {
    let listener = TcpListener::bind(loopback()).await.expect("a listener");
    let url =
        circuit_core::Url { addr: listener.local_addr().expect("its address"), pid: 1, id: circuit_core::ServerId(1) };
    let dialling = tokio::spawn(Circuit::dial(dial(url).key(key)));
    let (mut stream, _) = listener.accept().await.expect("a connection");
    let mut bytes = vec![0; 4096];
    let count = stream.read(&mut bytes).await.expect("its first message");
    dialling.abort();
    bytes.truncate(count);
    bytes
}

/// Waits until the server has only so many connections.
async fn links(server: &Server, count: usize) {
    while server.snapshot().await.expect("it runs").links.len() != count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn noise_is_not_answered_and_changes_nothing() {
    let key = key();
    let server = server(&key).await;
    let circuit = client(&server, &key).await;
    let channel = circuit.server(server.url().id).walk("chan").expect("a path").make_chan(1).await.expect("a channel");
    let before = server.snapshot().await.expect("it runs");
    let real = first_message(Dial::url, key.clone()).await;
    let flipped: Vec<u8> = real.iter().enumerate().map(|(at, byte)| byte ^ u8::from(at == 20)).collect();
    let tls = [&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3][..], &[9; 512]].concat();
    let noise = circuit_tests::actor::pattern(0, 64 * 1024);
    for (what, bytes) in [
        ("nothing", &b""[..]),
        ("an HTTP request", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("a TLS hello", &tls),
        ("64 KiB of noise", &noise),
        ("zeros", &[0; 4096]),
        ("half of a first message", &real[..real.len() / 2]),
        ("a first message with one bit flipped", &flipped),
        ("a first message with another key", &first_message(Dial::url, circuit_tests::key()).await),
        ("a first message twice over", &[&flipped[..], &real].concat()),
    ] {
        assert_eq!(answer(&server, bytes, true).await, b"", "{what}");
    }
    links(&server, 1).await;
    let after = server.snapshot().await.expect("it runs");
    assert_eq!((after.registrations, after.elements, after.operations), (1, 1, before.operations));
    channel.send("still here").await.expect("accepted");
}

#[tokio::test]
async fn what_was_recorded_opens_nothing() {
    let key = key();
    let server = server(&key).await;
    let real = first_message(Dial::url, key.clone()).await;
    // It proves the key, so it is answered; what follows would have to prove
    // more, and one's own words do not.
    for rest in [real.clone(), circuit_tests::actor::pattern(0, 4096), vec![0; 4096]] {
        let answered = answer(&server, &[&real[..], &rest].concat(), true).await;
        assert!(!answered.is_empty());
        let echoed = answer(&server, &[&real[..], &answered, &answered].concat(), true).await;
        assert_eq!(echoed.len(), answered.len(), "and nothing after");
    }
    links(&server, 0).await;
    let after = server.snapshot().await.expect("it runs");
    assert_eq!((after.clients, after.registrations), (0, 0));
    client(&server, &key).await;
}

#[tokio::test]
async fn hundreds_of_half_open_handshakes_keep_nobody_out_and_end() {
    let key = key();
    let server = server(&key).await;
    let circuit = client(&server, &key).await;
    let channel = circuit.server(server.url().id).walk("chan").expect("a path").make_chan(1).await.expect("a channel");
    let real = first_message(Dial::url, key.clone()).await;
    let mut half_open = Vec::new();
    for number in 0..MAX_HANDSHAKES_PER_SOURCE + 100 {
        let mut stream = TcpStream::connect(server.url().addr).await.expect("a connection");
        let _ = stream.write_all(&real[..number % real.len()]).await; // one too many is closed
        half_open.push(stream);
    }
    links(&server, MAX_HANDSHAKES_PER_SOURCE + 1).await;
    // Those too many are closed, and only those.
    let mut closed = 0;
    for stream in &mut half_open[MAX_HANDSHAKES_PER_SOURCE..] {
        let read = stream.read(&mut [0]).await;
        assert!(read.is_err() || read.is_ok_and(|count| count == 0));
        closed += 1;
    }
    assert_eq!(closed, 100);
    // Whoever is in feels nothing, and from elsewhere one gets in.
    channel.send("in").await.expect("accepted");
    let here = Circuit::dial(Dial::url(server.url()).key(key.clone())).await;
    here.expect("whoever takes long gives way").close().await;
    let elsewhere = Proxy::start_from([127, 0, 0, 2].into(), server.url().addr).await.expect("a proxy");
    let target = Target { addr: elsewhere.addr(), expect: Some(server.url().id) };
    let other = Circuit::dial(Dial::targets(vec![target]).key(key.clone())).await.expect("from elsewhere");
    let same = other.anchor(&channel.anchor().path()).expect("a path").chan().expect("a channel");
    assert_eq!(same.recv().await.expect("a message").bytes().await.expect("its bytes"), "in");
    // Their time ends, whatever they do with it.
    for stream in &mut half_open {
        let _ = stream.write_all(b"x").await;
    }
    time::pause();
    time::advance(HANDSHAKE_DEADLINE + Duration::from_secs(1)).await;
    time::resume();
    links(&server, 2).await;
    client(&server, &key).await;
}

#[tokio::test]
async fn too_many_calls_of_one_client_are_refused_and_others_feel_nothing() {
    const MANY: usize = circuit_core::calls::MAX_CALLS + 500;
    let key = key();
    let server = server(&key).await;
    let (greedy, modest) = (client(&server, &key).await, client(&server, &key).await);
    let home = greedy.server(server.url().id);
    home.walk("chan").expect("a path").make_chan(0).await.expect("a channel");
    let channel = home.walk("chan").expect("a path").chan().expect("a channel");
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..MANY {
        let channel = channel.clone();
        waiting.spawn(async move { channel.recv().await.map(drop) });
    }
    let refused = waiting.join_next().await.expect("one").expect("a task");
    assert_eq!(refused.expect_err("refused").kind, ErrorKind::QuotaExceeded);
    let other = modest.server(server.url().id).walk("other").expect("a path").make_chan(1).await.expect("a channel");
    other.send("x").await.expect("accepted");
    // It dies with all of them waiting.
    waiting.abort_all();
    drop((waiting, channel, home, greedy));
    while server.snapshot().await.expect("it runs").clients > 1 {
        tokio::task::yield_now().await;
    }
    other.recv().await.expect("a message").bytes().await.expect("its bytes");
}
