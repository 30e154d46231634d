//! Output of a program that is kept on disk, in a file without a name: it goes
//! with whoever has it open, however that ends.
//!
//! The disk is asked on threads that may wait for it, so that a slow one delays
//! nothing but this output.

use std::{
    collections::VecDeque,
    fs::{DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt, FileExt},
    path::Path,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use circuit_core::{effect::ProcessEvent, wire::op::Stdio};
use rustix::{
    fs::{FallocateFlags, fallocate},
    io::Errno,
};
use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::{self, Instant},
};

/// How long after it failed writing is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// A file without a name, in this folder, which is made if need be, or else
/// where temporary files are.
pub(super) fn file(folder: Option<&Path>) -> io::Result<File> {
    match folder {
        Some(folder) => {
            make_folder(folder)?;
            tempfile::tempfile_in(folder)
        }
        None => tempfile::tempfile(),
    }
}

/// Makes a folder that is nobody else's, if it is not there.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// An output on disk.
pub(super) struct Store {
    of: Stdio,
    file: Arc<File>,
    end: u64,
    /// What is being written.
    writing: Option<JoinHandle<(Bytes, io::Result<()>)>>,
    /// What could not be written, and when that is tried again.
    unwritten: Option<(Bytes, Instant)>,
    asked: VecDeque<Ask>,
    answering: Option<JoinHandle<Option<ProcessEvent>>>,
}

/// What is asked of what was written, to be done in that order.
enum Ask {
    Fetch { from: u64, len: u64 },
    Forget { before: u64 },
}

impl Store {
    /// An empty one in that file.
    pub(super) fn new(of: Stdio, file: File) -> Self {
        Self {
            of,
            file: Arc::new(file),
            end: 0,
            writing: None,
            unwritten: None,
            asked: VecDeque::new(),
            answering: None,
        }
    }

    /// Whether it takes more.
    pub(super) const fn is_free(&self) -> bool {
        self.writing.is_none() && self.unwritten.is_none()
    }

    /// Takes more; to be called when it is free.
    pub(super) fn write(&mut self, bytes: Bytes) {
        let (file, end) = (Arc::clone(&self.file), self.end);
        self.writing = Some(spawn_blocking(move || {
            let result = file.write_all_at(&bytes, end);
            (bytes, result)
        }));
    }

    /// Reads what was written.
    pub(super) fn fetch(&mut self, from: u64, len: u64) {
        self.asked.push_back(Ask::Fetch { from, len });
    }

    /// Gives back the room of what nobody will read.
    pub(super) fn forget(&mut self, before: u64) {
        self.asked.push_back(Ask::Forget { before });
    }

    /// What comes of it next. Nothing is lost when this is not waited for.
    pub(super) async fn next(&mut self) -> ProcessEvent {
        loop {
            self.answer();
            let due = self.unwritten.as_ref().map(|(_, at)| *at);
            tokio::select! {
                biased;
                said = done(self.answering.as_mut()) => {
                    self.answering = None;
                    if let Some(event) = said {
                        return event;
                    }
                }
                (bytes, result) = done(self.writing.as_mut()) => {
                    self.writing = None;
                    return self.wrote(bytes, result);
                }
                () = time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    if let Some((bytes, _)) = self.unwritten.take() {
                        self.write(bytes);
                    }
                }
            }
        }
    }

    fn wrote(&mut self, bytes: Bytes, result: io::Result<()>) -> ProcessEvent {
        let Err(error) = result else {
            self.end += bytes.len() as u64;
            return ProcessEvent::Stored { of: self.of, count: bytes.len() as u64 };
        };
        self.unwritten = Some((bytes, Instant::now() + RETRY));
        ProcessEvent::Stalled { of: self.of, errno: errno(&error) }
    }

    /// Begins with what was asked first.
    fn answer(&mut self) {
        if self.answering.is_some() {
            return;
        }
        let (of, file) = (self.of, Arc::clone(&self.file));
        self.answering = match self.asked.pop_front() {
            Some(Ask::Fetch { from, len }) => Some(spawn_blocking(move || {
                let result = read(&file, from, len).map_err(|error| errno(&error));
                Some(ProcessEvent::Fetched { of, from, result })
            })),
            Some(Ask::Forget { before }) => Some(spawn_blocking(move || {
                let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                // Where there can be no holes the room is taken until the end.
                let _ = fallocate(&*file, hole, 0, before);
                None
            })),
            None => None,
        };
    }
}

fn read(file: &File, from: u64, len: u64) -> io::Result<Bytes> {
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    file.read_exact_at(&mut bytes, from)?;
    Ok(bytes.into())
}

/// Why the disk has failed.
pub(super) fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or_else(|| Errno::IO.raw_os_error())
}

/// What came of a task, if there is one. One that is no more had nothing to
/// say: the runtime ends.
async fn done<T>(task: Option<&mut JoinHandle<T>>) -> T {
    if let Some(task) = task
        && let Ok(done) = task.await
    {
        return done;
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    const MIB: usize = 1 << 20;

    async fn fetched(store: &mut Store, from: u64, len: u64) -> Result<Bytes, i32> {
        store.fetch(from, len);
        match store.next().await {
            ProcessEvent::Fetched { of: Stdio::Out, from: of, result } if of == from => result,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn what_was_written_is_there_until_it_is_forgotten() {
        let folder = tempfile::tempdir().expect("a folder");
        let inside = folder.path().join("processes");
        let mut store = Store::new(Stdio::Out, file(Some(&inside)).expect("a file"));
        assert_eq!(inside.metadata().expect("made").mode() & 0o777, 0o700);
        assert_eq!(inside.read_dir().expect("a folder").count(), 0, "a file with a name");
        for byte in 0..4 {
            assert!(store.is_free());
            store.write(vec![byte; MIB].into());
            assert!(!store.is_free());
            assert_eq!(store.next().await, ProcessEvent::Stored { of: Stdio::Out, count: MIB as u64 });
        }
        assert_eq!(fetched(&mut store, MIB as u64 - 1, 2).await, Ok(Bytes::from_static(&[0, 1])));
        store.forget(3 * MIB as u64);
        assert_eq!(fetched(&mut store, 3 * MIB as u64, 1).await, Ok(Bytes::from_static(&[3])));
        let taken = store.file.metadata().expect("a file").blocks() * 512;
        assert!(taken <= 2 * MIB as u64, "{taken} bytes are still taken");
        assert_eq!(fetched(&mut store, 4 * MIB as u64, 1).await, Err(Errno::IO.raw_os_error()));
    }

    #[tokio::test]
    async fn what_a_full_disk_does_not_take_is_said_and_kept() {
        let full = File::options().read(true).write(true).open("/dev/full").expect("a full disk");
        let mut store = Store::new(Stdio::Err, full);
        store.write(Bytes::from_static(b"hello"));
        let errno = Errno::NOSPC.raw_os_error();
        assert_eq!(store.next().await, ProcessEvent::Stalled { of: Stdio::Err, errno });
        assert!(!store.is_free());
        // There is room again.
        store.file = Arc::new(tempfile::tempfile().expect("a file"));
        store.unwritten = store.unwritten.map(|(bytes, _)| (bytes, Instant::now()));
        assert_eq!(store.next().await, ProcessEvent::Stored { of: Stdio::Err, count: 5 });
        assert!(store.is_free());
    }
}
