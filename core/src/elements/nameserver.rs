//! The name server on its host: its records, and whether it is served.
//!
//! What is answered follows from the records alone ([`crate::dns`]). Whoever
//! holds the sockets has them too, and is given them anew with every change,
//! before whoever made it hears that it is done.

use alloc::{boxed::Box, format, sync::Arc};
use core::net::SocketAddr;

use super::{ElementId, Out, Output, wrong_kind};
use crate::{
    Error, ErrorKind,
    calls::CallKey,
    dns::Zone,
    effect::{Effect, Names, NamesEvent},
    wire::op::{Kind, NameserverStat, Op, Reply, Stat},
};

/// A name server on its host.
#[derive(Debug)]
pub(super) struct Nameserver {
    id: ElementId,
    /// Who waits until it is served.
    maker: Option<CallKey>,
    addr: SocketAddr,
    zone: Arc<Zone>,
}

impl Nameserver {
    /// A name server that is to answer at `addr`; port 0 is any that is free.
    pub(super) fn new(id: ElementId, maker: CallKey, addr: SocketAddr, out: &mut Out) -> Self {
        let nameserver = Self { id, maker: Some(maker), addr, zone: Arc::default() };
        nameserver.order(Names::Serve(addr), out);
        nameserver
    }

    /// A call other than the one that makes it.
    pub(super) fn start(&mut self, key: CallKey, op: &Op, out: &mut Out) {
        let result = match op {
            _ if self.maker.is_some() => Err(Error::new(ErrorKind::NotFound, "it is still being made")),
            Op::Peek(_) => Ok(Reply::Stat(Box::new(Stat::Nameserver(self.stat())))),
            Op::Set { record, .. } => self.change(out, |zone| zone.set(record.clone())),
            Op::Unset { name, .. } => self.change(out, |zone| {
                let missing = || Error::new(ErrorKind::NotFound, format!("it has no records of {name}"));
                zone.unset(name).then_some(()).ok_or_else(missing)
            }),
            _ => Err(wrong_kind(op, Kind::Nameserver)),
        };
        out.push_back(Output::Answer { key, result });
    }

    /// The sockets have something to say.
    pub(super) fn effect(&mut self, event: NamesEvent, out: &mut Out) {
        let Some(key) = self.maker.take() else {
            return;
        };
        match event {
            NamesEvent::Serving(addr) => {
                self.addr = addr;
                out.push_back(Output::Answer { key, result: Ok(Reply::Done) });
            }
            NamesEvent::Failed { errno } => {
                let error = Error::new(ErrorKind::BindFailed(errno), format!("{}", self.addr));
                out.push_back(Output::Answer { key, result: Err(error) });
                out.push_back(Output::Vacate(self.id));
            }
        }
    }

    /// It was removed.
    pub(super) fn abort(&mut self, out: &mut Out) {
        if let Some(key) = self.maker.take() {
            out.push_back(Output::Answer { key, result: Err(ErrorKind::Aborted.into()) });
        }
        self.order(Names::Close, out);
    }

    /// Changes the records, and says so to who answers from them.
    fn change(&mut self, out: &mut Out, act: impl FnOnce(&mut Zone) -> Result<(), Error>) -> Result<Reply, Error> {
        act(Arc::make_mut(&mut self.zone))?;
        self.order(Names::Answer(self.zone.clone()), out);
        Ok(Reply::Done)
    }

    fn stat(&self) -> NameserverStat {
        NameserverStat { addr: self.addr, records: self.zone.records().collect() }
    }

    fn order(&self, what: Names, out: &mut Out) {
        out.push_back(Output::Effect(Effect::Names { id: self.id, what }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seq: u64) -> CallKey {
        CallKey { registration: 1, seq }
    }

    fn made() -> (Nameserver, Out) {
        let (mut out, addr) = (Out::new(), SocketAddr::from(([127, 0, 0, 1], 0)));
        let nameserver = Nameserver::new(ElementId(7), key(1), addr, &mut out);
        let serve = Effect::Names { id: ElementId(7), what: Names::Serve(addr) };
        assert_eq!(out.pop_front(), Some(Output::Effect(serve)));
        (nameserver, out)
    }

    fn served() -> (Nameserver, Out) {
        let (mut nameserver, mut out) = made();
        nameserver.effect(NamesEvent::Serving(([127, 0, 0, 1], 53).into()), &mut out);
        assert_eq!(out.pop_front(), Some(Output::Answer { key: key(1), result: Ok(Reply::Done) }));
        (nameserver, out)
    }

    fn set(seq: u64, text: &str, nameserver: &mut Nameserver, out: &mut Out) {
        let op = Op::Set { path: "dns".parse().unwrap(), record: text.parse().unwrap() };
        nameserver.start(key(seq), &op, out);
    }

    fn answer(out: &mut Out) -> Result<Reply, ErrorKind> {
        match out.pop_front() {
            Some(Output::Answer { result, .. }) => result.map_err(|error| error.kind),
            other => panic!("no answer: {other:?}"),
        }
    }

    #[test]
    fn it_is_there_once_it_is_served_and_knows_where() {
        let (mut nameserver, mut out) = made();
        set(2, "a.b. IN A 10.0.0.1", &mut nameserver, &mut out);
        assert_eq!(answer(&mut out), Err(ErrorKind::NotFound));
        let (mut nameserver, mut out) = served();
        nameserver.start(key(2), &Op::Peek("dns".parse().unwrap()), &mut out);
        let stat = NameserverStat { addr: ([127, 0, 0, 1], 53).into(), records: [].into() };
        assert_eq!(answer(&mut out), Ok(Reply::Stat(Box::new(Stat::Nameserver(stat)))));
    }

    #[test]
    fn one_that_cannot_be_served_leaves_nothing() {
        let (mut nameserver, mut out) = made();
        nameserver.effect(NamesEvent::Failed { errno: 98 }, &mut out);
        assert_eq!(answer(&mut out), Err(ErrorKind::BindFailed(98)));
        assert_eq!(out.pop_front(), Some(Output::Vacate(ElementId(7))));
    }

    #[test]
    fn a_change_reaches_the_sockets_before_it_is_done() {
        let (mut nameserver, mut out) = served();
        set(2, "a.b. IN A 10.0.0.1", &mut nameserver, &mut out);
        let Some(Output::Effect(Effect::Names { what: Names::Answer(zone), .. })) = out.pop_front() else {
            panic!("no records: {out:?}");
        };
        assert_eq!((zone.records().count(), answer(&mut out)), (1, Ok(Reply::Done)));
        set(3, "a.b. IN CNAME c.", &mut nameserver, &mut out);
        assert_eq!(answer(&mut out), Err(ErrorKind::Invalid));
        let unset = Op::Unset { path: "dns".parse().unwrap(), name: "A.B".parse().unwrap() };
        nameserver.start(key(4), &unset, &mut out);
        assert!(matches!(out.pop_front(), Some(Output::Effect(_))));
        assert_eq!(answer(&mut out), Ok(Reply::Done));
        nameserver.start(key(5), &unset, &mut out);
        assert_eq!(answer(&mut out), Err(ErrorKind::NotFound));
        assert_eq!(zone.records().count(), 1, "what the sockets have does not change under them");
    }

    #[test]
    fn one_that_is_removed_closes_its_sockets() {
        let (mut nameserver, mut out) = made();
        nameserver.abort(&mut out);
        assert_eq!(answer(&mut out), Err(ErrorKind::Aborted));
        assert_eq!(out.pop_front(), Some(Output::Effect(Effect::Names { id: ElementId(7), what: Names::Close })));
        nameserver.effect(NamesEvent::Serving(([127, 0, 0, 1], 53).into()), &mut out);
        assert_eq!(out.pop_front(), None);
    }
}
