//! What can be written on the command line: the verbs, and the kinds of
//! arguments that several of them take.

use std::{fmt, str::FromStr};

use circuit_core::{AnchorPath, BadPath, ServerId};
use clap::{Parser, Subcommand};

use crate::verbs::{
    chan, demo::Demo, dns, join::Join, keeper::Keeper, keygen::Keygen, log::Log, ls::Ls, mkdkr::Mkdkr, mkproc::Mkproc,
    mkselect::Mkselect, output, peek::Peek, recv::Recv, run::Run, scrub::Scrub, send::Send, signal::Signal,
    start::Start, stdin::Stdin, stk::Stk, subscribe, suicide::Suicide, wait, waitall::Waitall,
};

/// Servers, processes and channels of a whole cluster in one namespace.
#[derive(Debug, Parser)]
#[command(name = "circuit", version, arg_required_else_help = true, after_help = AFTER, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Who needs more than the verbs.
const AFTER: &str = "\
Long options may be written with one dash. A server to dial is named by -d URL,
found by -discover GROUP:PORT, or either by the environment:
  CIRCUIT           a file that holds the server's URL
  CIRCUIT_DISCOVER  a multicast group by which servers find each other and clients find servers
  CIRCUIT_HMAC      a file that holds the circuit's key
  CIRCUIT_LOG       what is logged on standard error: error, warn, info, debug or trace

Exit status: 0 done; 1 refused, or not possible; 2 usage; 3 the host or the connection is lost.
'run' exits as its command did: 126 it could not be run, 127 it was not found, 128+n signal n,
and 125 for a fault of the circuit.";

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Start(Start),
    #[command(hide = true)]
    Keeper(Keeper),
    Keygen(Keygen),
    Join(Join),
    Suicide(Suicide),
    Stk(Stk),
    Log(Log),
    Ls(Ls),
    Peek(Peek),
    Scrub(Scrub),
    Mkproc(Mkproc),
    Mkdkr(Mkdkr),
    Stdin(Stdin),
    Stdout(output::Stdout),
    Stderr(output::Stderr),
    Signal(Signal),
    Wait(wait::Wait),
    Waitall(Waitall),
    Mkchan(chan::Mkchan),
    Send(Send),
    Recv(Recv),
    Close(chan::Close),
    Mkdns(dns::Mkdns),
    Set(dns::Set),
    Unset(dns::Unset),
    Mkselect(Mkselect),
    #[command(name = "mk@join")]
    MkJoin(subscribe::MkJoin),
    #[command(name = "mk@leave")]
    MkLeave(subscribe::MkLeave),
    Run(Run),
    Demo(Demo),
}

/// The path of an anchor; the root is one.
#[derive(Clone, Debug)]
pub(crate) struct AnchorArg(String);

impl AnchorArg {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AnchorArg {
    type Err = BadPath;
    fn from_str(text: &str) -> Result<Self, BadPath> {
        AnchorPath::parse_or_root(text).map(|_| Self(text.to_owned()))
    }
}

impl fmt::Display for AnchorArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A server, by its anchor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerArg(pub(crate) ServerId);

impl FromStr for ServerArg {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let anchor: AnchorPath = text.parse().map_err(|bad: BadPath| bad.to_string())?;
        if anchor.path.is_root() {
            return Ok(Self(anchor.server));
        }
        Err(format!("this is for a server; the one of that anchor is /{}", anchor.server))
    }
}

impl fmt::Display for ServerArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.0)
    }
}

/// An anchor, or with `/...` behind it everything beneath.
#[derive(Clone, Debug)]
pub(crate) struct Glob {
    pub(crate) anchor: AnchorArg,
    pub(crate) deep: bool,
}

impl FromStr for Glob {
    type Err = BadPath;
    fn from_str(text: &str) -> Result<Self, BadPath> {
        let (anchor, deep) = match text.strip_suffix("/...") {
            Some("") => ("/", true),
            Some(anchor) => (anchor, true),
            None => (text, false),
        };
        Ok(Self { anchor: anchor.parse()?, deep })
    }
}
