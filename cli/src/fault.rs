//! What went wrong, in at most three lines and with the status to exit with.

use std::{
    fmt::Display,
    io::{self, Write},
    process::ExitCode,
};

use circuit_core::{Error, ErrorClass, ErrorKind};

use crate::print::escaped;

/// An application said no, or something of this machine could not be done.
pub(crate) const FAILED: u8 = 1;
/// The command line, or what it names, makes no sense.
pub(crate) const USAGE: u8 = 2;
/// The host or the connection is lost.
pub(crate) const SYSTEM: u8 = 3;

/// Something that ends a command.
#[derive(Debug)]
pub(crate) struct Fault {
    /// What was tried, and what happened; nothing is said if it is empty.
    what: String,
    /// What to do.
    hint: Option<String>,
    status: u8,
}

impl Fault {
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self { what: what.into(), hint: None, status: USAGE }
    }

    pub(crate) fn failed(what: impl Into<String>) -> Self {
        Self { what: what.into(), hint: None, status: FAILED }
    }

    pub(crate) fn system(what: impl Into<String>) -> Self {
        Self { what: what.into(), hint: None, status: SYSTEM }
    }

    /// Ends the command, and there is nothing to say about it.
    pub(crate) const fn quiet(status: u8) -> Self {
        Self { what: String::new(), hint: None, status }
    }

    /// What came of a call, `tried` as the user asked for it: at another place, maybe,
    /// as that of a select's clause.
    pub(crate) fn of(tried: impl Display, error: &Error) -> Self {
        let (mut what, path) = (tried.to_string(), &error.path);
        if !path.is_empty() && !format!("{what} ").contains(&format!("{path} ")) {
            what = format!("{what}: {path}");
        }
        let what = format!("{what}: {}", words(error));
        let status = if error.class() == ErrorClass::Application { FAILED } else { SYSTEM };
        Self { what, hint: advice(error.kind).map(str::to_owned), status }
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub(crate) const fn with_status(mut self, status: u8) -> Self {
        self.status = status;
        self
    }

    pub(crate) const fn status(&self) -> u8 {
        self.status
    }

    /// Says it on standard error.
    pub(crate) fn tell(&self) -> ExitCode {
        if !self.what.is_empty() {
            warn(&self.what);
        }
        if let Some(hint) = &self.hint {
            say(&format!("hint: {}", escaped(&one_line(hint))));
        }
        ExitCode::from(self.status)
    }
}

/// A word to the user that ends nothing.
pub(crate) fn warn(what: &str) {
    say(&format!("circuit: {}", escaped(&one_line(what))));
}

/// Where standard error cannot be written, there is nowhere to say so.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

fn one_line(text: &str) -> String {
    text.replace('\n', " ")
}

/// Something could not be written where it should be printed. If that is since
/// nobody reads it any more, there is nothing to say.
impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::quiet(0),
            _ => Self::failed(format!("standard output: {}", plain(&error))),
        }
    }
}

/// An error of the operating system in its own words, without the number.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let Some((words, rest)) = text.split_once(" (os error ") else {
        return text;
    };
    let after = rest.split_once(')').map_or("", |(_, after)| after);
    match error.raw_os_error() {
        Some(_) => format!("{}{after}", words.to_lowercase()),
        None => format!("{words}{after}"),
    }
}

fn words(error: &Error) -> String {
    let detail = &error.detail;
    match error.kind {
        ErrorKind::SpawnFailed(errno) if detail.is_empty() => plain(&io::Error::from_raw_os_error(errno)),
        ErrorKind::SpawnFailed(errno) => {
            format!("{detail} could not be started: {}", plain(&io::Error::from_raw_os_error(errno)))
        }
        ErrorKind::BindFailed(errno) => {
            format!("{detail} cannot be had: {}", plain(&io::Error::from_raw_os_error(errno)))
        }
        ErrorKind::DiskFailed(errno) => format!("{detail}: {}", plain(&io::Error::from_raw_os_error(errno))),
        ErrorKind::Invalid if !detail.is_empty() => detail.clone(),
        kind if detail.is_empty() => kind.to_string(),
        kind => format!("{kind}: {detail}"),
    }
}

const fn advice(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::NotFound => Some("'circuit ls /...' lists what is there"),
        ErrorKind::AlreadyExists => Some("take another name, or remove what is there with 'circuit scrub'"),
        ErrorKind::WrongKind => Some("'circuit ls -l' tells what kind of element it is"),
        ErrorKind::WouldBlock => Some("without -try it waits"),
        ErrorKind::SpawnFailed(_) => Some("look at Path, Args and Dir: they are those of the server's machine"),
        ErrorKind::BindFailed(_) => {
            Some("take another address of the server's machine, or port 0 for any that is free")
        }
        ErrorKind::DiskFailed(_) => Some("look at the disk of the server's machine"),
        ErrorKind::NotDelivered => Some("send it again"),
        ErrorKind::Unreachable => Some("the same command works again when the host is back"),
        ErrorKind::Disconnected => Some("see whether the server runs, or dial another with -d URL"),
        ErrorKind::Timeout => Some("give it more time with --timeout"),
        ErrorKind::Unknown => Some("look with 'circuit peek' before doing it again"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_tells_the_class_of_an_error() {
        for (kind, status) in [
            (ErrorKind::NotFound, FAILED),
            (ErrorKind::SpawnFailed(2), FAILED),
            (ErrorKind::Unreachable, SYSTEM),
            (ErrorKind::Unknown, SYSTEM),
            (ErrorKind::Disconnected, SYSTEM),
        ] {
            assert_eq!(Fault::of("peek /", &kind.into()).status(), status);
        }
    }

    #[test]
    fn where_it_went_wrong_is_said_once() {
        let error = Error::from(ErrorKind::NotFound).at("/X1/a");
        assert_eq!(Fault::of("peek /X1/a", &error).what, "peek /X1/a: not found");
        assert_eq!(Fault::of("mkchan /X1/a 1", &error).what, "mkchan /X1/a 1: not found");
        assert_eq!(Fault::of("wait /X1/select", &error).what, "wait /X1/select: /X1/a: not found");
        assert_eq!(Fault::of("wait /X1/ab", &error).what, "wait /X1/ab: /X1/a: not found");
    }

    #[test]
    fn an_error_is_told_in_plain_words() {
        let refused = io::Error::from_raw_os_error(111);
        assert_eq!(plain(&refused), "connection refused");
        let within = io::Error::other("cannot listen at 1.2.3.4:5: Address in use (os error 98)");
        assert_eq!(plain(&within), "cannot listen at 1.2.3.4:5: Address in use");
        let spawn = Error::new(ErrorKind::SpawnFailed(2), "/bin/nothing");
        assert_eq!(words(&spawn), "/bin/nothing could not be started: no such file or directory");
    }
}
