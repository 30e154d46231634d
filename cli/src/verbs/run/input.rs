//! Standard input, given to every process of a `run`.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, SimplexStream, WriteHalf, simplex};

use crate::stdin::unreadable;

/// What the slowest process may be behind.
const AHEAD: usize = 64 * 1024;

/// The input of one process; of none that is given nothing to read.
pub(super) type Input = Option<ReadHalf<SimplexStream>>;

/// `count` inputs, each with all of standard input. If that cannot be read to
/// its end `unread` is set, and they end there.
pub(super) fn spread(count: usize, unread: Arc<AtomicBool>) -> Vec<Input> {
    let (readers, writers) = (0..count).map(|_| simplex(AHEAD)).unzip::<_, _, Vec<_>, Vec<_>>();
    tokio::spawn(copy(writers, unread));
    readers.into_iter().map(Some).collect()
}

/// Each has a piece before any has the next.
async fn copy(mut writers: Vec<WriteHalf<SimplexStream>>, unread: Arc<AtomicBool>) {
    let (mut stdin, mut buffer) = (tokio::io::stdin(), vec![0; AHEAD]);
    while !writers.is_empty() {
        let count = match stdin.read(&mut buffer).await {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) => {
                unreadable(&error).tell();
                unread.store(true, Ordering::Relaxed);
                break;
            }
        };
        let mut kept = Vec::with_capacity(writers.len());
        for mut writer in writers {
            // One that reads no more is no fault.
            if writer.write_all(&buffer[..count]).await.is_ok() {
                kept.push(writer);
            }
        }
        writers = kept;
    }
    for mut writer in writers {
        let _ = writer.shutdown().await;
    }
}
