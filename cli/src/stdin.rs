//! Standard input, as a stream to a host.

use bytes::BytesMut;
use circuit_core::{Error, wire::op::Reply};
use circuit_tokio::client::Sending;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::fault::{Fault, plain};

/// The most that is read at once.
const PIECE: usize = 64 * 1024;

/// Copies an input to a stream. If the call is answered before the input ends,
/// that answer; a fault only if the input cannot be read.
pub(crate) async fn feed(
    mut input: impl AsyncRead + Unpin,
    sending: &mut Sending,
) -> Result<Option<Result<Reply, Error>>, Fault> {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(PIECE);
        let count = tokio::select! {
            biased;
            answer = sending.ended() => return Ok(Some(answer)),
            read = input.read_buf(&mut buffer) => read.map_err(|error| unreadable(&error))?,
        };
        if count == 0 {
            return Ok(None);
        }
        if sending.write(buffer.split().freeze()).await.is_err() {
            return Ok(Some(sending.ended().await)); // which says why
        }
    }
}

pub(crate) fn unreadable(error: &std::io::Error) -> Fault {
    Fault::failed(format!("standard input: {}", plain(error)))
}
