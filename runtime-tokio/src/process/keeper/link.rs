//! What a server and a keeper say to each other, over a socket of the system.
//!
//! A keeper that is asked for begins with [`GREETING`], and then both say what
//! they have to say in frames: a length in four bytes, and a value.

use bytes::{Buf, BufMut, BytesMut};
use circuit_core::{Path, codec, effect::ProcessEvent, elements::Kept, wire::op::ProcSpec};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use super::super::Order;

/// What a keeper begins with. The last byte is the version of all that follows:
/// of the frames and of every type in them, also those of the core. Whoever
/// changes one of them changes it.
const GREETING: [u8; 8] = *b"keeper\0\x02";
/// The longest frame: a description of 1 MiB, and more.
const MAX_FRAME: usize = 4 * 1024 * 1024;
/// What may wait to be sent before whoever has more to say waits.
const FULL: usize = 256 * 1024;
/// What is read at once.
const READ: usize = 64 * 1024;

/// What a server says to a keeper.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToKeeper {
    /// Start this, whose element stands there.
    Start(Path, ProcSpec),
    /// Tell it this.
    Order(Order),
}

/// What a keeper says to a server.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FromKeeper {
    /// What it keeps, if it was told what to start: the first that it says.
    Kept(Option<Box<Kept>>),
    /// Something came of it.
    Event(ProcessEvent),
}

/// Why a keeper cannot be talked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stranger {
    /// It is gone, or is none.
    Gone,
    /// It is of another version.
    OtherVersion,
    /// It says nothing.
    Silent,
}

/// One end of the socket.
#[derive(Debug)]
pub(crate) struct Link {
    stream: UnixStream,
    inbox: BytesMut,
    outbox: BytesMut,
    /// The other end does not listen any more; it may have said something before.
    deaf: bool,
}

impl Link {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, inbox: BytesMut::new(), outbox: BytesMut::new(), deaf: false }
    }

    /// A keeper begins.
    pub(super) fn greet(&mut self, kept: Option<&Kept>) {
        self.outbox.extend_from_slice(&GREETING);
        self.push(&FromKeeper::Kept(kept.cloned().map(Box::new)));
    }

    /// A keeper has begun: what it keeps.
    pub(super) async fn greeted(&mut self) -> Result<Option<Box<Kept>>, Stranger> {
        while self.inbox.len() < GREETING.len() {
            if !self.carry().await {
                return Err(Stranger::Gone);
            }
        }
        if !self.inbox.starts_with(&GREETING) {
            return Err(Stranger::OtherVersion);
        }
        self.inbox.advance(GREETING.len());
        match self.next().await {
            Some(FromKeeper::Kept(kept)) => Ok(kept),
            _ => Err(Stranger::Gone),
        }
    }

    /// Whether more can be said now.
    pub(super) fn has_room(&self) -> bool {
        self.outbox.len() < FULL
    }

    /// Says something; it is sent while the next message is waited for.
    pub(super) fn push(&mut self, message: &impl Serialize) {
        if self.deaf {
            return;
        }
        let mut value = Vec::new();
        codec::encode(message, &mut value);
        self.outbox.put_u32_le(u32::try_from(value.len()).unwrap_or(u32::MAX));
        self.outbox.extend_from_slice(&value);
    }

    /// The next message, or nothing if no more will come. Nothing is lost when
    /// this is not waited for.
    pub(super) async fn next<T: DeserializeOwned + Serialize>(&mut self) -> Option<T> {
        loop {
            match self.take() {
                Ok(Some(message)) => return Some(message),
                Ok(None) if self.carry().await => {}
                Ok(None) | Err(()) => return None,
            }
        }
    }

    /// Sends what was said, if the other end still listens.
    pub(super) async fn flush(&mut self) {
        while !self.outbox.is_empty() {
            if self.stream.write_buf(&mut self.outbox).await.is_err() {
                return;
            }
        }
    }

    /// Reads or writes something; false if no more will come.
    async fn carry(&mut self) -> bool {
        self.inbox.reserve(READ);
        let (mut reader, mut writer) = self.stream.split();
        tokio::select! {
            biased;
            wrote = writer.write_buf(&mut self.outbox), if !self.outbox.is_empty() => {
                if wrote.is_err() {
                    self.deaf = true;
                    self.outbox.clear();
                }
                true
            }
            read = reader.read_buf(&mut self.inbox) => read.is_ok_and(|count| count > 0),
        }
    }

    fn take<T: DeserializeOwned + Serialize>(&mut self) -> Result<Option<T>, ()> {
        let Some(head) = self.inbox.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*head) as usize;
        if length > MAX_FRAME {
            return Err(());
        }
        let Some(value) = self.inbox.get(4..4 + length) else {
            return Ok(None);
        };
        let message = codec::decode_whole(value).map_err(drop);
        self.inbox.advance(4 + length);
        message.map(Some)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use circuit_core::{
        Error, ErrorKind,
        effect::Timed,
        wire::op::{How, Stdio},
    };

    use super::*;

    fn pair() -> (Link, Link) {
        let (one, other) = UnixStream::pair().expect("a socket");
        (Link::new(one), Link::new(other))
    }

    #[tokio::test]
    async fn much_goes_both_ways_at_once_and_nothing_is_lost() {
        let (mut server, mut keeper) = pair();
        let piece = Bytes::from(vec![7; 100_000]);
        for _ in 0..20 {
            server.push(&ToKeeper::Order(Order::Write(piece.clone())));
            let event = ProcessEvent::Fetched { of: Stdio::Err, from: 9, result: Ok(piece.clone()) };
            keeper.push(&FromKeeper::Event(event));
        }
        assert!(!server.has_room());
        for _ in 0..20 {
            let (order, event) = tokio::join!(keeper.next(), server.next());
            assert!(matches!(order, Some(ToKeeper::Order(Order::Write(bytes))) if bytes == piece));
            let Some(FromKeeper::Event(ProcessEvent::Fetched { from: 9, result: Ok(bytes), .. })) = event else {
                panic!("{event:?}");
            };
            assert_eq!(bytes, piece);
        }
        assert!(server.has_room());
    }

    #[tokio::test]
    async fn what_was_said_before_the_end_is_heard() {
        let (mut server, mut keeper) = pair();
        server.push(&ToKeeper::Order(Order::Release));
        server.flush().await;
        drop(server);
        keeper.greet(None);
        assert!(matches!(keeper.next().await, Some(ToKeeper::Order(Order::Release))));
        assert!(keeper.next::<ToKeeper>().await.is_none());
    }

    #[tokio::test]
    async fn who_greets_otherwise_is_a_stranger() {
        for (says, stranger) in [(&b"keeper\0\x7f...."[..], Stranger::OtherVersion), (b"kee", Stranger::Gone)] {
            let (mut server, mut keeper) = pair();
            keeper.outbox.extend_from_slice(says);
            keeper.flush().await;
            drop(keeper);
            assert_eq!(server.greeted().await, Err(stranger));
        }
        let (mut server, mut keeper) = pair();
        keeper.greet(None);
        keeper.outbox.put_u32_le(u32::MAX);
        keeper.flush().await;
        assert_eq!(server.greeted().await, Ok(None));
        assert!(server.next::<FromKeeper>().await.is_none(), "a frame that is too long");
    }

    /// A server and a keeper of one version speak the same language.
    #[test]
    fn whoever_changes_what_is_said_changes_the_greeting() {
        let mut said = Vec::new();
        let path: Path = "a/b".parse().expect("a path");
        let spec = ProcSpec { path: "/bin/ls".to_owned(), grace: Some(9), ..ProcSpec::default() };
        let mut kept = Kept::new(path.clone(), spec.clone());
        let bytes = Bytes::from_static(b"xyz");
        let events = [
            ProcessEvent::At { time: 1, event: Timed::Started { pid: 2 } },
            ProcessEvent::Stored { of: Stdio::Out, count: 3 },
            ProcessEvent::Stalled { of: Stdio::Err, errno: 28 },
            ProcessEvent::Fetched { of: Stdio::Out, from: 1, result: Ok(bytes.clone()) },
            ProcessEvent::OutputEnd { of: Stdio::Out },
            ProcessEvent::Wrote { count: 3 },
            ProcessEvent::InputClosed,
            ProcessEvent::Stopped,
            ProcessEvent::Continued,
            ProcessEvent::Exited { how: How::Code(7) },
            ProcessEvent::Killed { result: Ok(()) },
            ProcessEvent::Failed { errno: 2 },
            ProcessEvent::Refused { error: Error::new(ErrorKind::Forbidden, "why") },
        ];
        let orders = [
            Order::Write(bytes),
            Order::CloseInput,
            Order::Read(Stdio::Out, 4),
            Order::Fetch(Stdio::Err, 1, 3),
            Order::Forget(Stdio::Out, 2),
            Order::Signal(15),
            Order::Kill(Duration::from_secs(1)),
            Order::Release,
        ];
        for event in events {
            kept.heard(5, &event);
            codec::encode(&FromKeeper::Event(event), &mut said);
        }
        codec::encode(&FromKeeper::Kept(Some(Box::new(kept))), &mut said);
        codec::encode(&ToKeeper::Start(path, spec), &mut said);
        for order in orders {
            codec::encode(&ToKeeper::Order(order), &mut said);
        }
        let said: String = said.iter().map(|byte| format!("{byte:02x}")).collect();
        let known = concat!(
            "01000100020108000301090138010a0001000378797a010b00010c03010d010e010f0112000e0106",
            "000102040103040003776879000103612f62072f62696e2f6c73000000000000010900010401000e",
            "000105000300010000000000010003612f62072f62696e2f6c730000000000000109000100037879",
            "7a01010102000401030101030104000201051e010601000107",
        );
        assert_eq!((GREETING[7], said.as_str()), (2, known));
    }
}
