//! A payload that is kept alive on a circuit, whichever process or server dies.
//!
//! ```text
//! cargo run --example watchbot -- start URL COMMAND [ARGUMENT...]
//! cargo run --example watchbot -- stop URL
//! ```
//!
//! A bot runs on one server, the payload on another. When the payload dies, or
//! its server, the bot starts it again. It keeps an heir, too, on another server,
//! which waits for the bot's end and then takes its place. Nothing of it runs
//! where this is typed.
//!
//! `CIRCUIT_HMAC` names a file with the circuit's key; that and this program must
//! be at the same place on all servers.

use std::{env, error::Error, path::Path, time::Duration};

use circuit_core::{
    ServerId, Url,
    wire::op::{Member, ProcSpec, StdinSpec},
};
use circuit_tokio::{
    Circuit, Dial,
    client::{Anchor, Proc},
    read_key,
};
use tokio::time::sleep;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What stands somewhere while all is to end.
const MARK: &str = "stop";
/// How soon the only server looks whether there is another.
const ALONE: Duration = Duration::from_secs(1);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match &args[..] {
        ["start", url, command @ ..] if !command.is_empty() => start(dial(url).await?, command).await,
        ["stop", url] => stop(dial(url).await?).await,
        ["bot", url, number, before, command @ ..] => {
            let circuit = dial(url).await?;
            let bot = Bot { here: circuit.dial_in(), circuit, number: number.parse()?, command };
            bot.live(before).await
        }
        _ => Err("say start URL COMMAND [ARGUMENT...], or stop URL".into()),
    }
}

async fn dial(url: &str) -> Result<Circuit> {
    let mut dial = Dial::url(url.parse()?);
    if let Some(file) = env::var_os("CIRCUIT_HMAC") {
        dial = dial.key(read_key(Path::new(&file))?);
    }
    Ok(Circuit::dial(dial).await?)
}

/// Begins, and returns: the first bot is on the server that was dialled.
async fn start(circuit: Circuit, command: &[&str]) -> Result<()> {
    let here = circuit.dial_in();
    let members = circuit.members().await?.members;
    let member = members.iter().find(|member| member.id == here).ok_or("the server has left")?;
    // Nobody comes before the first: what is not there is not waited for.
    let nobody = circuit.server(here).walk("watchbot/bot-0")?.path();
    let spec = bot(member, 1, &nobody, command)?;
    circuit.server(here).walk("watchbot/bot-1")?.make_proc(&spec).await?;
    circuit.close().await;
    Ok(())
}

/// Ends all of it. There is a mark while that goes on: a bot that sees it ends,
/// and what it has begun until then is ended here.
async fn stop(circuit: Circuit) -> Result<()> {
    let mark = circuit.server(circuit.dial_in()).walk(&format!("watchbot/{MARK}"))?.make_chan(0).await?;
    // Servers are looked at one after the other, so that a bot can come where
    // was none while the one that makes it goes: they are gone at the second look.
    let mut unseen = 0;
    while unseen < 2 {
        let there = watchbot(&circuit).await?;
        let are_bots = there.iter().any(|anchor| anchor.path().contains("/watchbot/bot-"));
        unseen = if are_bots { 0 } else { unseen + 1 };
        if let Some(payload) = named(&there, "payload") {
            // Whoever waits for its end looks around then. It may have ended.
            let _ = payload.scrub_and_kill().await;
        }
    }
    mark.anchor().scrub().await?;
    circuit.close().await;
    Ok(())
}

/// All that there is of it, wherever.
async fn watchbot(circuit: &Circuit) -> Result<Vec<Anchor>> {
    let all = circuit.anchor("/")?.view_all().await?.into_iter();
    Ok(all.map(|entry| entry.anchor).filter(|anchor| anchor.path().contains("/watchbot/")).collect())
}

/// What has this name.
fn named<'a>(there: &'a [Anchor], name: &str) -> Option<&'a Anchor> {
    there.iter().find(|anchor| anchor.path().ends_with(&format!("/watchbot/{name}")))
}

/// Waits until a process has ended, or is lost with its server; for ever if there
/// is none.
async fn ended(process: Option<Proc>) {
    match process {
        Some(process) => drop(process.wait().await),
        None => std::future::pending().await,
    }
}

/// What starts a bot of this number on a server, which is to wait for the end of
/// the process at `before`.
fn bot(on: &Member, number: u64, before: &str, command: &[&str]) -> Result<ProcSpec> {
    let url = Url { addr: on.addr, pid: 0, id: on.id }.to_string();
    let number = number.to_string();
    let args = ["bot", &url, &number, before].into_iter().chain(command.iter().copied());
    Ok(ProcSpec {
        path: env::current_exe()?.display().to_string(),
        args: args.map(str::to_owned).collect(),
        env: env::var("CIRCUIT_HMAC").map(|file| format!("CIRCUIT_HMAC={file}")).into_iter().collect(),
        scrub: true,
        stdin: StdinSpec::Null,
        ..ProcSpec::default()
    })
}

struct Bot<'a> {
    circuit: Circuit,
    here: ServerId,
    number: u64,
    command: &'a [&'a str],
}

impl Bot<'_> {
    /// Waits for the end of the one before, and keeps payload and heir from then on.
    async fn live(self, before: &str) -> Result<()> {
        // Its end, or its loss; or it has ended long ago.
        let _ = self.circuit.anchor(before)?.proc()?.wait().await;
        let heir = self.number + 1;
        let mine = self.circuit.server(self.here).walk(&format!("watchbot/bot-{}", self.number))?.path();
        loop {
            let there = watchbot(&self.circuit).await?;
            if named(&there, MARK).is_some() {
                break;
            }
            let payload = self.have(&there, "payload", |_| Ok(self.payload())).await?;
            let heir = self.have(&there, &format!("bot-{heir}"), |on| bot(on, heir, &mine, self.command)).await?;
            // Until one of them ends, or is lost with its server.
            let alone = payload.is_none() && heir.is_none();
            tokio::select! {
                () = ended(payload) => {}
                () = ended(heir) => {}
                () = sleep(ALONE), if alone => {}
            }
        }
        self.circuit.close().await;
        Ok(())
    }

    fn payload(&self) -> ProcSpec {
        let [path, args @ ..] = self.command else { return ProcSpec::default() };
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        ProcSpec { path: (*path).to_owned(), args, scrub: true, stdin: StdinSpec::Null, ..ProcSpec::default() }
    }

    /// What has this name, wherever it is; if it is nowhere, it is started on any
    /// server but this.
    async fn have(
        &self,
        there: &[Anchor],
        name: &str,
        spec: impl Fn(&Member) -> Result<ProcSpec>,
    ) -> Result<Option<Proc>> {
        if let Some(found) = named(there, name) {
            return Ok(Some(found.proc()?));
        }
        for member in self.circuit.members().await?.members {
            let place = self.circuit.server(member.id).walk(&format!("watchbot/{name}"))?;
            if member.id != self.here
                && let Ok(process) = place.make_proc(&spec(&member)?).await
            {
                return Ok(Some(process));
            }
        }
        Ok(None)
    }
}
