//! One client's calls.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, VecDeque, btree_map::Entry},
    sync::Arc,
    vec::Vec,
};

use bytes::Bytes;

use super::{
    CallKey, MAX_CALLS, Output, Timer, Way,
    call::{Call, send},
    intervals::Intervals,
    stream::{Piece, Refused},
};
use crate::{
    Error, ErrorKind, Instant, Path,
    wire::{
        call::ToClient,
        op::{Op, Reply},
    },
};

/// What a host remembers of a client.
#[derive(Debug)]
pub(super) struct Registration {
    pub(super) id: u64,
    pub(super) client: u128,
    pub(super) label: Arc<str>,
    /// The present way to it; none while it is away.
    pub(super) way: Option<Way>,
    pub(super) attempt: u32,
    pub(super) calls: BTreeMap<u64, Box<Call>>,
    /// Where the last call went: mostly the next goes there too, and shares it.
    recent: Path,
    /// Calls whose answers have come, and that are never executed again.
    answered: Intervals,
}

/// What comes with a call besides what it asks.
pub(super) struct Opening {
    pub(super) now: Instant,
    pub(super) acked: u64,
    pub(super) limit: u64,
    pub(super) again: bool,
    pub(super) ended: bool,
    pub(super) input: Bytes,
}

type Out = VecDeque<Output>;

impl Registration {
    pub(super) fn new(id: u64, client: u128, label: Arc<str>) -> Self {
        let (calls, answered) = (BTreeMap::new(), Intervals::default());
        Self { id, client, label, way: None, attempt: 0, calls, recent: Path::root(), answered }
    }

    /// The call, unless it was answered.
    pub(super) fn open_call(&mut self, seq: u64) -> Option<&mut Call> {
        self.calls.get_mut(&seq).map(|call| &mut **call).filter(|call| call.is_open())
    }

    /// A call came: for the first time, or again.
    pub(super) fn call(&mut self, seq: u64, op: Op, opening: Opening, out: &mut Out) {
        let Opening { now, acked, limit, again, ended, input } = opening;
        if self.answered.contains(seq) {
            return;
        }
        let (way, full) = (self.way, self.calls.len() >= MAX_CALLS);
        let path = op.path();
        if path != self.recent {
            self.recent = path;
        }
        let key = CallKey { registration: self.id, seq };
        let call = match self.calls.entry(seq) {
            Entry::Occupied(known) => {
                let call = known.into_mut();
                call.credit(way, acked, limit, out);
                // It may be that the call came before, and its input did not.
                if call.is_open()
                    && let Ok((bytes, end)) = call.input.receive(0, input, ended)
                    && (end || !bytes.is_empty())
                {
                    out.push_back(Output::Input { key, bytes, end });
                }
                return call.tell(way, out);
            }
            Entry::Vacant(_) if full => {
                let result = Err(Error::new(ErrorKind::QuotaExceeded, "too many calls are open"));
                return send(way, ToClient::Answer { seq, result }, out);
            }
            Entry::Vacant(new) => new.insert(Box::new(Call::new(key, &op, self.recent.clone(), now, limit))),
        };
        match call.input.receive(0, input, ended) {
            Ok((input, ended)) => {
                out.push_back(Output::Start { key, op, input, ended });
                if again {
                    call.tell(way, out);
                }
            }
            Err(_) => self.answer(seq, Err(Error::new(ErrorKind::Invalid, "more data than credit")), out),
        }
    }

    /// A piece of a call's inbound stream came.
    pub(super) fn data(&mut self, seq: u64, piece: Piece, out: &mut Out) -> Result<(), Refused> {
        let Some(call) = self.open_call(seq) else {
            return Ok(()); // answered: nobody wants it any more
        };
        match call.input.receive(piece.offset, piece.bytes, piece.end) {
            Ok((bytes, end)) if end || !bytes.is_empty() => {
                out.push_back(Output::Input { key: call.key, bytes, end });
            }
            Ok(_) => {}
            Err(Refused::OverCredit) => self.cancel(seq, ErrorKind::Invalid, out),
            Err(Refused::Gap) => return Err(Refused::Gap),
        }
        Ok(())
    }

    /// The client has used up the outbound stream to `acked`.
    pub(super) fn credit(&mut self, seq: u64, acked: u64, limit: u64, out: &mut Out) {
        let way = self.way;
        if let Some(call) = self.calls.get_mut(&seq) {
            call.credit(way, acked, limit, out);
        }
    }

    /// The element has used up the inbound stream to `acked`.
    pub(super) fn grant(&mut self, seq: u64, acked: u64, limit: u64, out: &mut Out) {
        let way = self.way;
        if let Some(call) = self.open_call(seq)
            && call.input.grant(acked, limit)
        {
            call.tell(way, out);
        }
    }

    /// The element adds to the outbound stream.
    pub(super) fn write(&mut self, seq: u64, bytes: Bytes, end: bool, out: &mut Out) {
        let way = self.way;
        if let Some(call) = self.open_call(seq) {
            call.write(way, bytes, end, out);
        }
    }

    /// What the outbound stream brings was given to another before.
    pub(super) fn mark_again(&mut self, seq: u64) {
        if let Some(call) = self.open_call(seq) {
            call.again = true;
        }
    }

    /// The element is done with the call.
    pub(super) fn answer(&mut self, seq: u64, result: Result<Reply, Error>, out: &mut Out) {
        let way = self.way;
        let Some(call) = self.calls.get_mut(&seq).filter(|call| call.is_open()) else {
            return;
        };
        if call.logged {
            let error = result.as_ref().err().map(|error| error.kind);
            let (who, path) = (self.label.clone(), call.path.clone());
            out.push_back(Output::Executed { who, verb: call.verb, path, error });
        }
        if call.has_deadline {
            out.push_back(Output::Timer(Timer::Deadline(call.key), None));
        }
        call.finish(way, result, out);
        if self.answered.contains(seq) {
            self.calls.remove(&seq); // the client does not want to hear of it
        }
    }

    /// Asks the call's element to end it.
    pub(super) fn cancel(&mut self, seq: u64, why: ErrorKind, out: &mut Out) {
        if let Some(call) = self.open_call(seq) {
            out.push_back(Output::Cancel { key: call.key, why });
        }
    }

    pub(super) fn cancel_all(&self, why: ErrorKind, out: &mut Out) {
        out.extend(self.open().map(|call| Output::Cancel { key: call.key, why }));
    }

    /// The client's way is gone.
    pub(super) fn leave(&mut self, out: &mut Out) {
        self.way = None;
        out.extend(self.open().map(|call| Output::Away(call.key)));
    }

    /// The client is attached: what it may have missed is sent again.
    pub(super) fn come_back(&mut self, out: &mut Out) {
        for call in self.calls.values_mut() {
            if call.is_open() {
                out.push_back(Output::Back(call.key));
            }
            call.repeat(self.way, out);
        }
    }

    /// The client has the answers of these calls. False if it claims so many
    /// separate ones that it cannot be honest, or the same ones twice: each
    /// range costs a walk over all that are open in it.
    pub(super) fn answered(&mut self, ranges: &[(u64, u64)]) -> bool {
        let mut before = 0;
        for &(first, last) in ranges {
            if first > last || first <= before {
                return false;
            }
            before = last;
            let mut next = first;
            while let Some((&seq, call)) = self.calls.range(next..=last).next() {
                if !call.is_open() {
                    self.calls.remove(&seq);
                }
                let Some(after) = seq.checked_add(1).filter(|&after| after <= last) else { break };
                next = after;
            }
            self.answered.insert(first, last);
        }
        self.answered.len() <= 2 * MAX_CALLS
    }

    /// The calls that are not answered.
    pub(super) fn open(&self) -> impl Iterator<Item = &Call> {
        self.calls.values().map(|call| &**call).filter(|call| call.is_open())
    }

    pub(super) fn open_seqs(&self) -> Vec<u64> {
        self.open().map(|call| call.key.seq).collect()
    }
}
