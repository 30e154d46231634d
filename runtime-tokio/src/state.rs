//! A server's directory: the lock, its key, and how often it was started.
//!
//! ```text
//! lock             held while the server runs; a dead server's is free again
//! identity         the static key and the number of starts, mode 0600
//! operations.log   what it executed
//! processes/       what of their output is on disk, in files without names, and a
//!                  folder for each that outlives the server, with its socket
//! ```

use std::{
    fmt::Write as _,
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use circuit_core::{Rng, session::StaticKey};
use rustix::fs::{FlockOperation, flock};
use zeroize::Zeroizing;

use crate::keys::read_private;

/// The format of the identity file; a server refuses a newer one.
const FORMAT: &str = "circuit identity 1";
/// The most bytes of that file, whatever the format.
const MAX_IDENTITY: u64 = 4096;

/// What a server is from one start to the next.
#[derive(Debug)]
pub struct Identity {
    /// The key that names it.
    pub key: StaticKey,
    /// How often it was started under that key, from 1.
    pub start: u32,
}

/// A server's directory, locked for as long as this lives.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    lock: File,
}

impl StateDir {
    /// Locks the directory, making it if need be.
    ///
    /// # Errors
    /// Another server holds it, or the operating system does not allow it.
    pub fn lock(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path.join("lock"))?;
        // The lock goes with its process, however that ends.
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|errno| {
            let held = errno == rustix::io::Errno::WOULDBLOCK;
            if held { io::Error::other("another server is using it") } else { errno.into() }
        })?;
        Ok(Self { path: path.to_owned(), lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where it keeps what is of its processes.
    pub fn processes(&self) -> PathBuf {
        self.path.join("processes")
    }

    /// Reads who the server is, or makes it up, and counts this start; on disk
    /// before it returns. A file that was torn by a crash is set aside.
    ///
    /// # Errors
    /// A file of a newer format, one that others can read, or what the
    /// operating system says.
    pub fn identity(&self, rng: &mut Rng) -> io::Result<Identity> {
        let path = self.path.join("identity");
        let before = match read_private(&path, MAX_IDENTITY) {
            Ok(bytes) => self.parse(&path, str::from_utf8(&bytes).unwrap_or_default())?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let mut identity = before.unwrap_or_else(|| Identity { key: StaticKey::generate(rng), start: 0 });
        identity.start += 1;
        self.save(&path, &identity)?;
        Ok(identity)
    }

    fn parse(&self, path: &Path, text: &str) -> io::Result<Option<Identity>> {
        let mut lines = text.lines();
        let format = lines.next().unwrap_or_default();
        if format != FORMAT && format.starts_with("circuit identity ") && text.ends_with('\n') {
            return Err(io::Error::other(format!("{} is of a newer version of circuit", path.display())));
        }
        let key = lines.next().and_then(|line| line.strip_prefix("key ")).and_then(from_hex);
        let start = lines.next().and_then(|line| line.strip_prefix("start ")).and_then(|start| start.parse().ok());
        match (format == FORMAT && text.ends_with('\n'), key, start) {
            (true, Some(key), Some(start)) => Ok(Some(Identity { key: StaticKey::from_bytes(key), start })),
            _ => {
                self.set_aside(path)?;
                Ok(None)
            }
        }
    }

    fn set_aside(&self, path: &Path) -> io::Result<()> {
        let aside = self.path.join("identity.torn");
        tracing::warn!("{} is torn: it is set aside as {}, and a new one made", path.display(), aside.display());
        fs::rename(path, aside)
    }

    /// Writes a new file and puts it in the place of the old one.
    fn save(&self, path: &Path, identity: &Identity) -> io::Result<()> {
        let fresh = self.path.join("identity.new");
        let mut text = Zeroizing::new(format!("{FORMAT}\nkey "));
        for byte in identity.key.as_bytes() {
            let _ = write!(text, "{byte:02x}");
        }
        let _ = write!(text, "\nstart {}\n", identity.start);
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&fresh)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        File::open(&self.path)?.sync_all()
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        // A program that is just being started has the descriptor too, for a
        // moment: closing this one alone would not free the directory.
        let _ = flock(&self.lock, FlockOperation::Unlock);
    }
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a folder")
    }

    fn identity(state: &StateDir) -> io::Result<(circuit_core::ServerId, u32)> {
        let identity = state.identity(&mut crate::system_rng()?)?;
        Ok((identity.key.server_id(), identity.start))
    }

    #[test]
    fn the_same_directory_is_the_same_server_at_its_next_start() {
        let folder = folder();
        let first = identity(&StateDir::lock(folder.path()).expect("locked")).expect("an identity");
        let second = identity(&StateDir::lock(folder.path()).expect("locked")).expect("an identity");
        assert_eq!((first.1, second), (1, (first.0, 2)));
    }

    #[test]
    fn a_second_server_on_the_same_directory_is_refused() {
        let folder = folder();
        let held = StateDir::lock(folder.path()).expect("locked");
        let refused = StateDir::lock(folder.path()).expect_err("it is held");
        assert!(refused.to_string().contains("another server"), "{refused}");
        drop(held);
        StateDir::lock(folder.path()).expect("free again");
    }

    #[test]
    fn a_torn_file_is_set_aside_and_a_newer_one_refused() {
        let folder = folder();
        let state = StateDir::lock(folder.path()).expect("locked");
        let (before, _) = identity(&state).expect("an identity");
        let path = folder.path().join("identity");
        let text = fs::read_to_string(&path).expect("the file");
        for torn in [&text.as_bytes()[..text.len() - 1], &text.as_bytes()[..30], b"", b"\xff\xfe"] {
            fs::write(&path, torn).expect("written");
            let (fresh, start) = identity(&state).expect("a new identity");
            assert!(fresh != before && start == 1, "{torn:?}");
            assert!(folder.path().join("identity.torn").exists());
        }
        fs::write(&path, text.replace("identity 1", "identity 2")).expect("written");
        let refused = identity(&state).expect_err("it is newer");
        assert!(refused.to_string().contains("newer version"), "{refused}");
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let folder = folder();
        let state = StateDir::lock(folder.path()).expect("locked");
        identity(&state).expect("an identity");
        let path = folder.path().join("identity");
        fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("opened");
        assert!(identity(&state).expect_err("refused").to_string().contains("chmod 600"));
        fs::remove_file(&path).expect("removed");
        std::os::unix::fs::symlink("/dev/zero", &path).expect("a link");
        assert!(identity(&state).expect_err("refused").to_string().contains("link"));
    }
}
