//! A program that spreads over a circuit and keeps itself alive there.
//!
//! ```text
//! cargo run --example watchbot-with-chan -- URL
//! ```
//!
//! There is one bot on every server. Each sees to it that there is one on the
//! next server, in the order of their ids: it starts it where there is none,
//! starts it again when it dies, and looks for a new next whenever servers come
//! and go. So the circle closes by itself, whatever is killed, while one bot is
//! left. They report over a channel, and live until another one is closed.
//!
//! Ends when its input does, or with Ctrl-C. `CIRCUIT_HMAC` names a file with the
//! circuit's key; this program must be at the same place on all servers.

use std::{env, error::Error, io, path::Path, pin::pin, thread};

use circuit_core::{
    ErrorKind, Url,
    wire::op::{Member, ProcSpec, Source, StdinSpec},
};
use circuit_tokio::{
    Circuit, Dial,
    client::{Anchor, Proc},
    read_key,
};
use tokio::{signal::ctrl_c, sync::oneshot};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    match &args[..] {
        [url] => start(dial(url).await?).await,
        [bot, url, home] if bot == "bot" => live(dial(url).await?, home).await,
        _ => Err("say the URL of a server".into()),
    }
}

async fn dial(url: &str) -> Result<Circuit> {
    let mut dial = Dial::url(url.parse()?);
    if let Some(file) = env::var_os("CIRCUIT_HMAC") {
        dial = dial.key(read_key(Path::new(&file))?);
    }
    Ok(Circuit::dial(dial).await?)
}

/// What the user runs: makes the two channels, starts the first bot, and tells
/// what the bots report.
async fn start(circuit: Circuit) -> Result<()> {
    let home = circuit.server(circuit.dial_in()).walk(&format!("watchbot-{}", std::process::id()))?;
    let reports = home.walk("reports")?.make_chan(64).await?;
    let done = home.walk("done")?.make_chan(0).await?;
    let members = circuit.members().await?.members;
    let first = members.first().ok_or("there is no server")?;
    keep(&circuit, first, &home.path()).await?;
    let (open, mut input) = oneshot::channel::<()>();
    // Its own thread, as nobody is to wait for the input after Ctrl-C.
    thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        drop(open);
    });
    loop {
        tokio::select! {
            report = reports.recv() => println!("{}", String::from_utf8_lossy(&report?.bytes().await?)),
            _ = &mut input => break,
            _ = ctrl_c() => break,
        }
    }
    done.close().await?; // every bot hears it
    // Servers are looked at one after the other, so that a bot can come where was
    // none while the one that makes it goes: they are gone at the second look.
    let mut unseen = 0;
    while unseen < 2 {
        unseen = if members_with_bots(&circuit, &home).await? > 0 { 0 } else { unseen + 1 };
    }
    reports.anchor().scrub().await?;
    done.anchor().scrub().await?;
    circuit.close().await;
    Ok(())
}

async fn members_with_bots(circuit: &Circuit, home: &Anchor) -> Result<usize> {
    let place = place(&home.path())?;
    let all = circuit.anchor("/")?.view_all().await?;
    Ok(all.iter().filter(|entry| entry.anchor.path().ends_with(&place)).count())
}

/// A bot, which runs as a process of the server at its URL.
async fn live(circuit: Circuit, home: &str) -> Result<()> {
    let me = circuit.dial_in();
    let reports = circuit.anchor(&format!("{home}/reports"))?.chan()?;
    let done = circuit.anchor(&format!("{home}/done"))?.chan()?;
    let at = circuit.server(me).walk(&format!("{}-events", place(home)?))?;
    let events = match at.subscribe(Source::Both).await {
        // A bot that was killed has left it behind.
        Err(error) if error.kind == ErrorKind::AlreadyExists => at.subscription(Source::Both)?,
        made => made?,
    };
    reports.send(format!("a bot lives on /{me}")).await?;
    let closed = done.recv(); // nothing is ever sent: it ends when that is closed, or gone
    let mut closed = pin!(closed);
    // Nothing is begun that is not completed, and nothing once all are to end.
    while done.stat().await.is_ok_and(|stat| !stat.closed) {
        let members = circuit.members().await?.members;
        let after = members.iter().find(|member| member.id > me);
        let next = after.or(members.first()).filter(|member| member.id != me);
        let twin = match next {
            Some(next) => keep(&circuit, next, home).await.ok(),
            None => None,
        };
        tokio::select! {
            () = ended(twin) => {}
            event = events.next() => drop(event?),
            _ = &mut closed => break,
        }
    }
    events.anchor().scrub().await?;
    circuit.close().await;
    Ok(())
}

/// Waits until a bot has ended, or its server is lost; for ever if there is
/// none.
async fn ended(bot: Option<Proc>) {
    match bot {
        Some(bot) => drop(bot.wait().await),
        None => std::future::pending().await,
    }
}

/// Has a bot on that server. An anchor holds one element, so of two that try
/// to start one only one does.
async fn keep(circuit: &Circuit, server: &Member, home: &str) -> Result<Proc> {
    let url = Url { addr: server.addr, pid: 0, id: server.id };
    let spec = ProcSpec {
        path: env::current_exe()?.display().to_string(),
        args: vec!["bot".to_owned(), url.to_string(), home.to_owned()],
        env: env::var("CIRCUIT_HMAC").map(|file| format!("CIRCUIT_HMAC={file}")).into_iter().collect(),
        scrub: true,
        stdin: StdinSpec::Null,
        ..ProcSpec::default()
    };
    let at = circuit.server(server.id).walk(&place(home)?)?;
    match at.make_proc(&spec).await {
        Err(error) if error.kind == ErrorKind::AlreadyExists => Ok(at.proc()?),
        made => Ok(made?),
    }
}

/// The name of every bot that belongs to one `home`.
fn place(home: &str) -> Result<String> {
    Ok(home.rsplit_once('/').ok_or("no path")?.1.to_owned() + "-bot")
}
