//! What servers say to each other about who is there.

use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::view::{Record, State};
use crate::{
    Epoch, ServerId,
    codec::{self, DecodeError, list},
};

/// The most records in one message: below 50 bytes each, they fit a frame.
pub(super) const MAX_RECORDS: usize = 1_000;
/// About how long a message is, and what it has of records, each.
const SMALL: usize = 48;
const RECORD: usize = 28;
/// The most buckets of a digest.
pub(super) const MAX_BUCKETS: usize = 1_024;

/// A message between two servers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Message {
    /// I am here, and this is the last that I heard of you.
    Beat(Beat),
    /// These records are new to me.
    News(#[serde(deserialize_with = "list::bounded::<MAX_RECORDS, _, _>")] Vec<News>),
    /// What I think of a server that we both observe.
    Opinion {
        /// Of whom.
        subject: ServerId,
        /// At which of its epochs.
        epoch: Epoch,
        /// What.
        opinion: Opinion,
        /// Whether the other should say what it thinks.
        ask: bool,
    },
    /// Our views differ: these are hashes of parts of mine, by
    /// `sync::bucket`. Their number is a power of two.
    Digest(#[serde(deserialize_with = "list::bounded::<MAX_BUCKETS, _, _>")] Vec<u64>),
    /// All that I know in the parts that differ.
    Records {
        /// Into how many parts the views were divided.
        of: u16,
        /// Which parts differ; only in the first message of an answer, and then
        /// the other sends what it knows of them in turn.
        parts: Option<Parts>,
        /// What I know; the rest follows unless this is the last message.
        #[serde(deserialize_with = "list::bounded::<MAX_RECORDS, _, _>")]
        records: Vec<Record>,
        /// Whether nothing follows.
        last: bool,
    },
}

/// Some parts of a view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts(#[serde(deserialize_with = "list::bounded::<MAX_BUCKETS, _, _>")] pub Vec<u16>);

/// A heartbeat. It echoes what was heard, so that an edge counts only if it
/// works both ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// Counts the beats of this end on this link.
    pub seq: u64,
    /// The last that was heard from the other end.
    pub echo: u64,
    /// What for.
    pub why: Why,
    /// The hash of the sender's view.
    pub hash: u128,
}

/// Why a server beats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Why {
    /// The other is one of its neighbours, and it should be told the news.
    Neighbour,
    /// To answer; this is not to be answered.
    Reply,
    /// To see for once whether the other is there, as most neighbours are lost.
    Look,
}

/// A record on its way to everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct News {
    /// What is known.
    pub record: Record,
    /// For a record of a death: whether observers have agreed on it just now.
    /// If not, it is an accusation, which its subject may answer.
    pub verdict: bool,
}

impl News {
    /// Whether somebody came, rather than went, or said that it had not.
    pub(super) fn is_join(&self) -> bool {
        self.record.state == State::Alive && self.record.epoch.rise == 0
    }
}

/// What an observer thinks of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Opinion {
    /// It hears it, both ways.
    Up,
    /// It has asked, and waits.
    Waiting,
    /// It cannot reach it.
    Down,
    /// It does not observe it.
    None,
}

impl Message {
    /// The bytes of a frame's body.
    pub fn encode(&self) -> Bytes {
        let records = match self {
            Self::News(all) => all.len(),
            Self::Records { records, .. } => records.len(),
            _ => 0,
        };
        let mut out = Vec::with_capacity(SMALL + RECORD * records);
        codec::encode(self, &mut out);
        out.into()
    }

    /// # Errors
    /// [`DecodeError`] when it is none.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        codec::decode_whole(body)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::{membership::State, wire::MAX_BODY};

    #[test]
    fn the_largest_messages_fit_a_frame() {
        let epoch = Epoch { start: u32::MAX, rise: u32::MAX };
        let addr = ([u16::MAX; 8], u16::MAX).into();
        let record = Record { id: ServerId(u64::MAX), epoch, state: State::Left, addr };
        let parts = Some(Parts((0..MAX_BUCKETS as u16).collect()));
        for message in [
            Message::News(vec![News { record, verdict: true }; MAX_RECORDS]),
            Message::Records { of: MAX_BUCKETS as u16, parts, records: vec![record; MAX_RECORDS], last: false },
            Message::Digest(vec![u64::MAX; MAX_BUCKETS]),
        ] {
            let bytes = message.encode();
            assert!(bytes.len() <= MAX_BODY, "{}", bytes.len());
            assert_eq!(Message::decode(&bytes), Ok(message));
        }
    }

    #[test]
    fn a_list_over_its_limit_is_refused() {
        let bytes = Message::Digest(vec![0; MAX_BUCKETS + 1]).encode();
        assert!(Message::decode(&bytes).is_err());
    }
}
