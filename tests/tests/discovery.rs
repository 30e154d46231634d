//! Servers and clients that find each other by multicast, on real sockets.

use std::time::Duration;

use circuit_core::{Error, session::ClusterKey};
use circuit_tests::{key, loopback};
use circuit_tokio::{
    Circuit, Dial, Group, Server, ServerConfig,
    client::{DialError, Refusal},
};

/// A group for one test.
fn group(number: u8) -> Group {
    format!("239.77.11.{number}:7711").parse().expect("a group")
}

async fn server(group: Group, key: &ClusterKey) -> Server {
    let config = ServerConfig { discover: Some(group), ..ServerConfig::new(loopback(), key.clone()) };
    Server::start(config).await.expect("a server")
}

/// A client that does not give up.
async fn client(group: Group, key: &ClusterKey) -> Circuit {
    let dial = Dial::discover(group).within(Duration::from_secs(600)).key(key.clone());
    Circuit::dial(dial).await.expect("a server answers")
}

async fn names_itself(circuit: &Circuit) -> Result<(), Error> {
    let members = circuit.members().await?;
    assert_eq!(members.observer.id, circuit.dial_in());
    Ok(())
}

#[tokio::test]
async fn a_client_finds_a_server() {
    let key = key();
    let server = server(group(1), &key).await;
    let circuit = client(group(1), &key).await;
    assert_eq!(circuit.dial_in(), server.url().id);
    assert_eq!(names_itself(&circuit).await, Ok(()));
}

#[tokio::test]
async fn a_client_that_was_there_first_finds_it_too() {
    let key = key();
    let (waiting, of_client) = (key.clone(), group(2));
    let circuit = tokio::spawn(async move { client(of_client, &waiting).await });
    tokio::task::yield_now().await; // it asks, and nobody is there
    let server = server(group(2), &key).await;
    let circuit = circuit.await.expect("a task");
    assert_eq!(circuit.dial_in(), server.url().id);
}

#[tokio::test]
async fn with_another_key_nothing_is_found_and_the_error_says_what_to_look_at() {
    let ours = key();
    let _server = server(group(3), &ours).await;
    for other in [key(), ClusterKey::public()] {
        let dial = Dial::discover(group(3)).within(Duration::from_secs(1)).key(other);
        let error = Circuit::dial(dial).await.expect_err("nobody answers");
        assert!(matches!(error, DialError { target: None, why: Refusal::Unanswered { .. } }), "{error:?}");
        let text = error.to_string();
        for part in ["239.77.11.3:7711", "within 1s", "'-discover 239.77.11.3:7711'", "same key", "clocks"] {
            assert!(text.contains(part), "{text}");
        }
    }
    client(group(3), &ours).await; // it was there all the time
}

#[tokio::test]
async fn servers_of_one_host_find_each_other_and_not_those_of_another_key() {
    let (ours, theirs) = (key(), key());
    let (mut servers, mut others) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        servers.push(server(group(4), &ours).await);
        others.push(server(group(4), &theirs).await);
    }
    let own: Vec<_> = servers.iter().map(|server| server.url().id).collect();
    for server in &servers {
        loop {
            let members = server.snapshot().await.expect("it runs").members;
            assert!(members.iter().all(|record| own.contains(&record.id)), "{members:?}");
            if members.len() > 1 {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_group_hears_nothing_of_another_on_the_same_port() {
    let key = key();
    let (one, other) = (server(group(5), &key).await, server(group(6), &key).await);
    for _ in 0..3 {
        assert_eq!(client(group(5), &key).await.dial_in(), one.url().id);
        assert_eq!(client(group(6), &key).await.dial_in(), other.url().id);
    }
}

#[tokio::test]
async fn a_client_goes_on_to_the_next_when_the_first_cannot_be_dialled() {
    let key = key();
    let nobody = "127.0.0.1:1".parse().expect("an address");
    let config = ServerConfig {
        advertise: Some(nobody),
        discover: Some(group(7)),
        ..ServerConfig::new(loopback(), key.clone())
    };
    let _lost = Server::start(config).await.expect("a server");
    let dial = Dial::discover(group(7)).within(Duration::from_secs(1)).key(key.clone());
    let error = Circuit::dial(dial).await.expect_err("nobody is there");
    assert_eq!(error.target.map(|target| target.addr), Some(nobody), "it says who answered");
    let server = server(group(7), &key).await;
    assert_eq!(client(group(7), &key).await.dial_in(), server.url().id);
}
