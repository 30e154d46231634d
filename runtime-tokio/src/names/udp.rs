//! Queries as datagrams.

use std::{io, time::Duration};

use circuit_core::dns::Over;
use tokio::{net::UdpSocket, task, time};

use super::{Records, datagram::Ends};

/// The longest query that is read whole; of a longer one the rest is missing,
/// and so it makes no sense.
const QUERY: usize = 4_096;
/// How many queries are answered before others may run: so few that no flood
/// holds them up for long.
const AT_ONCE: usize = 16;

/// Answers for ever.
pub(super) async fn answer(socket: &UdpSocket, records: &Records) {
    let (mut query, mut reply) = (vec![0; QUERY], Vec::new());
    let mut ends = match Ends::of(socket) {
        Ok(ends) => ends,
        Err(error) => return tracing::warn!("a name server's socket has no address: {error}"),
    };
    loop {
        if let Err(error) = socket.readable().await {
            return tracing::warn!("a name server's socket cannot be read: {error}");
        }
        let zone = records.get();
        for _ in 0..AT_ONCE {
            match ends.try_receive(socket, &mut query) {
                Ok(length) => {
                    if zone.reply(&query[..length], Over::Udp, &mut reply) {
                        // Who gets no reply asks again.
                        let _ = ends.try_reply(socket, &reply);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // Of an earlier reply that found nobody, or of a machine that
                // is short of memory.
                Err(error) => {
                    tracing::debug!("a query could not be read: {error}");
                    time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
        task::yield_now().await;
    }
}
