//! What is asked, as a packet has it.

use super::{
    name,
    record::{AXFR, FIXED, IXFR, OPT},
};

/// The bytes before the question.
pub(super) const HEADER: usize = 12;

/// What a reply says of itself; the numbers of RFC 1035 and RFC 6891.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rcode {
    NoError = 0,
    FormErr = 1,
    NxDomain = 3,
    NotImp = 4,
    Refused = 5,
    BadVers = 16,
}

/// What the asker can take (RFC 6891).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edns {
    /// The longest datagram.
    pub(super) size: u16,
    /// The bit that asks for signatures, which is sent back.
    pub(super) signed: bool,
    version: u8,
}

/// A question, and what can be asked of the reply.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query<'a> {
    /// The name, with the case that it was asked in.
    pub(super) name: &'a [u8],
    pub(super) kind: u16,
    pub(super) class: u16,
    pub(super) edns: Option<Edns>,
}

/// What is to become of a packet.
#[derive(Debug)]
pub(super) enum Parsed<'a> {
    /// There is nothing to say.
    Drop,
    /// It is refused, and its question not repeated; what the asker can take is
    /// there if it could be read.
    Bad(Rcode, Option<Edns>),
    /// It is refused.
    Refused(Query<'a>, Rcode),
    /// It is answered.
    Query(Query<'a>),
}

/// Reads a packet.
pub(super) fn parse(packet: &[u8]) -> Parsed<'_> {
    let Some((&[_, _, flags, _, q0, q1, an0, an1, ns0, ns1, ar0, ar1], rest)) = packet.split_first_chunk::<HEADER>()
    else {
        return Parsed::Drop;
    };
    const { assert!(HEADER == 12) };
    // An answer to an answer would go on for ever.
    if flags & 0x80 != 0 {
        return Parsed::Drop;
    }
    let questions = u16::from_be_bytes([q0, q1]);
    let before = u32::from(u16::from_be_bytes([an0, an1])) + u32::from(u16::from_be_bytes([ns0, ns1]));
    let all = before + u32::from(u16::from_be_bytes([ar0, ar1]));
    let mut edns = None;
    let query = read(rest, questions, before, all, &mut edns);
    match (flags >> 3 & 0xf, query) {
        (0, Some(query)) => judge(Query { edns, ..query }),
        (0, None) => Parsed::Bad(Rcode::FormErr, edns),
        (5, _) => Parsed::Bad(Rcode::Refused, edns), // an update
        _ => Parsed::Bad(Rcode::NotImp, edns),
    }
}

/// What is to become of a packet in good form.
fn judge(query: Query<'_>) -> Parsed<'_> {
    match query {
        Query { edns: Some(Edns { version: 1.., .. }), .. } => Parsed::Refused(query, Rcode::BadVers),
        Query { kind: AXFR | IXFR, .. } => Parsed::Refused(query, Rcode::Refused),
        Query { kind: OPT, .. } => Parsed::Bad(Rcode::FormErr, query.edns),
        // What is no type of records (RFC 6895), but for ANY.
        Query { kind: 0 | 128..=254, .. } => Parsed::Refused(query, Rcode::NotImp),
        query => Parsed::Query(query),
    }
}

/// Reads what follows the header, with so many questions and records, some of
/// them before the last section. Nothing comes of it if there is not one
/// question or anything is amiss, but for the OPT that came before that: its
/// reply has one too (RFC 6891, 6.1.1).
fn read<'a>(mut rest: &'a [u8], questions: u16, before: u32, all: u32, edns: &mut Option<Edns>) -> Option<Query<'a>> {
    let mut query = None;
    for _ in 0..questions {
        let (question, after) = read_question(rest)?;
        (query, rest) = (Some(question), after);
    }
    for number in 0..all {
        let (kind, opt, after) = read_record(rest)?;
        rest = after;
        if kind != OPT {
            continue;
        }
        if edns.is_some() || number < before {
            return None;
        }
        *edns = Some(opt?);
    }
    query.filter(|_| questions == 1 && rest.is_empty())
}

fn read_question(rest: &[u8]) -> Option<(Query<'_>, &[u8])> {
    // There is nothing before it that it could point to.
    let (name, rest) = rest.split_at_checked(name::length(rest)?)?;
    let (&[a, b, c, d], rest) = rest.split_first_chunk()?;
    let (kind, class) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    Some((Query { name, kind, class, edns: None }, rest))
}

/// The type of a record, what it says if it is an OPT in good form, and what
/// follows it.
fn read_record(rest: &[u8]) -> Option<(u16, Option<Edns>, &[u8])> {
    let (root, rest) = (rest.first() == Some(&0), skip_name(rest)?);
    let (&[a, b, c, d, _, version, high, _, i, j], rest) = rest.split_first_chunk::<FIXED>()?;
    let (data, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([i, j])))?;
    let edns = Edns { size: u16::from_be_bytes([c, d]), signed: high & 0x80 != 0, version };
    Some((u16::from_be_bytes([a, b]), (root && are_options(data)).then_some(edns), rest))
}

/// What follows a name, which may be compressed.
fn skip_name(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        let (&first, after) = rest.split_first()?;
        match first {
            0 => return Some(after),
            1..=63 => rest = after.get(usize::from(first)..)?,
            192.. => return after.get(1..),
            _ => return None,
        }
    }
}

fn are_options(mut data: &[u8]) -> bool {
    while !data.is_empty() {
        let Some((&[_, _, a, b], rest)) = data.split_first_chunk() else { return false };
        let Some(rest) = rest.get(usize::from(u16::from_be_bytes([a, b]))..) else { return false };
        data = rest;
    }
    true
}
