//! Agents of `serf`, to compare with: their logs tell whom they see.

use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdout},
    sync::watch,
    time::timeout,
};

use crate::{
    fleet::{Member, Place},
    watch::Fault,
};

const PATIENCE: Duration = Duration::from_secs(180);
/// Agents listen from here on, and serve their own clients from there on.
const PORT: usize = 7_946;
const CLIENTS: usize = 17_946;

/// An agent, with the settings that it has by itself: those for a LAN.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    name: String,
    /// Where it listens.
    addr: String,
    view: watch::Receiver<(BTreeSet<String>, Instant)>,
}

impl Member for Agent {
    type Kind = ();
    type Name = String;

    fn start(
        (): (),
        number: usize,
        place: Place,
        through: Option<&Self>,
    ) -> impl Future<Output = Result<Self, Fault>> + Send + use<> {
        let join = through.map(|first| format!("-join={}", first.addr));
        async move {
            let (name, addr) = (format!("agent{number}"), format!("{}:{}", place.address, PORT + number));
            let mut command = place.command(Path::new("serf"));
            command.args(["agent", "-log-level=info", &format!("-node={name}"), &format!("-bind={addr}")]);
            command.arg(format!("-rpc-addr=127.0.0.1:{}", CLIENTS + number)).args(join);
            let mut child = command.spawn().map_err(|error| format!("serf (a Debian package): {error}"))?;
            let stdout = child.stdout.take().ok_or("an agent has no output")?;
            let (tell, view) = watch::channel((BTreeSet::new(), Instant::now()));
            tokio::spawn(follow(stdout, tell));
            let mut agent = Self { child, name, addr, view };
            agent.until(|view| !view.is_empty()).await?;
            Ok(agent)
        }
    }

    async fn sees(&mut self, count: usize) -> Result<Instant, Fault> {
        self.until(|view| view.len() == count).await
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    async fn misses(&mut self, name: String) -> Result<Instant, Fault> {
        self.until(|view| !view.contains(&name)).await
    }

    fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    fn pid(&self) -> Result<u32, Fault> {
        Ok(self.child.id().ok_or("an agent has ended by itself")?)
    }
}

impl Agent {
    async fn until(&mut self, right: impl Fn(&BTreeSet<String>) -> bool) -> Result<Instant, Fault> {
        let seen = timeout(PATIENCE, self.view.wait_for(|(view, _)| right(view))).await;
        let seen = seen.map(|seen| seen.map(|seen| seen.1));
        match seen {
            Ok(Ok(when)) => Ok(when),
            Ok(Err(_)) => Err(format!("the agent at {} has ended", self.addr).into()),
            Err(_) => Err(format!("the agent at {} still sees {:?}", self.addr, self.view.borrow().0).into()),
        }
    }
}

/// Reads a log for as long as there is one.
async fn follow(stdout: ChildStdout, tell: watch::Sender<(BTreeSet<String>, Instant)>) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Some((_, event)) = line.split_once("serf: EventMember") else {
            continue;
        };
        let mut words = event.split(' ');
        let (what, name) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        tell.send_modify(|(view, when)| {
            *when = Instant::now();
            match what {
                "Join:" => drop(view.insert(name.to_owned())),
                "Failed:" | "Leave:" | "Reap:" => drop(view.remove(name)),
                _ => {}
            }
        });
    }
}
