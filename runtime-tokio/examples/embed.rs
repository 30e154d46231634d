//! A program that is a server of the circuit itself, and its own client.
//!
//! ```text
//! cargo run --example embed             a circuit of one; its URL is printed
//! cargo run --example embed -- URL      another server, which joins it
//! ```
//!
//! It says who comes and goes as this server sees it, and ends when its input
//! does. `CIRCUIT_HMAC` names a file with the circuit's key.

use std::{env, error::Error, io, path::Path};

use circuit_core::{Target, Url, session::ClusterKey, wire::op::Source};
use circuit_tokio::{Circuit, Dial, Server, ServerConfig, client::Happened, read_key};
use tokio::{sync::oneshot, task::spawn_blocking};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let key = match env::var_os("CIRCUIT_HMAC") {
        Some(file) => read_key(Path::new(&file))?,
        None => ClusterKey::public(),
    };
    let mut join = Vec::new();
    for url in env::args().skip(1) {
        join.push(Target::from(url.parse::<Url>()?));
    }
    let listen = "127.0.0.1:0".parse()?;
    let config = ServerConfig { join, ..ServerConfig::new(listen, key.clone()) };
    let server = Server::start(config).await?;
    println!("{}", server.url());

    // There is no shorter way in: a program reaches its own server as it would
    // any other, and so everything that works here works from everywhere.
    let circuit = Circuit::dial(Dial::url(server.url()).key(key)).await?;
    let events = circuit.server(server.url().id).walk("embed/events")?.subscribe(Source::Both).await?;
    let mut input = input_ends();
    loop {
        tokio::select! {
            event = events.next() => match event? {
                Happened::Joined(server) => println!("{server} is here"),
                Happened::Left(server) => println!("{server} is gone"),
                Happened::Lagged(count) => println!("{count} events came too fast"),
            },
            _ = &mut input => break,
        }
    }
    circuit.close().await;
    server.stop().await;
    Ok(())
}

fn input_ends() -> oneshot::Receiver<()> {
    let (ended, end) = oneshot::channel();
    spawn_blocking(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        drop(ended);
    });
    end
}
