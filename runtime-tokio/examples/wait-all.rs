//! A parallel job: one process on every server, and what all of them say.
//!
//! ```text
//! cargo run --example wait-all -- URL COMMAND [ARGUMENT...]
//! ```
//!
//! The processes run side by side; they are read and waited for together, and
//! removed. `CIRCUIT_HMAC` names a file with the circuit's key.

use std::{env, error::Error, path::Path};

use circuit_core::wire::op::{How, ProcSpec, StdinSpec};
use circuit_tokio::{
    Circuit, Dial,
    client::{Anchor, Proc},
    read_key,
};
use tokio::task::JoinSet;

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

    // All are started before any is waited for.
    let mut running = JoinSet::new();
    for server in circuit.anchor("/")?.view().await? {
        let place = server.anchor.walk(&format!("waitall-{}", std::process::id()))?;
        let process = place.make_proc(&spec).await?;
        running.spawn(async move { (server.anchor.path(), finish(&place, &process).await) });
    }
    let mut all = running.join_all().await;
    all.sort_by(|(one, _), (other, _)| one.cmp(other));
    for (server, result) in all {
        let (how, output) = result?;
        print!("{server} {how}\n{output}");
    }
    circuit.close().await;
    Ok(())
}

/// What a process wrote, and how it ended.
async fn finish(place: &Anchor, process: &Proc) -> Result<(String, String), circuit_core::Error> {
    let (mut bytes, mut output) = (Vec::new(), process.stdout());
    while let Some(piece) = output.next().await? {
        bytes.extend_from_slice(&piece);
    }
    output.finish().await?;
    let how = match process.wait().await?.exit.map(|exit| exit.how) {
        Some(How::Code(code)) => format!("status {code}"),
        Some(How::Signal { number, .. }) => format!("signal {number}"),
        None => "nobody knows how".to_owned(),
    };
    place.scrub().await?;
    Ok((how, String::from_utf8_lossy(&bytes).into_owned()))
}
