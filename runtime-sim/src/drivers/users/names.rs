//! Users who keep name servers.

use circuit_core::{Error, wire::op::Reply};

use super::{ClientIndex, Phase, User, Works, lock};
use crate::work::{Nameserver, NameserverStep as Step};

impl User {
    /// Keeps one name server after the other, each asked for one thing at a time.
    pub(super) async fn keep_names(&mut self) {
        // Whoever kept it before has been killed.
        let gave_up = self.works.kept(self.client, Nameserver::give_up).unwrap_or(Ok(()));
        gave_up.unwrap_or_else(|words| self.works.ground.fail(words));
        while self.pause(300).await {
            let step = self.next_step();
            self.take(step).await;
        }
        self.works.wait_for(Phase::Drain).await;
        self.works.kept(self.client, Nameserver::plan_end);
        while let Some(step) = self.works.kept(self.client, Nameserver::next_at_last).flatten() {
            self.take(step).await;
        }
    }

    fn next_step(&mut self) -> Step {
        let rng = &mut self.rng;
        let next = self.works.kept(self.client, |server| (!server.is_over()).then(|| server.draw(rng)));
        next.flatten().unwrap_or_else(|| {
            let (_, host) = self.any_server();
            let number = self.next_number();
            lock(&self.works.names).insert(self.client, Nameserver::new(host, number));
            Step::Make
        })
    }

    /// Takes a step, and those that follow from it.
    async fn take(&mut self, first: Step) {
        let mut next = Some(first);
        while let Some(step) = next {
            self.works.kept(self.client, |server| server.begin(step));
            let result = self.ask_for(step).await;
            self.works.count(format!("name servers: {}", step.outcome(&result)));
            next = match self.works.kept(self.client, |server| server.answered(&result)) {
                Some(Err(words)) => return self.works.ground.fail(words),
                Some(Ok(next)) => next,
                None => None,
            };
        }
    }

    async fn ask_for(&mut self, step: Step) -> Result<Reply, Error> {
        let Some(kept) = self.works.kept(self.client, |server| server.clone()) else { return Ok(Reply::Done) };
        let host = self.circuit.server(kept.host);
        let (anchor, query) = (host.walk(&kept.path().to_string())?, host.walk(&kept.query_path().to_string())?);
        // In the end nobody is in a hurry.
        let anchor = if self.works.is_in(Phase::Stop) { anchor } else { self.hurry(anchor, 8) };
        match step {
            Step::Make => anchor.make_dns(None).await.map(drop)?,
            Step::Set(name, address) => anchor.nameserver()?.set(&kept.record(name, address)).await?,
            Step::Unset(name) => anchor.nameserver()?.unset(&kept.name(name)).await?,
            Step::Peek => return anchor.peek().await.map(|stat| Reply::Stat(Box::new(stat))),
            Step::Query(name) => query.make_proc(&kept.query(name).unwrap_or_default()).await.map(drop)?,
            Step::Read(_) => {
                let mut output = query.proc()?.stdout();
                while let Some(bytes) = output.next().await? {
                    self.works.kept(self.client, |server| server.wrote(&bytes));
                }
                return output.finish().await.map(|missed| Reply::Read { missed });
            }
            Step::Clear => query.scrub().await?,
            Step::Scrub => anchor.scrub().await?,
        }
        Ok(Reply::Done)
    }
}

impl Works {
    /// Asks what a user's name server is, or what becomes of it, if it has one.
    fn kept<T>(&self, client: ClientIndex, act: impl FnOnce(&mut Nameserver) -> T) -> Option<T> {
        lock(&self.names).get_mut(&client).map(act)
    }
}
