//! Files that are named by options and by the environment.

use std::{
    env,
    ffi::OsString,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use circuit_core::{Url, session::ClusterKey};
use circuit_tokio::read_key;

use crate::fault::{Fault, plain};

/// A URL is one line.
const MAX_URL_FILE: u64 = 4096;

/// The file that an environment variable names; an empty one names none.
pub(crate) fn named_by(variable: &str) -> Option<PathBuf> {
    let value = env::var_os(variable).filter(|value| !value.is_empty())?;
    Some(expanded(value, env::var_os("HOME")))
}

/// A shell leaves the `~/` of a quoted value to us.
fn expanded(value: OsString, home: Option<OsString>) -> PathBuf {
    let path = PathBuf::from(value);
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => Path::new(&home).join(rest),
        _ => path,
    }
}

/// Reads the URL that a file holds.
pub(crate) fn read_url(path: &Path) -> Result<Url, Fault> {
    let hint = "CIRCUIT names a file that holds the URL which 'circuit start' printed";
    let bad = |why: &str| Fault::usage(format!("CIRCUIT is {}: {why}", path.display())).hint(hint);
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_URL_FILE).read_to_string(&mut text));
    read.map_err(|error| bad(&plain(&error)))?;
    text.trim().parse().map_err(|error: circuit_core::BadUrl| bad(&error.to_string()))
}

/// The circuit's key, if a file of it is named by the option or CIRCUIT_HMAC.
pub(crate) fn key(option: Option<&Path>) -> Result<Option<ClusterKey>, Fault> {
    let Some(path) = option.map(Path::to_owned).or_else(|| named_by("CIRCUIT_HMAC")) else {
        return Ok(None);
    };
    read_key(&path).map(Some).map_err(|error| {
        // What the operating system says does not name the file.
        let what = match error.raw_os_error() {
            Some(_) => format!("{}: {}", path.display(), plain(&error)),
            None => plain(&error),
        };
        Fault::usage(format!("the circuit's key: {what}")).hint("'circuit keygen FILE' makes a key file")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leading_tilde_is_the_home_of_the_user() {
        let home = || Some(OsString::from("/home/me"));
        assert_eq!(expanded("~/.circuit".into(), home()), Path::new("/home/me/.circuit"));
        assert_eq!(expanded("/a/~/b".into(), home()), Path::new("/a/~/b"));
        assert_eq!(expanded("~you/x".into(), home()), Path::new("~you/x"));
        assert_eq!(expanded("~/x".into(), None), Path::new("~/x"));
    }
}
