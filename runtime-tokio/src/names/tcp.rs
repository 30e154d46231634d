//! Queries on connections.

use std::{collections::VecDeque, io, time::Duration};

use circuit_core::dns::{MAX_CONNECTIONS, Over, PATIENCE};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::{self, AbortHandle, JoinSet},
    time,
};

use super::Records;

/// Answers for ever.
pub(super) async fn answer(listener: &TcpListener, records: &Records) {
    let (mut connections, mut oldest) = (JoinSet::new(), VecDeque::<AbortHandle>::new());
    loop {
        let stream = tokio::select! {
            biased;
            Some(_) = connections.join_next(), if !connections.is_empty() => {
                oldest.retain(|connection| !connection.is_finished());
                continue;
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::debug!("a connection to a name server could not be accepted: {error}");
                    time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        if oldest.len() >= MAX_CONNECTIONS
            && let Some(first) = oldest.pop_front()
        {
            first.abort();
        }
        oldest.push_back(connections.spawn(converse(stream, records.clone())));
    }
}

/// Answers one query after the other, until the asker closes or is too slow.
async fn converse(stream: TcpStream, records: Records) {
    let (mut stream, mut query, mut reply) = (BufReader::new(stream), Vec::new(), Vec::new());
    while let Ok(Ok(true)) = time::timeout(PATIENCE, exchange(&mut stream, &records, &mut query, &mut reply)).await {}
}

/// One query and its reply: whether there may be another.
async fn exchange(
    stream: &mut BufReader<TcpStream>,
    records: &Records,
    query: &mut Vec<u8>,
    reply: &mut Vec<u8>,
) -> io::Result<bool> {
    let length = stream.read_u16().await?;
    query.resize(usize::from(length), 0);
    stream.read_exact(query).await?;
    if !records.get().reply(query, Over::Tcp, reply) {
        return Ok(false);
    }
    let length = u16::try_from(reply.len()).map_err(io::Error::other)?;
    // In one piece: some askers read no second one.
    reply.splice(0..0, length.to_be_bytes());
    stream.write_all(reply).await?;
    // The next query may be here already, and the one after that.
    task::yield_now().await;
    Ok(true)
}
