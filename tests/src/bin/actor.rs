//! Plays a part in a test, in a process of its own:
//!
//! - `actor server [URL]` runs a server, which joins that at the URL, and prints
//!   its own;
//! - `actor echo URL HOST BYTES` dials the URL, sends that many bytes through a
//!   `cat` on the server HOST, checks each that comes back, and prints the most
//!   memory it ever had.
//!
//! The key comes on standard input; when that ends a server ends too.

use std::io;

use bytes::Bytes;
use circuit_core::{ServerId, Target, Url, session::ClusterKey, wire::op::ProcSpec};
use circuit_tests::actor::{is_pattern, pattern, peak};
use circuit_tokio::{Circuit, Dial, Server, ServerConfig};
use tokio::io::{AsyncBufReadExt, BufReader};

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let key = lines.next_line().await?.ok_or("no key on standard input")?;
    let key = ClusterKey::from_text(&key).map_err(|_| "no key on standard input")?;
    let part: Vec<String> = std::env::args().skip(1).collect();
    match part.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["server", ref join @ ..] => {
            let join = join.iter().map(|url| parsed(url)).collect::<Result<Vec<Url>, _>>()?;
            let config = circuit_tests::config(&key);
            let join = join.iter().map(|&url| Target::from(url)).collect();
            let server = Server::start(ServerConfig { join, ..config }).await?;
            println!("{}", server.url());
            while lines.next_line().await?.is_some() {}
            server.stop().await;
            Ok(())
        }
        ["echo", url, host, bytes] => {
            echo(parsed(url)?, parsed(host)?, key, bytes.parse()?).await?;
            println!("{}", peak("self")?);
            Ok(())
        }
        _ => Err(io::Error::other("usage: actor server [URL] | actor echo URL HOST BYTES").into()),
    }
}

fn parsed<T: std::str::FromStr>(text: &str) -> Result<T, Failure> {
    text.parse().map_err(|_| format!("what is {text}?").into())
}

async fn echo(url: Url, host: ServerId, key: ClusterKey, length: u64) -> Result<(), Failure> {
    const PIECE: usize = 32 * 1024;
    let circuit = Circuit::dial(Dial::url(url).key(key)).await?;
    while !circuit.members().await?.members.iter().any(|member| member.id == host) {}
    let anchor = circuit.server(host).walk("echo")?;
    let cat = ProcSpec { path: "/bin/cat".to_owned(), scrub: true, ..ProcSpec::default() };
    let process = anchor.make_proc(&cat).await?;
    let (mut stdin, mut stdout) = (process.stdin(), process.stdout());
    let writing = tokio::spawn(async move {
        let mut offset = 0;
        while offset < length {
            stdin.write(Bytes::from(pattern(offset, PIECE))).await?;
            offset += PIECE as u64;
        }
        stdin.finish().await
    });
    let mut offset = 0;
    while let Some(bytes) = stdout.next().await? {
        if !is_pattern(offset, &bytes) {
            return Err(format!("not what was written, within {} bytes from {offset}", bytes.len()).into());
        }
        offset += bytes.len() as u64;
    }
    writing.await??;
    if offset != length.next_multiple_of(PIECE as u64) {
        return Err(format!("{offset} bytes came back of {length}").into());
    }
    circuit.close().await;
    Ok(())
}
