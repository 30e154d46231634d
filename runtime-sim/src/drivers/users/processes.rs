//! Users who run processes.

use std::sync::Arc;

use bytes::Bytes;
use circuit_core::{
    Error,
    wire::op::{ProcSpec, Reply},
};
use circuit_tokio::client::{Anchor, Proc};

use super::{Ends, User, Works, lock};
use crate::work::{Job, Kind, Step, TERM, outcome};

/// Processes of one user at once.
const AT_ONCE: usize = 2;

impl User {
    pub(super) async fn use_processes(&mut self) {
        while self.pause(800).await {
            if self.tasks.len() < AT_ONCE {
                self.run_one();
            }
        }
        self.end().await;
    }

    fn run_one(&mut self) {
        let (_, host) = self.any_server();
        let number = self.next_number();
        let (job, spec) = Job::draw(&mut self.rng, self.client, host, number);
        let Some(anchor) = self.place(host, &job.path.to_string()) else { return };
        let kill = self.rng.chance(1, 5);
        let text = (job.kind == Kind::Cat).then(|| job.text.clone());
        lock(&self.works.jobs).insert(number, job);
        let works = self.works.clone();
        self.tasks.spawn(Ends::ByItself, async move {
            live(&works, number, &anchor, &spec, text, kill).await;
            works.answer(number, Step::Scrub, &anchor.scrub().await.map(|()| Reply::Done));
            lock(&works.jobs).remove(&number);
        });
    }
}

/// A process from its beginning to its end.
async fn live(works: &Arc<Works>, job: u64, anchor: &Anchor, spec: &ProcSpec, text: Option<Bytes>, kill: bool) {
    let made = anchor.make_proc(spec).await;
    works.answer(job, Step::Make, &made.as_ref().map(|_| Reply::Done).map_err(Clone::clone));
    let Ok(process) = made else { return };
    let write = async {
        let Some(text) = text else { return };
        let mut stdin = process.stdin();
        let result = match stdin.write(text).await {
            Ok(()) => stdin.finish().await,
            Err(error) => Err(error),
        };
        works.answer(job, Step::Write, &result);
    };
    let read = async {
        let result = works.read(job, &process).await;
        works.answer(job, Step::Read, &result);
    };
    let wait = async {
        let result = process.wait().await.map(|stat| Reply::Exit(Box::new(stat)));
        works.answer(job, Step::Wait, &result);
    };
    let signal = async {
        if kill {
            if let Some(job) = lock(&works.jobs).get_mut(&job) {
                job.killed = true;
            }
            let result = process.signal(TERM).await.map(|()| Reply::Done);
            works.answer(job, Step::Kill, &result);
        }
    };
    tokio::join!(write, read, wait, signal);
}

impl Works {
    async fn read(&self, job: u64, process: &Proc) -> Result<Reply, Error> {
        let mut output = process.stdout();
        while let Some(bytes) = output.next().await? {
            let wrote = lock(&self.jobs).get_mut(&job).map_or(Ok(()), |job| job.wrote(&bytes));
            wrote.unwrap_or_else(|fault| self.ground.fail(fault));
        }
        output.finish().await.map(|missed| Reply::Read { missed })
    }

    fn answer(&self, job: u64, step: Step, result: &Result<Reply, Error>) {
        self.count(format!("processes: {step:?} {}", outcome(result)));
        let right = lock(&self.jobs).get_mut(&job).map_or(Ok(()), |job| job.answered(step, result));
        right.unwrap_or_else(|fault| self.ground.fail(fault));
    }
}
