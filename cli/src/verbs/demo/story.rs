//! What happens in the demo, and the commands by which it could be typed.

use std::time::Instant;

use circuit_core::{Error, ErrorKind, Url, wire::op::Source};
use circuit_tokio::{
    Circuit, Dial,
    client::{Anchor, Chan, Happened},
};

use super::{
    failed,
    servers::Servers,
    tell::Tell,
    watchbot::{Watchbot, Worker},
};
use crate::fault::Fault;

/// How many jobs there are.
const JOBS: u32 = 8;
/// The job during which a server dies.
const FATAL: u32 = 4;

pub(super) async fn tell(servers: &mut Servers) -> Result<(), Fault> {
    let mut tell = Tell::new();
    let urls = start(&mut tell, servers).await?;
    let circuit = Circuit::dial(Dial::url(urls[0]).key(servers.key().clone())).await;
    let circuit = circuit.map_err(|error| failed(format!("its first server: {error}")))?;
    let place = |number: usize, path: &str| circuit.server(urls[number].id).walk(path).map_err(tried("walk"));
    everybody_is_there(&mut tell, place(0, "join")?).await?;

    let words = "A queue of jobs on the first server, a worker on the second, and a watchbot: a program\n\
                 that hears of servers that are gone.";
    tell.say(words).await?;
    let jobs = fill(&mut tell, place(0, "jobs")?).await?;
    let worker = hire(&mut tell, place(1, "worker")?).await?;
    let watch = place(0, "watch")?;
    tell.command(format!("circuit mk@leave {watch}")).await?;
    let bot = Watchbot::start(&watch).await.map_err(tried("mk@leave"))?;

    let words = "The watchbot takes a job from the queue, writes it to the worker's input and reads its\n\
                 output. Only then does it acknowledge the job.";
    tell.say(words).await?;
    let mut work = Work { tell, servers, bot, worker, watch, done: Vec::new() };
    work.run(&jobs, urls[1], place(2, "worker")?).await?;
    let Work { mut tell, worker, done, .. } = work;
    if done != (1..=JOBS).collect::<Vec<_>>() {
        return Err(failed(format!("these jobs were done, and should have been 1 to {JOBS}, each once: {done:?}")));
    }
    worker.end().await.map_err(tried("wait"))?;
    tell.say(format!(
        "All {JOBS} jobs were done, each of them once. The other two servers leave: nothing stays behind."
    ))
    .await?;
    circuit.close().await;
    Ok(())
}

/// Starts three servers.
async fn start(tell: &mut Tell, servers: &mut Servers) -> Result<[Url; 3], Fault> {
    tell.say("A circuit of three servers on this machine, with a key of its own.").await?;
    tell.command("circuit keygen key; export CIRCUIT_HMAC=key").await?;
    tell.command("circuit start -a 127.0.0.1").await?;
    let first = servers.start().await?;
    tell.answer(first).await?;
    let mut urls = [first; 3];
    for url in &mut urls[1..] {
        tell.command(format!("circuit start -a 127.0.0.1 -j {first}")).await?;
        *url = servers.start().await?;
        tell.answer(*url).await?;
    }
    Ok(urls)
}

/// Waits until the first server sees all three.
async fn everybody_is_there(tell: &mut Tell, at: Anchor) -> Result<(), Fault> {
    tell.say("A client of any of them reaches all. It hears who is there, and who comes.").await?;
    tell.command(format!("circuit mk@join {at}")).await?;
    let joins = at.subscribe(Source::Join).await.map_err(tried("mk@join"))?;
    for _ in 0..3 {
        tell.command(format!("circuit recv {at}")).await?;
        if let Happened::Joined(server) = joins.next().await.map_err(tried("recv"))? {
            tell.answer(server).await?;
        }
    }
    at.scrub().await.map_err(tried("scrub"))
}

/// Makes the queue, with all jobs in it.
async fn fill(tell: &mut Tell, at: Anchor) -> Result<Chan, Fault> {
    tell.command(format!("circuit mkchan {at} {JOBS}")).await?;
    let jobs = at.make_chan(JOBS).await.map_err(tried("mkchan"))?;
    tell.command(format!("for n in $(seq {JOBS}); do echo $n | circuit send {at}; done; circuit close {at}")).await?;
    for number in 1..=JOBS {
        jobs.send(number.to_string()).await.map_err(tried("send"))?;
    }
    jobs.close().await.map_err(tried("close"))?;
    Ok(jobs)
}

async fn hire(tell: &mut Tell, at: Anchor) -> Result<Worker, Fault> {
    tell.command(format!("circuit mkproc {at} <<< '{}'", Worker::described())).await?;
    Worker::start(at).await.map_err(tried("mkproc"))
}

/// The work as it goes on, from server to server.
struct Work<'a> {
    tell: Tell,
    servers: &'a mut Servers,
    bot: Watchbot,
    worker: Worker,
    watch: Anchor,
    /// The jobs that were done, in that order.
    done: Vec<u32>,
}

impl Work<'_> {
    /// Does all jobs; in the middle `victim` is killed.
    async fn run(&mut self, jobs: &Chan, victim: Url, refuge: Anchor) -> Result<(), Fault> {
        let mut killed = None;
        loop {
            let mut job = match jobs.recv().await {
                Err(Error { kind: ErrorKind::Closed, .. }) => return Ok(()),
                job => job.map_err(tried("recv"))?,
            };
            let number = job.next().await.map_err(tried("recv"))?.unwrap_or_default();
            let number: u32 =
                String::from_utf8_lossy(&number).parse().map_err(|_| failed("a job came back changed"))?;
            if number == FATAL && killed.is_none() {
                self.kill(victim).await?;
                killed = Some(Instant::now());
            }
            match self.bot.work(&mut self.worker, &number.to_string()).await.map_err(tried("the worker"))? {
                Some(answer) => {
                    job.confirm().await.map_err(tried("recv"))?;
                    self.done.push(number);
                    let server = self.worker.at().server_id().map(|id| id.to_string()).unwrap_or_default();
                    self.tell.answer(format!("{server}: {answer}")).await?;
                }
                None => {
                    drop(job); // unacknowledged, it goes back to the queue
                    self.moved(killed, refuge.clone()).await?;
                }
            }
        }
    }

    async fn kill(&mut self, victim: Url) -> Result<(), Fault> {
        let words = format!("Job {FATAL} is on its way to the worker when its server dies, as by a loss of power.");
        self.tell.say(words).await?;
        self.tell.command(format!("kill -9 {}", victim.pid)).await?;
        self.servers.kill(victim).await
    }

    /// The server under the worker is gone: another takes its place.
    async fn moved(&mut self, killed: Option<Instant>, refuge: Anchor) -> Result<(), Fault> {
        let after = killed.map_or(0.0, |at| at.elapsed().as_secs_f64());
        let gone = self.worker.at().server_id().map(|id| format!("/{id}")).unwrap_or_default();
        self.tell.command(format!("circuit recv {}", self.watch)).await?;
        self.tell.answer(format!("{gone}    ({after:.2} s after it died)")).await?;
        let words = "The job was never acknowledged, so it is in the queue again, at its old place.\n\
                     The watchbot starts the worker on the third server, and the work has moved.";
        self.tell.say(words).await?;
        self.worker = hire(&mut self.tell, refuge).await?;
        Ok(())
    }
}

/// The words by which a user knows what failed.
fn tried(what: &'static str) -> impl Fn(Error) -> Fault {
    move |error| Fault::of(format!("demo: {what}"), &error)
}
