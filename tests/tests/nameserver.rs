//! Name servers on real sockets, asked by whoever behaves badly.

use std::net::SocketAddr;

use circuit_core::{
    ErrorKind,
    dns::{MAX_CONNECTIONS, Name},
};
use circuit_tests::{client, key, server};
use circuit_tokio::{
    Circuit, Server,
    client::{Element, Nameserver},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
};

async fn name_server() -> (Server, Circuit, Nameserver, SocketAddr) {
    let key = key();
    let server = server(&key).await;
    let circuit = client(&server, &key).await;
    let anchor = circuit.server(server.url().id).walk("dns").expect("a path");
    let nameserver = anchor.make_dns(None).await.expect("a name server");
    nameserver.set("db.app.example. 60 IN A 10.0.0.7").await.expect("a record");
    let addr = nameserver.stat().await.expect("its state").addr;
    assert_eq!(addr.ip(), server.url().addr.ip(), "at the server's own address");
    (server, circuit, nameserver, addr)
}

fn query(id: u8) -> Vec<u8> {
    let mut packet = vec![0, id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    packet.extend_from_slice("db.app.example.".parse::<Name>().expect("a name").as_wire());
    packet.extend([0, 1, 0, 1]);
    packet
}

fn framed(packet: &[u8]) -> Vec<u8> {
    [&(packet.len() as u16).to_be_bytes()[..], packet].concat()
}

async fn read_reply(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut reply = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut reply).await?;
    Ok(reply)
}

#[tokio::test]
async fn queries_on_one_connection_are_answered_in_their_order() {
    let (server, circuit, _, addr) = name_server().await;
    let mut stream = TcpStream::connect(addr).await.expect("a connection");
    let all = [framed(&query(1)), framed(b"short but long enough"), framed(&query(2))].concat();
    for piece in all.chunks(5) {
        stream.write_all(piece).await.expect("written");
    }
    let mut codes = Vec::new();
    for _ in 0..3 {
        let reply = read_reply(&mut stream).await.expect("a reply");
        codes.push((reply[1], reply[3] & 0xf, reply.ends_with(&[10, 0, 0, 7])));
    }
    assert_eq!((codes[0], codes[2]), ((1, 0, true), (2, 0, true)));
    assert!(codes[1].1 != 0 && !codes[1].2, "{codes:?}");
    // An answer is answered by nobody, and such a connection has no sense.
    let mut answer = query(3);
    answer[2] |= 0x80;
    stream.write_all(&framed(&answer)).await.expect("written");
    assert!(read_reply(&mut stream).await.is_err());
    circuit.close().await;
    server.stop().await;
}

#[tokio::test]
async fn a_crowd_of_silent_connections_keeps_nobody_out() {
    let (server, circuit, _, addr) = name_server().await;
    let mut silent = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        let mut stream = TcpStream::connect(addr).await.expect("a connection");
        stream.write_all(&framed(&query(0))).await.expect("written");
        read_reply(&mut stream).await.expect("it was let in");
        silent.push(stream);
    }
    let mut one_more = TcpStream::connect(addr).await.expect("a connection");
    one_more.write_all(&framed(&query(9))).await.expect("written");
    assert_eq!(read_reply(&mut one_more).await.expect("a reply")[1], 9);
    assert!(read_reply(&mut silent[0]).await.is_err(), "the oldest has made room");
    let last = silent.last_mut().expect("the last");
    last.write_all(&framed(&query(8))).await.expect("written");
    assert_eq!(read_reply(last).await.expect("the others are still there")[1], 8);
    circuit.close().await;
    server.stop().await;
}

#[tokio::test]
async fn junk_is_passed_over_and_records_are_answered_from_at_once() {
    let (server, circuit, nameserver, addr) = name_server().await;
    let socket = UdpSocket::bind(SocketAddr::new(addr.ip(), 0)).await.expect("a socket");
    socket.connect(addr).await.expect("an address");
    let mut buffer = [0; 2_048];
    for packet in [vec![], vec![7; 11], vec![0x80; 500], vec![0; 60_000], query(1)] {
        socket.send(&packet).await.expect("sent");
    }
    // The zeros are a question that is none: that is said.
    let length = socket.recv(&mut buffer).await.expect("a reply");
    assert_eq!((length, buffer[3]), (12, 1));
    let length = socket.recv(&mut buffer).await.expect("a reply");
    assert!(buffer[1] == 1 && buffer[..length].ends_with(&[10, 0, 0, 7]));
    for number in 0..50_u8 {
        nameserver.unset("DB.app.example").await.expect("unset");
        nameserver.set(&format!("db.app.example. 60 IN A 10.0.1.{number}")).await.expect("set");
        socket.send(&query(number)).await.expect("sent");
        let length = socket.recv(&mut buffer).await.expect("a reply");
        assert!(buffer[1] == number && buffer[..length].ends_with(&[10, 0, 1, number]), "{number}");
    }
    circuit.close().await;
    server.stop().await;
}

#[tokio::test]
async fn what_is_removed_gives_its_port_back() {
    let (server, circuit, nameserver, addr) = name_server().await;
    let anchor = nameserver.anchor();
    assert!(matches!(anchor.get().await, Ok(Element::Nameserver(_))));
    let mut stream = TcpStream::connect(addr).await.expect("a connection");
    stream.write_all(&framed(&query(1))).await.expect("written");
    read_reply(&mut stream).await.expect("a reply");
    let other = anchor.walk("other").expect("a path");
    let taken = other.make_dns(Some(addr)).await.expect_err("it is taken");
    assert!(matches!(taken.kind, ErrorKind::BindFailed(98)), "{taken}");
    anchor.scrub().await.expect("removed");
    assert!(read_reply(&mut stream).await.is_err(), "its connections are closed");
    // What was told to close is closed in its own time.
    while other.make_dns(Some(addr)).await.is_err() {}
    assert_eq!(other.nameserver().expect("a handle").stat().await.expect("its state").records, []);
    for bad in ["", "a. A", "a. CH TXT x"] {
        assert_eq!(nameserver.set(bad).await.expect_err(bad).kind, ErrorKind::Invalid);
    }
    circuit.close().await;
    server.stop().await;
}
