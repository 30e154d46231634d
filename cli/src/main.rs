//! `circuit`: the server and the command line, in one binary.
//!
//! The command line is a front end to the client library and nothing more.
//! [`args`] says what can be written, [`verbs`] holds one file for each verb;
//! what several of them share is here beside them: how a circuit is dialled,
//! how a [`fault::Fault`] is told, how things are printed.

mod address;
mod args;
mod argv;
mod closed;
mod dial;
mod fault;
mod files;
mod interrupt;
mod logging;
mod print;
mod resident;
mod shapes;
mod signals;
mod spec;
mod stdin;
mod verbs;

use std::{env, process::ExitCode};

use clap::{CommandFactory, FromArgMatches};

use crate::{args::Cli, fault::Fault};

fn main() -> ExitCode {
    if closed::is_stdout_closed() {
        let fault = Fault::failed("standard output is closed, and whatever is printed would be lost");
        return fault.hint("> /dev/null says that nobody wants it").tell();
    }
    let mut command = Cli::command();
    let args = argv::rewrite(env::args_os(), &argv::long_options(&mut command));
    let parsed = command.try_get_matches_from(args).and_then(|matches| Cli::from_arg_matches(&matches));
    let result = match parsed {
        Ok(cli) => verbs::run(cli.verb),
        Err(error) => argv::refused(&error),
    };
    match result {
        Ok(status) => ExitCode::from(status),
        Err(fault) => fault.tell(),
    }
}
