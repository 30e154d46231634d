//! The scripted host at the far end: it does what its script says, and says what
//! was otherwise.

use std::net::SocketAddr;

use circuit_tokio::Net;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    sync::mpsc::UnboundedReceiver,
};

/// What the far end does next.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    /// Takes a connection; what it had before is dropped.
    Accept,
    /// Takes another connection as well, and keeps it.
    Also,
    /// Dials where the near end says that it listens.
    Dial,
    /// Waits until the near end says so.
    Await,
    /// Sends so many bytes of the pattern.
    Send(usize),
    /// So many bytes of the pattern must come.
    Expect(usize),
    /// Nothing more may come but an end, of whatever kind.
    ExpectEnd,
    /// Sends nothing more, and goes on reading.
    Finish,
    /// Drops the connection. If there is something in it that was not read, it
    /// is reset by that.
    Drop,
}

/// The byte at a place of what is sent.
pub(crate) const fn byte(place: usize) -> u8 {
    (place.wrapping_mul(31) ^ (place >> 8) ^ (place >> 16)) as u8
}

/// So many bytes, from a place on.
pub(crate) fn pattern(from: usize, count: usize) -> Vec<u8> {
    (from..from + count).map(byte).collect()
}

/// Reads until `count` bytes came; all must be the pattern's.
pub(crate) async fn expect(stream: &mut (impl AsyncRead + Unpin), count: usize) -> Result<(), String> {
    let mut buffer = vec![0; 60_000];
    let mut got = 0;
    while got < count {
        let room = (count - got).min(buffer.len());
        let read = stream.read(&mut buffer[..room]).await.map_err(|error| format!("after {got} bytes: {error}"))?;
        if read == 0 {
            return Err(format!("the end came after {got} of {count} bytes"));
        }
        if let Some(wrong) = (0..read).find(|&index| buffer[index] != byte(got + index)) {
            return Err(format!("byte {} is another", got + wrong));
        }
        got += read;
    }
    Ok(())
}

/// Plays the script. The near end tells by `go` when to proceed, and where it
/// listens.
pub(crate) async fn play<N: Net>(
    net: N,
    mut listener: N::Listener,
    script: Vec<Act>,
    mut go: UnboundedReceiver<Option<SocketAddr>>,
) -> Result<(), String> {
    let mut held: Option<N::Stream> = None;
    let mut others = Vec::new();
    for act in script {
        let failed = |error: std::io::Error| format!("{act:?}: {error}");
        match act {
            Act::Accept => held = Some(N::accept(&mut listener).await.map_err(failed)?.0),
            Act::Also => others.push(N::accept(&mut listener).await.map_err(failed)?.0),
            Act::Dial => {
                let addr = go.recv().await.flatten().ok_or("the near end does not listen")?;
                held = Some(net.connect(addr).await.map_err(failed)?);
            }
            Act::Await => {
                go.recv().await.ok_or("the near end has ended")?;
            }
            Act::Drop => held = None,
            Act::Send(count) => stream(&mut held)?.write_all(&pattern(0, count)).await.map_err(failed)?,
            Act::Expect(count) => expect(stream(&mut held)?, count).await.map_err(|why| format!("{act:?}: {why}"))?,
            Act::ExpectEnd => match stream(&mut held)?.read(&mut [0]).await {
                Ok(0) | Err(_) => {}
                Ok(_) => return Err("more came than should".to_owned()),
            },
            Act::Finish => stream(&mut held)?.shutdown().await.map_err(failed)?,
        }
    }
    Ok(())
}

fn stream<S>(held: &mut Option<S>) -> Result<&mut S, String> {
    held.as_mut().ok_or_else(|| "the script has no connection".to_owned())
}
