//! A race: one process on every server, until the first has ended.
//!
//! ```text
//! cargo run --example wait-first -- URL COMMAND [ARGUMENT...]
//! ```
//!
//! Prints which was first and what it has written; the others are killed, and
//! all are removed. `CIRCUIT_HMAC` names a file with the circuit's key.

use std::{env, error::Error, path::Path};

use circuit_core::{
    ErrorKind,
    wire::op::{ProcSpec, StdinSpec},
};
use circuit_tokio::{
    Circuit, Dial,
    client::{Clause, Outcome},
    read_key,
};

/// The signal that no process survives.
const KILL: i32 = 9;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let (url, path) = args.next().zip(args.next()).ok_or("say URL COMMAND [ARGUMENT...]")?;
    let spec = ProcSpec { path, args: args.collect(), stdin: StdinSpec::Null, ..ProcSpec::default() };
    let mut dial = Dial::url(url.parse()?);
    if let Some(file) = env::var_os("CIRCUIT_HMAC") {
        dial = dial.key(read_key(Path::new(&file))?);
    }
    let circuit = Circuit::dial(dial).await?;

    let mut running = Vec::new();
    for server in circuit.anchor("/")?.view().await? {
        let place = server.anchor.walk(&format!("wait-first-{}", std::process::id()))?;
        running.push(place.make_proc(&spec).await?);
    }
    let clauses = running.iter().cloned().map(Clause::Exit).collect();
    let (first, Outcome::Exited(_)) = circuit.select(clauses).await? else {
        return Err("no process ends at all".into());
    };
    println!("first: {}", running[first].anchor());
    let mut output = running[first].stdout();
    while let Some(piece) = output.next().await? {
        print!("{}", String::from_utf8_lossy(&piece));
    }
    output.finish().await?;
    for process in running {
        match process.signal(KILL).await {
            Err(error) if error.kind != ErrorKind::Closed => return Err(error.into()),
            _ => process.anchor().scrub().await?, // it was killed, or has ended by itself
        }
    }
    circuit.close().await;
    Ok(())
}
