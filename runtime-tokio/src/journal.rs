//! The operation log on disk: one line of JSON an operation, readable after a
//! crash, rotated so that it does not grow.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
};

use circuit_core::oplog::Operation;
use serde::Serialize;

/// What the log is called in a server's directory; the one before it has `.1`
/// behind.
const NAME: &str = "operations.log";
/// How long it gets before it is rotated.
const MAX_LENGTH: u64 = 16 * 1024 * 1024;
/// Operations that may wait for the disk.
const WAITING: usize = 16 * 1024;

/// A log on disk, written by a thread of its own.
#[derive(Debug)]
pub struct Journal {
    lines: SyncSender<Operation>,
    missed: AtomicU64,
}

/// An operation as it stands in the log.
#[derive(Serialize)]
struct Line<'a> {
    seq: u64,
    /// Microseconds since 1970.
    time: u64,
    who: &'a str,
    verb: &'a str,
    path: &'a str,
    outcome: &'a str,
}

impl Journal {
    /// Opens the log in `folder`.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join(NAME);
        let file = Log::open(path)?;
        let (lines, to_write) = sync_channel(WAITING);
        thread::Builder::new().name("journal".to_owned()).spawn(move || write_all(file, &to_write))?;
        Ok(Self { lines, missed: AtomicU64::new(0) })
    }

    /// Keeps an operation. It never waits: if the disk is so slow that very
    /// many wait already, this one is left out, and that is said.
    pub fn keep(&self, operation: Operation) {
        if let Err(TrySendError::Full(_)) = self.lines.try_send(operation)
            && self.missed.fetch_add(1, Ordering::Relaxed) == 0
        {
            tracing::warn!("the disk is too slow for the log of operations: some are missing in it");
        }
    }
}

fn write_all(mut log: Log, lines: &Receiver<Operation>) {
    let mut complained = false;
    while let Ok(first) = lines.recv() {
        let mut result = log.write(&first);
        while let Ok(next) = lines.try_recv() {
            result = result.and(log.write(&next));
        }
        if let Err(error) = result.and_then(|()| log.file.flush())
            && !complained
        {
            complained = true;
            tracing::error!("the log of operations cannot be written, and the server goes on without: {error}");
        }
    }
}

struct Log {
    path: PathBuf,
    file: BufWriter<File>,
    length: u64,
}

impl Log {
    fn open(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let length = file.metadata()?.len();
        Ok(Self { path, file: BufWriter::new(file), length })
    }

    fn write(&mut self, operation: &Operation) -> io::Result<()> {
        let Operation { seq, time, who, verb, path, error } = operation;
        let outcome = error.map_or_else(|| "ok".to_owned(), |kind| kind.to_string());
        let line = Line { seq: *seq, time: *time, who, verb, path: path.as_str(), outcome: &outcome };
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        if self.length > MAX_LENGTH {
            self.rotate()?;
        }
        self.file.write_all(&text)?;
        self.length += text.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file.flush()?;
        let before = self.path.with_extension("log.1");
        match fs::rename(&self.path, before) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {} // done before, and no other could be opened
            result => result?,
        }
        *self = Self::open(self.path.clone())?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(seq: u64) -> Operation {
        let path = "job/3".parse().expect("a path");
        Operation { seq, time: 9, who: "me".into(), verb: "send", path, error: None }
    }

    #[test]
    fn what_was_kept_can_be_read_and_the_log_does_not_grow_for_ever() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut log = Log::open(folder.path().join(NAME)).expect("a log");
        log.write(&record(1)).expect("written");
        log.length = MAX_LENGTH;
        log.write(&record(2)).expect("written");
        log.write(&record(3)).expect("written");
        log.file.flush().expect("flushed");
        let read = |name| fs::read_to_string(folder.path().join(name)).expect("a log");
        let old = read("operations.log.1");
        assert_eq!(old.lines().count(), 2);
        let line = r#"{"seq":1,"time":9,"who":"me","verb":"send","path":"job/3","outcome":"ok"}"#;
        assert_eq!(old.lines().next(), Some(line));
        assert_eq!(read(NAME).lines().count(), 1);
    }

    #[test]
    fn a_rotation_that_was_cut_short_is_gone_on_with() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut log = Log::open(folder.path().join(NAME)).expect("a log");
        log.length = MAX_LENGTH + 1;
        // Renamed, and then there was no descriptor for another.
        fs::rename(folder.path().join(NAME), folder.path().join("operations.log.1")).expect("renamed");
        log.write(&record(1)).expect("written");
        log.file.flush().expect("flushed");
        assert_eq!(fs::read_to_string(folder.path().join(NAME)).expect("a log").lines().count(), 1);
    }
}
