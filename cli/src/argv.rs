//! The command line as it is written: long options with one dash or two, and
//! what is said when it makes no sense.

use std::{collections::BTreeSet, ffi::OsString};

use clap::{
    Command,
    error::{ContextKind, ContextValue, ErrorKind},
};

use crate::{fault::Fault, print};

/// The names of all long options of all verbs.
pub(crate) fn long_options(command: &mut Command) -> BTreeSet<String> {
    command.build();
    let verbs = command.get_subcommands().flat_map(Command::get_arguments);
    command
        .get_arguments()
        .chain(verbs)
        .flat_map(|option| option.get_long_and_visible_aliases().unwrap_or_default())
        .map(str::to_owned)
        .collect()
}

/// Gives a second dash to every long option that was written with one. What
/// stands after a `--` is not the circuit's and is left alone.
pub(crate) fn rewrite(args: impl IntoIterator<Item = OsString>, known: &BTreeSet<String>) -> Vec<OsString> {
    let mut ours = true;
    let rewritten = args.into_iter().map(|arg| {
        ours &= arg != "--";
        match arg.to_str().filter(|text| ours && is_long(text, known)) {
            Some(text) => format!("-{text}").into(),
            None => arg,
        }
    });
    rewritten.collect()
}

fn is_long(text: &str, known: &BTreeSet<String>) -> bool {
    let name = text.strip_prefix('-').and_then(|rest| rest.split('=').next());
    name.is_some_and(|name| known.contains(name))
}

/// What is printed and returned when the arguments are a question for help, or
/// no good.
pub(crate) fn refused(error: &clap::Error) -> Result<u8, Fault> {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        print::at_once(&error.render().to_string())?;
        return Ok(0);
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Err(Fault::usage("no verb was given").hint("'circuit help' lists them"));
    }
    let text = error.render().to_string();
    // The first paragraph says what is wrong; tips and usage follow.
    let lines: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let what = lines.join(" ");
    let fault = Fault::usage(what.strip_prefix("error: ").unwrap_or(&what));
    Err(match (suggestion(error), text.lines().find_map(|line| line.strip_prefix("Usage: "))) {
        (Some(suggestion), _) => fault.hint(format!("did you mean '{suggestion}'?")),
        (None, Some(usage)) => fault.hint(format!("usage: {usage}")),
        (None, None) => fault.hint("'circuit help' lists the verbs, 'circuit help VERB' says more of one"),
    })
}

fn suggestion(error: &clap::Error) -> Option<&str> {
    [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue].iter().find_map(|kind| {
        match error.get(*kind) {
            Some(ContextValue::String(one)) => Some(one.as_str()),
            Some(ContextValue::Strings(several)) => several.last().map(String::as_str), // the likeliest
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::args::Cli;

    fn rewritten(line: &str) -> String {
        let known = long_options(&mut Cli::command());
        let args = rewrite(line.split(' ').map(OsString::from), &known);
        let args: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
        args.join(" ")
    }

    #[test]
    fn long_options_may_be_written_with_one_dash() {
        for (written, meant) in [
            ("start -if eth0 -discover 228.8.8.8:7711", "start --if eth0 --discover 228.8.8.8:7711"),
            ("ls -hmac=.hmac /...", "ls --hmac=.hmac /..."),
            ("ls --hmac .hmac -l -depth /", "ls --hmac .hmac -l --depth /"),
            ("help -help", "help --help"),
            ("ls -lo json -d circuit://x -nonsense", "ls -lo json -d circuit://x -nonsense"),
        ] {
            assert_eq!(rewritten(written), meant);
        }
    }

    #[test]
    fn what_stands_after_two_dashes_is_left_alone() {
        assert_eq!(rewritten("run -all -- ls -all -hmac"), "run --all -- ls -all -hmac");
    }

    #[test]
    fn the_description_of_the_arguments_is_sound() {
        Cli::command().debug_assert();
    }
}
