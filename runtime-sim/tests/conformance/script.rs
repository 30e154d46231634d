//! The scripted host at the far end: it does what its script says, and says what
//! was otherwise.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use circuit_core::discovery::{Group, Interface};
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
    /// Becomes a member of the group.
    Join,
    /// Sends back the next datagram that the group is sent.
    Echo,
    /// Sends the group so many bytes of the pattern.
    Shout(usize),
}

/// The group of a listener.
pub(crate) fn group_of(listener: SocketAddr) -> Result<Group, String> {
    let addr = SocketAddr::new(Ipv4Addr::new(239, 11, 22, 33).into(), listener.port());
    Group::new(addr).map_err(|error| error.to_string())
}

/// Where hosts of this machine hear each other, and where else there is only one.
pub(crate) fn interface<N: Net>(net: &N) -> io::Result<Interface> {
    let all = net.interfaces()?;
    let usable = || all.iter().filter(|each| each.up && each.addr.is_ipv4());
    usable()
        .find(|each| each.loopback)
        .or_else(|| usable().next())
        .copied()
        .ok_or_else(|| io::Error::other("there is no interface"))
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
    let group = group_of(N::local_addr(&listener).map_err(|error| error.to_string())?)?;
    let mut member = None;
    for act in script {
        let failed = |error: io::Error| format!("{act:?}: {error}");
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
            Act::Join => {
                let interface = interface(&net).map_err(failed)?;
                member = Some(net.datagram(group, &interface, true).map_err(failed)?);
            }
            Act::Echo => {
                let member = member.as_ref().ok_or("the script has no group")?;
                let mut space = [0; 2_000];
                let (count, from) = N::receive(member, &mut space).await.map_err(failed)?;
                N::send(member, &space[..count], from).await.map_err(failed)?;
            }
            Act::Shout(count) => {
                let interface = interface(&net).map_err(failed)?;
                let socket = net.datagram(group, &interface, false).map_err(failed)?;
                N::send(&socket, &pattern(0, count), group.addr()).await.map_err(failed)?;
            }
            Act::Finish => stream(&mut held)?.shutdown().await.map_err(failed)?,
        }
    }
    Ok(())
}

fn stream<S>(held: &mut Option<S>) -> Result<&mut S, String> {
    held.as_mut().ok_or_else(|| "the script has no connection".to_owned())
}
