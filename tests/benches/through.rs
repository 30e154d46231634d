//! A long stream through a process on one server, a channel, and a process on
//! another server; then once more, with the second server standing still for a
//! while in the middle. The last process compares what comes with what should.
//! Every byte is sealed and opened five times on its way, and twice on that of one
//! long message: bare sessions over as many hops are what it is measured by.
//!
//! `cargo bench -p circuit-tests --bench through [-- BYTES]`

use std::time::{Duration, Instant};

use circuit_core::{
    Url,
    session::ClusterKey,
    wire::op::{Exit, How, ProcSpec},
};
use circuit_tests::{
    actor::{Actor, peak},
    hops::{bulk, megabytes_per_second},
    key,
};
use circuit_tokio::{
    Circuit, Dial,
    client::{Chan, Proc},
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{sync::watch, time::sleep};

const ACTOR: &str = env!("CARGO_BIN_EXE_actor");
/// What a server or a client may use, whatever passes through it.
const FLAT: u64 = 64 << 20;
/// From the writer's server to a client, to the channel's server, from there to the
/// reader's, to another client, and to the reader's server again.
const HOPS: usize = 5;
/// How long the second server stands still.
const STILL: Duration = Duration::from_secs(5);

type Fault = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Fault> {
    let length = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(2_u64 << 30);
    let key = key();
    let (near, dialled) = Actor::server(ACTOR, &key, None).await?;
    let (far, host) = Actor::server(ACTOR, &key, Some(dialled)).await?;
    let bare = [bulk(HOPS, 1 << 29).await?, bulk(2, 1 << 29).await?];
    println!("bare sessions: {:.0} MB/s over {HOPS} hops, {:.0} over two", bare[0], bare[1]);
    for (name, still) in [("through", None), ("with a server that stands still", Some(&far))] {
        let way = Way::make(&key, [dialled, host], name, length).await?;
        let begun = Instant::now();
        let stop = async {
            let Some(server) = still else { return Ok(()) };
            way.moved.subscribe().wait_for(|moved| *moved >= length / 2).await?;
            stand_still(server).await
        };
        tokio::try_join!(way.carry(), stop)?;
        let stood = if still.is_some() { STILL } else { Duration::ZERO };
        let speed = megabytes_per_second(usize::try_from(length)?, begun + stood);
        let [same, two] = bare.map(|bare| speed / bare);
        println!("{name}: {length} bytes, all as they should be, {speed:.0} MB/s: {same:.2} and {two:.2} of these");
    }
    let peaks = [near.peak()?, far.peak()?, peak("self")?];
    println!("memory at most, MiB: {:?} of the servers and the client", peaks.map(|peak| peak >> 20));
    if peaks.iter().any(|peak| *peak > FLAT) {
        return Err("memory has grown".into());
    }
    Ok(())
}

/// Two processes, and a channel between them.
struct Way {
    writer: Proc,
    reader: Proc,
    ends: [Chan; 2],
    /// How many bytes have gone to the reader.
    moved: watch::Sender<u64>,
}

impl Way {
    async fn make(key: &ClusterKey, [near, far]: [Url; 2], name: &str, length: u64) -> Result<Self, Fault> {
        // Each of the two that carry dials the server next to it.
        let one = Circuit::dial(Dial::url(near).key(key.clone())).await?;
        let other = Circuit::dial(Dial::url(far).key(key.clone())).await?;
        let name = name.replace(' ', "-");
        let source = format!("yes 0123456789abcde | head -c {length}");
        let writer = one.server(near.id).walk(&format!("{name}/writer"))?.make_proc(&shell(&source)).await?;
        let compare = format!("exec 3<&0; {source} | cmp - /dev/fd/3");
        let reader = other.server(far.id).walk(&format!("{name}/reader"))?.make_proc(&shell(&compare)).await?;
        let to = one.server(near.id).walk(&format!("{name}/channel"))?.make_chan(0).await?;
        let from = other.anchor(&to.anchor().path())?.chan()?;
        Ok(Self { writer, reader, ends: [to, from], moved: watch::Sender::new(0) })
    }

    /// Has all of it go its way.
    async fn carry(&self) -> Result<(), Fault> {
        let [to, from] = &self.ends;
        let send = async {
            let (mut output, mut message) = (self.writer.stdout(), to.sender());
            while let Some(bytes) = output.next().await? {
                message.write(bytes).await?;
            }
            output.finish().await?;
            message.sent().await.map_err(Fault::from)
        };
        let receive = async {
            let (mut message, mut input) = (from.recv().await?, self.reader.stdin());
            while let Some(bytes) = message.next().await? {
                let length = bytes.len() as u64;
                input.write(bytes).await?;
                self.moved.send_modify(|moved| *moved += length);
            }
            input.finish().await?;
            message.confirm().await.map_err(Fault::from)
        };
        tokio::try_join!(send, receive)?;
        let ended = self.reader.wait().await?;
        match ended.exit {
            Some(Exit { how: How::Code(0), .. }) => Ok(()),
            other => Err(format!("what came is not what was sent: {other:?}").into()),
        }
    }
}

async fn stand_still(server: &Actor) -> Result<(), Fault> {
    let pid = Pid::from_raw(i32::try_from(server.pid()?)?).ok_or("a server without a number")?;
    kill_process(pid, Signal::STOP)?;
    sleep(STILL).await;
    Ok(kill_process(pid, Signal::CONT)?)
}

fn shell(script: &str) -> ProcSpec {
    let args = ["-c", script].map(str::to_owned).to_vec();
    ProcSpec { path: "/bin/sh".to_owned(), args, ..ProcSpec::default() }
}
