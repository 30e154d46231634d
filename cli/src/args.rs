//! What can be written on the command line: the verbs, and the kinds of
//! arguments that several of them take.

use std::{fmt, str::FromStr};

use circuit_core::{AnchorPath, BadPath};
use clap::{Parser, Subcommand};

use crate::verbs::{
    chan, keygen::Keygen, log::Log, ls::Ls, mkproc::Mkproc, output, peek::Peek, recv::Recv, run::Run, scrub::Scrub,
    send::Send, signal::Signal, start::Start, stdin::Stdin, wait, waitall::Waitall,
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
Long options may be written with one dash. A server to dial is named by -d URL, or by the environment:
  CIRCUIT           a file that holds the server's URL
  CIRCUIT_HMAC      a file that holds the circuit's key
  CIRCUIT_LOG       what is logged on standard error: error, warn, info, debug or trace

Exit status: 0 done; 1 refused, or not possible; 2 usage; 3 the host or the connection is lost.
'run' exits as its command did: 126 it could not be run, 127 it was not found, 128+n signal n,
and 125 for a fault of the circuit.";

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Start(Start),
    Keygen(Keygen),
    Ls(Ls),
    Peek(Peek),
    Scrub(Scrub),
    Mkproc(Mkproc),
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
    Log(Log),
    Run(Run),
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
