//! A program's own select, over channels on several servers.

use std::time::Duration;

use bytes::Bytes;
use circuit_core::{ErrorKind, wire::op::ProcSpec};
use circuit_tests::{client, key, server};
use circuit_tokio::{
    Circuit, Server,
    client::{Chan, Clause, Outcome, Sent},
};

const LONG: Duration = Duration::from_secs(3600);

async fn channel(circuit: &Circuit, server: &Server, name: &str, cap: u32) -> Chan {
    let anchor = circuit.server(server.url().id).walk(name).expect("a path");
    anchor.make_chan(cap).await.expect("a channel")
}

#[tokio::test]
async fn whichever_channel_has_a_message_gives_it_and_the_other_nothing() {
    let key = key();
    let server = server(&key).await;
    let circuit = client(&server, &key).await;
    let (a, b) = (channel(&circuit, &server, "a", 1).await, channel(&circuit, &server, "b", 1).await);
    for (ready, index) in [(&a, 0), (&b, 1)] {
        let (clauses, other) = (vec![Clause::Recv(a.clone()), Clause::Recv(b.clone())], circuit.clone());
        let choosing = tokio::spawn(async move { other.select(clauses).await });
        ready.send("hello").await.expect("sent");
        let (chosen, outcome) = choosing.await.expect("a task").expect("a choice");
        let Outcome::Received(mut message) = outcome else { panic!("{outcome:?}") };
        assert_eq!((chosen, message.bytes().await.expect("bytes")), (index, Bytes::from("hello")));
        message.confirm().await.expect("it is ours");
    }
    for channel in [&a, &b] {
        let stat = channel.stat().await.expect("its state");
        assert_eq!((stat.num_send, stat.num_recv), (1, 1));
        assert_eq!(channel.try_recv().await.expect_err("empty").kind, ErrorKind::WouldBlock);
    }
    circuit.close().await;
    server.stop().await;
}

#[tokio::test]
async fn a_message_longer_than_a_window_is_moved_by_either_side() {
    let key = key();
    let server = server(&key).await;
    let circuit = client(&server, &key).await;
    let line = channel(&circuit, &server, "line", 0).await;
    let long = Bytes::from((0..1_000_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>());
    let (sends, receives) = (vec![Clause::Send(line.clone(), long.clone())], vec![Clause::Recv(line.clone())]);
    let (sent, received) = tokio::join!(circuit.select(sends), async {
        let (_, outcome) = circuit.select(receives).await.expect("a choice");
        let Outcome::Received(mut message) = outcome else { panic!("{outcome:?}") };
        message.bytes().await.expect("bytes")
    });
    assert!(matches!(sent, Ok((0, Outcome::Sent(Sent::Delivered)))), "{sent:?}");
    assert!(received == long, "{} bytes", received.len());
    circuit.close().await;
    server.stop().await;
}

#[tokio::test]
async fn times_defaults_and_ends_are_clauses_too() {
    let key = key();
    let server = server(&key).await;
    let circuit = client(&server, &key).await;
    let empty = channel(&circuit, &server, "empty", 0).await;
    let clauses = vec![Clause::Recv(empty.clone()), Clause::Default];
    assert!(matches!(circuit.select(clauses).await, Ok((1, Outcome::Nothing))));
    let clauses = vec![Clause::Recv(empty.clone()), Clause::After(Duration::from_millis(1))];
    assert!(matches!(circuit.select(clauses).await, Ok((1, Outcome::Elapsed))));
    let spec = ProcSpec { path: "/bin/true".into(), ..ProcSpec::default() };
    let at = circuit.server(server.url().id).walk("p").expect("a path");
    let process = at.make_proc(&spec).await.expect("a process");
    let clauses = vec![Clause::Recv(empty.clone()), Clause::Exit(process), Clause::After(LONG)];
    assert!(matches!(circuit.select(clauses).await, Ok((1, Outcome::Exited(_)))));
    // None of them is left in line.
    assert_eq!(empty.try_send("x").await.expect_err("nobody receives").kind, ErrorKind::WouldBlock);
    assert_eq!(circuit.select(Vec::new()).await.expect_err("no clause").kind, ErrorKind::Invalid);
    circuit.close().await;
    server.stop().await;
}

#[tokio::test]
async fn one_that_is_dropped_leaves_nothing() {
    let key = key();
    let server = server(&key).await;
    let circuit = client(&server, &key).await;
    let line = channel(&circuit, &server, "line", 0).await;
    let choosing = circuit.select(vec![Clause::Recv(line.clone()), Clause::After(LONG)]);
    assert!(tokio::time::timeout(Duration::from_millis(1), choosing).await.is_err());
    assert_eq!(line.try_send("x").await.expect_err("nobody receives").kind, ErrorKind::WouldBlock);
    circuit.close().await;
    server.stop().await;
}
