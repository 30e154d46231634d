//! The client library on real sockets.

use std::time::Duration;

use bytes::Bytes;
use circuit_core::{
    ErrorKind,
    wire::op::{Exit, How, Phase, ProcSpec, Source},
};
use circuit_tests::{client, key, server};
use circuit_tokio::{
    Circuit, Dial,
    client::{Element, Happened, Proc, Sent},
};
use tokio::time;

fn spec(path: &str, args: &[&str]) -> ProcSpec {
    let args = args.iter().map(|&arg| arg.to_owned()).collect();
    ProcSpec { path: path.to_owned(), args, ..ProcSpec::default() }
}

async fn text(process: &Proc) -> String {
    let (mut text, mut output) = (Vec::new(), process.stdout());
    while let Some(bytes) = output.next().await.expect("output") {
        text.extend_from_slice(&bytes);
    }
    assert_eq!(output.finish().await, Ok(0));
    String::from_utf8(text).expect("text")
}

#[tokio::test]
async fn no_call_waits_for_ever_whenever_its_client_is_closed() {
    let key = key();
    let server = server(&key).await;
    for _ in 0..20 {
        let circuit = client(&server, &key).await;
        let anchor = circuit.server(server.url().id);
        let closing = tokio::spawn(circuit.close());
        let mut last = Ok(vec![]);
        while !closing.is_finished() || last.is_ok() {
            let answer = time::timeout(Duration::from_secs(30), anchor.view()).await;
            last = answer.expect("an answer");
            tokio::task::yield_now().await;
        }
        assert_eq!(last.expect_err("closed").kind, ErrorKind::Disconnected);
    }
}

#[tokio::test]
async fn a_message_is_handed_over_once() {
    let key = key();
    let server = server(&key).await;
    let circuit = client(&server, &key).await;
    let anchor = circuit.server(server.url().id).walk("this/is/charlie").expect("a path");
    let channel = anchor.make_chan(3).await.expect("a channel");
    assert_eq!(anchor.make_chan(3).await.expect_err("taken").kind, ErrorKind::AlreadyExists);
    assert_eq!(channel.send("hello").await, Ok(Sent::Accepted));
    let mut message = channel.recv().await.expect("a message");
    assert_eq!(message.bytes().await.expect("its bytes"), "hello");
    message.confirm().await.expect("it is ours");
    assert_eq!(channel.try_recv().await.expect_err("empty").kind, ErrorKind::WouldBlock);
    let stat = channel.stat().await.expect("its state");
    assert_eq!((stat.cap, stat.num_send, stat.num_recv), (3, 1, 1));
    channel.close().await.expect("closed");
    assert_eq!(channel.recv().await.expect_err("closed").kind, ErrorKind::Closed);
    assert_eq!(channel.send("x").await.expect_err("closed").kind, ErrorKind::Closed);
    circuit.close().await;
    server.stop().await;
}

#[tokio::test]
async fn a_long_message_streams_from_one_client_to_another() {
    let key = key();
    let server = server(&key).await;
    let (sender, receiver) = (client(&server, &key).await, client(&server, &key).await);
    let path = format!("/{}/long", server.url().id);
    let to = sender.anchor(&path).expect("a path").make_chan(0).await.expect("a channel");
    let from = receiver.anchor(&path).expect("a path").chan().expect("a channel");
    let sending = tokio::spawn(async move {
        let mut message = to.sender();
        for number in 0..640_u32 {
            message.write(Bytes::from(vec![number as u8; 50_000])).await.expect("room");
        }
        message.sent().await
    });
    let mut message = from.recv().await.expect("a message");
    let mut total = 0_usize;
    while let Some(bytes) = message.next().await.expect("more") {
        for (offset, byte) in bytes.iter().enumerate() {
            assert_eq!(*byte, ((total + offset) / 50_000) as u8);
        }
        total += bytes.len();
    }
    assert_eq!(total, 32_000_000);
    message.confirm().await.expect("it is ours");
    assert_eq!(sending.await.expect("a task"), Ok(Sent::Delivered));
}

#[tokio::test]
async fn a_process_is_fed_read_and_waited_for() {
    let key = key();
    let server = server(&key).await;
    let circuit = client(&server, &key).await;
    let anchor = circuit.server(server.url().id).walk("cat").expect("a path");
    let process = anchor.make_proc(&spec("/bin/cat", &[])).await.expect("a process");
    assert_eq!(process.peek().await.expect("its state").phase, Phase::Running);
    let mut stdin = process.stdin();
    stdin.write("over there".into()).await.expect("room");
    stdin.finish().await.expect("closed");
    assert_eq!(text(&process).await, "over there");
    let stat = process.wait().await.expect("its end");
    assert!(matches!(stat.exit, Some(Exit { how: How::Code(0), .. })));
    assert_eq!(text(&process).await, "over there", "it can be read again");
    anchor.scrub().await.expect("removed");
    assert_eq!(process.wait().await.expect_err("gone").kind, ErrorKind::NotFound);
}

#[tokio::test]
async fn signals_stop_continue_and_end_a_process() {
    let key = key();
    let server = server(&key).await;
    let circuit = client(&server, &key).await;
    let anchor = circuit.server(server.url().id).walk("sleep").expect("a path");
    let process = anchor.make_proc(&spec("/bin/sleep", &["1000"])).await.expect("a process");
    for (signal, phase) in [(19, Phase::Stopped), (18, Phase::Continued)] {
        process.signal(signal).await.expect("sent");
        while process.peek().await.expect("its state").phase != phase {
            tokio::task::yield_now().await;
        }
    }
    process.signal(15).await.expect("sent");
    let stat = process.wait().await.expect("its end");
    assert!(matches!(stat.exit, Some(Exit { how: How::Signal { number: 15, core: false }, .. })), "{stat:?}");
    assert_eq!(stat.phase, Phase::Signaled);
}

#[tokio::test]
async fn a_program_that_cannot_run_says_why() {
    let key = key();
    let server = server(&key).await;
    let circuit = client(&server, &key).await;
    let anchor = circuit.server(server.url().id).walk("p").expect("a path");
    let elsewhere = ProcSpec { dir: "/nowhere".to_owned(), ..spec("/bin/true", &[]) };
    let long = "x".repeat(200_000);
    for (spec, errno) in [
        (spec("/nowhere/nothing", &[]), 2),
        (spec("/etc/passwd", &[]), 13),
        (elsewhere, 2),
        (spec("/bin/true", &[&long]), 7),
    ] {
        let error = anchor.make_proc(&spec).await.expect_err("refused");
        assert_eq!(error.kind, ErrorKind::SpawnFailed(errno), "{}", spec.path);
    }
    let two = [ProcSpec { env: vec!["A=b".to_owned()], ..spec("/usr/bin/env", &[]) }];
    let process = anchor.make_proc(&two[0]).await.expect("the place is free");
    assert_eq!(text(&process).await, "A=b\n");
}

#[tokio::test]
async fn without_the_key_nothing_is_learnt() {
    let key = key();
    let server = server(&key).await;
    for dial in [Dial::url(server.url()), Dial::url(server.url()).key(circuit_tests::key())] {
        Circuit::dial(dial).await.expect_err("refused");
    }
}

#[tokio::test]
async fn a_subscription_tells_who_is_there_who_comes_and_who_goes() {
    let key = key();
    let (first, second) = (server(&key).await, server(&key).await);
    let circuit = client(&first, &key).await;
    let anchor = circuit.server(first.url().id);
    let events = anchor.walk("watch").expect("a path").subscribe(Source::Both).await.expect("a subscription");
    let told = |happened: Happened| match happened {
        Happened::Joined(server) => format!("+{server}"),
        Happened::Left(server) => format!("-{server}"),
        Happened::Lagged(count) => format!("{count} missed"),
    };
    assert_eq!(told(events.next().await.expect("an event")), format!("+/{}", first.url().id));
    assert_eq!(events.try_next().await.expect_err("no more").kind, ErrorKind::WouldBlock);
    anchor.join(second.url().into()).await.expect("joined");
    let event = events.recv().await.expect("an event");
    drop(event); // not confirmed: it goes back
    let event = events.recv().await.expect("the same");
    assert_eq!(told(event.confirm().await.expect("taken")), format!("+/{}", second.url().id));
    circuit.server(second.url().id).suicide().await.expect("it ends");
    assert_eq!(told(events.next().await.expect("an event")), format!("-/{}", second.url().id));
    assert_eq!(events.stat().await.expect("its state").pending, 0);
    assert!(matches!(events.anchor().get().await, Ok(Element::Subscription(_))));
}

/// The notice itself is made where events are (see the core): this reads one.
#[tokio::test]
async fn a_notice_of_missed_events_is_told_apart() {
    let key = key();
    let server = server(&key).await;
    let circuit = client(&server, &key).await;
    let anchor = circuit.server(server.url().id).walk("line").expect("a path");
    let line = anchor.make_chan(2).await.expect("a channel");
    line.send("lagged 5").await.expect("sent");
    line.send("5 lagged").await.expect("sent");
    let events = anchor.subscription(Source::Join).expect("a handle");
    assert!(matches!(events.next().await, Ok(Happened::Lagged(5))));
    assert_eq!(events.next().await.expect_err("no event").kind, ErrorKind::Invalid);
}
