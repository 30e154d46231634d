//! How a circuit is dialled: the options of every verb that does, and what
//! happens before and after the verb itself.

use std::{env, fmt, path::PathBuf, time::Duration};

use circuit_core::{Error, Url, session::Failure};
use circuit_tokio::{
    Circuit, Dial, Group,
    client::{Anchor, DialError, Refusal},
};
use clap::Args;
use tokio::{runtime, time};

use crate::{
    args::{AnchorArg, ServerArg},
    fault::{Fault, plain},
    files,
    interrupt::Interrupts,
    logging,
};

/// How to reach the circuit.
#[derive(Args, Clone, Debug)]
pub(crate) struct DialArgs {
    /// The server to dial: circuit://HOST:PORT/PID/Qid
    #[arg(short = 'd', long, value_name = "URL")]
    dial: Option<Url>,

    /// Find a server by this multicast group
    #[arg(long, value_name = "GROUP:PORT")]
    discover: Option<Group>,

    /// The file that holds the circuit's key
    #[arg(long, value_name = "FILE")]
    hmac: Option<PathBuf>,

    /// How long a call may take: 500ms, 30s, 5m
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
}

impl DialArgs {
    /// Where to dial, by the first of the ways that is given.
    fn way(&self) -> Result<Way, Fault> {
        if let Some(url) = self.dial {
            return Ok(Way::Url(url));
        }
        if let Some(group) = self.discover {
            return Ok(Way::Group(group));
        }
        if let Some(file) = files::named_by("CIRCUIT") {
            return files::read_url(&file).map(Way::Url);
        }
        if let Some(group) = group_of_environment()? {
            return Ok(Way::Group(group));
        }
        let hint = "name one with -d URL, or a file of its URL with CIRCUIT, or find one with -discover GROUP:PORT";
        Err(Fault::usage("there is no server to dial").hint(hint))
    }
}

/// A way to a server.
#[derive(Clone, Copy, Debug)]
enum Way {
    Url(Url),
    Group(Group),
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => url.fmt(f),
            Self::Group(group) => write!(f, "multicast group {group}"),
        }
    }
}

/// The multicast group that CIRCUIT_DISCOVER names; an empty one names none.
pub(crate) fn group_of_environment() -> Result<Option<Group>, Fault> {
    let Some(group) = env::var_os("CIRCUIT_DISCOVER").filter(|group| !group.is_empty()) else {
        return Ok(None);
    };
    let group = group.to_string_lossy();
    let group = group.parse().map_err(|why| Fault::usage(format!("CIRCUIT_DISCOVER is {group}: {why}")))?;
    Ok(Some(group))
}

/// A circuit that was dialled.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) circuit: Circuit,
    timeout: Option<Duration>,
}

impl Client {
    async fn dial(args: &DialArgs) -> Result<Self, Fault> {
        let way = args.way()?;
        let key = files::key(args.hmac.as_deref())?;
        let dial = match way {
            Way::Url(url) => Dial::url(url),
            Way::Group(group) => Dial::discover(group),
        };
        let dial = match &key {
            Some(key) => dial.key(key.clone()),
            None => dial,
        };
        let dialled = Circuit::dial(dial);
        let dialled = match args.timeout {
            Some(timeout) => time::timeout(timeout, dialled).await,
            None => Ok(dialled.await),
        };
        let dialled = dialled.map_err(|_| Fault::system(format!("no server at {way}: the time is over")))?;
        let circuit = dialled.map_err(|error| refused(way, &error, key.is_some()))?;
        Ok(Self { circuit, timeout: args.timeout })
    }

    /// The anchor that was named, with the deadline that was.
    pub(crate) fn anchor(&self, path: &AnchorArg) -> Result<Anchor, Fault> {
        let anchor = self.circuit.anchor(path.as_str()).map_err(|error| Fault::of(path, &error))?;
        Ok(self.within(anchor))
    }

    /// The anchor of a server, with the deadline that was named.
    pub(crate) fn server(&self, server: ServerArg) -> Anchor {
        self.within(self.circuit.server(server.0))
    }

    /// The same anchor, with the deadline that was named.
    pub(crate) fn within(&self, anchor: Anchor) -> Anchor {
        match self.timeout {
            Some(timeout) => anchor.within(timeout),
            None => anchor,
        }
    }
}

fn refused(way: Way, error: &DialError, with_key: bool) -> Fault {
    let what = match &error.why {
        Refusal::Io(error) => plain(error),
        Refusal::Session(failure) => failure.to_string(),
        Refusal::Unanswered { within, .. } => format!("nobody answered within {} s", within.as_secs_f32()),
    };
    let hint = match (&error.why, with_key) {
        (Refusal::Session(Failure::WrongServer { .. }), _) => "another server has that address now: take its URL",
        (Refusal::Session(_), true) => {
            "the server must be started with the same key; one with too many strangers hangs up as well"
        }
        (Refusal::Session(_), false) => "the circuit may have a key: name its file with -hmac or CIRCUIT_HMAC",
        (Refusal::Io(_), _) => "start one with 'circuit start -a HOST:PORT'",
        (Refusal::Unanswered { .. }, true) => "servers must have the same key and -discover, and a clock that is right",
        (Refusal::Unanswered { .. }, false) => {
            "servers must have the same -discover; with a key, name its file with -hmac"
        }
    };
    Fault::system(format!("no server at {way}: {what}")).hint(hint)
}

/// What is done on a circuit.
pub(crate) trait OnCircuit {
    /// Whether it knows what to do when the user interrupts it.
    const MINDS_INTERRUPTS: bool = false;
    /// What it exits with for a fault, if that is always the same.
    const FAULT: Option<u8> = None;

    /// How to reach the circuit.
    fn dialling(&self) -> &DialArgs;

    /// What can be done, and be wrong, before a server is dialled.
    fn prepare(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    /// Does it; the status to exit with.
    async fn run(self, client: &Client) -> Result<u8, Fault>;
}

/// Dials, runs the verb, and hangs up in good order.
pub(crate) fn on_circuit<V: OnCircuit>(mut verb: V) -> Result<u8, Fault> {
    logging::start(tracing::Level::WARN)?;
    verb.prepare()?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Fault::failed(format!("no runtime: {}", plain(&error))))?;
    let result = runtime.block_on(async {
        let client = Client::dial(verb.dialling()).await?;
        let result = if V::MINDS_INTERRUPTS {
            verb.run(&client).await
        } else {
            let mut interrupts = Interrupts::new()?;
            tokio::select! {
                result = verb.run(&client) => result,
                signal = interrupts.next() => Err(Fault::quiet(128 + signal)),
            }
        };
        client.circuit.close().await;
        result
    });
    // A read of standard input may still be under way: it is not waited for.
    runtime.shutdown_background();
    match V::FAULT {
        Some(status) => result.map_err(|fault| fault.with_status(status)),
        None => result,
    }
}

/// The words by which a user knows what was tried.
pub(crate) fn tried(verb: &str, at: impl fmt::Display) -> impl Fn(Error) -> Fault {
    let tried = format!("{verb} {at}");
    move |error| Fault::of(&tried, &error)
}
