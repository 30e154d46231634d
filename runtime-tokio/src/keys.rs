//! Key files, and the system's own randomness.

use std::{
    fs::{OpenOptions, Permissions},
    io::{self, Read as _, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use circuit_core::{Rng, session::ClusterKey};
use rustix::{
    fs::OFlags,
    io::Errno,
    rand::{GetRandomFlags, getrandom},
};
use zeroize::Zeroizing;

/// A key file is one line.
const MAX_KEY_FILE: u64 = 1024;

/// Randomness from the system, for everything that must not be guessed.
///
/// # Errors
/// The system has none, which does not happen.
pub fn system_rng() -> io::Result<Rng> {
    let mut seed = Zeroizing::new([0; 32]);
    let mut filled = 0;
    while filled < seed.len() {
        filled += getrandom(&mut seed[filled..], GetRandomFlags::empty())?;
    }
    Ok(Rng::new(*seed))
}

/// Reads a cluster key from a file that only its owner can read.
///
/// # Errors
/// What is wrong with the file, never with what is in it letter by letter.
pub fn read_key(path: &Path) -> io::Result<ClusterKey> {
    let text = read_private(path, MAX_KEY_FILE)?;
    let text =
        std::str::from_utf8(&text).map_err(|_| io::Error::other(format!("{}: the key is not text", path.display())))?;
    ClusterKey::from_text(text).map_err(|bad| io::Error::other(format!("{}: {bad}", path.display())))
}

/// Reads a file with a secret in it: a plain one of at most `limit` bytes that
/// only its owner can read. What is read is what was looked at.
pub(crate) fn read_private(path: &Path, limit: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let refuse = |what: &str| Err(io::Error::other(format!("{} {what}", path.display())));
    // A pipe that nobody writes to is not waited for.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            return refuse("is a link, and a key is not read through one");
        }
        opened => opened?,
    };
    let found = file.metadata()?;
    if !found.is_file() {
        return refuse("is not a plain file");
    }
    if found.permissions().mode() & 0o077 != 0 {
        return refuse("can be read by others; chmod 600 makes it private");
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(limit).unwrap_or(0) + 1));
    if file.take(limit + 1).read_to_end(&mut bytes)? as u64 > limit {
        return refuse("is too long for a key");
    }
    Ok(bytes)
}

/// Writes a key to a new file that only its owner can read.
///
/// # Errors
/// The file exists, or the operating system does not allow it.
pub fn write_key(path: &Path, key: &ClusterKey) -> io::Result<()> {
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(key.to_text().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_key_file_reads_back_and_bad_ones_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        let key = ClusterKey::generate(&mut system_rng().expect("randomness"));
        write_key(&path, &key).expect("written");
        assert!(read_key(&path).expect("read") == key);
        assert!(write_key(&path, &key).is_err(), "a key is never overwritten");
        for (text, what) in
            [(&b"c2hvcnQ=\n"[..], "5 bytes"), (b"?", "base64"), (b"\xff", "not text"), (&[b'A'; 2000], "too long")]
        {
            fs::write(&path, text).expect("written");
            let error = read_key(&path).expect_err("refused").to_string();
            assert!(error.contains(what), "{error}");
        }
        fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("opened");
        assert!(read_key(&path).expect_err("refused").to_string().contains("read by others"));
    }
}
