//! The verbs, one file each.

pub(crate) mod chan;
pub(crate) mod demo;
pub(crate) mod dns;
pub(crate) mod join;
pub(crate) mod keeper;
pub(crate) mod keygen;
pub(crate) mod log;
pub(crate) mod ls;
pub(crate) mod mkdkr;
pub(crate) mod mkproc;
pub(crate) mod mkselect;
pub(crate) mod output;
pub(crate) mod peek;
pub(crate) mod recv;
pub(crate) mod run;
pub(crate) mod scrub;
pub(crate) mod send;
pub(crate) mod signal;
pub(crate) mod start;
pub(crate) mod stdin;
pub(crate) mod stk;
pub(crate) mod subscribe;
pub(crate) mod suicide;
pub(crate) mod wait;
pub(crate) mod waitall;

use crate::{args::Verb, dial::on_circuit, fault::Fault};

/// Does what a verb says; the status to exit with.
pub(crate) fn run(verb: Verb) -> Result<u8, Fault> {
    match verb {
        Verb::Start(verb) => verb.run(),
        Verb::Keeper(verb) => verb.run(),
        Verb::Keygen(verb) => verb.run(),
        Verb::Demo(verb) => verb.run(),
        Verb::Join(verb) => on_circuit(verb),
        Verb::Suicide(verb) => on_circuit(verb),
        Verb::Stk(verb) => on_circuit(verb),
        Verb::Log(verb) => on_circuit(verb),
        Verb::Ls(verb) => on_circuit(verb),
        Verb::Peek(verb) => on_circuit(verb),
        Verb::Scrub(verb) => on_circuit(verb),
        Verb::Mkproc(verb) => on_circuit(verb),
        Verb::Mkdkr(verb) => on_circuit(verb),
        Verb::Stdin(verb) => on_circuit(verb),
        Verb::Stdout(verb) => on_circuit(verb),
        Verb::Stderr(verb) => on_circuit(verb),
        Verb::Signal(verb) => on_circuit(verb),
        Verb::Wait(verb) => on_circuit(verb),
        Verb::Waitall(verb) => on_circuit(verb),
        Verb::Mkchan(verb) => on_circuit(verb),
        Verb::Send(verb) => on_circuit(verb),
        Verb::Recv(verb) => on_circuit(verb),
        Verb::Close(verb) => on_circuit(verb),
        Verb::Mkselect(verb) => on_circuit(verb),
        Verb::Mkdns(verb) => on_circuit(verb),
        Verb::Set(verb) => on_circuit(verb),
        Verb::Unset(verb) => on_circuit(verb),
        Verb::MkJoin(verb) => on_circuit(verb),
        Verb::MkLeave(verb) => on_circuit(verb),
        Verb::Run(verb) => on_circuit(verb),
    }
}
