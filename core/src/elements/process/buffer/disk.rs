//! Output on disk, with a disk that is a list of bytes.

use alloc::{collections::VecDeque, vec, vec::Vec};

use proptest::prelude::*;

use super::{
    tests::{key, text, written},
    *,
};

const ID: ElementId = ElementId(7);
const NO_SPACE: i32 = 28;

fn buffer(limit: u64) -> Buffer {
    Buffer { limit, ..Buffer::new(ID, Stdio::Out, OutputSpec::File) }
}

/// A disk, and what was asked of it.
#[derive(Default)]
struct Disk {
    bytes: Vec<u8>,
    gone: u64,
    asked: VecDeque<(u64, u64)>,
}

impl Disk {
    /// Takes the effects out of `out`.
    fn hear(&mut self, out: &mut Out) {
        out.retain(|output| {
            match output {
                Output::Effect(Effect::Fetch { from, len, .. }) => self.asked.push_back((*from, *len)),
                Output::Effect(Effect::Forget { before, .. }) => self.gone = *before,
                _ => return true,
            }
            false
        });
    }

    /// Answers the oldest question.
    fn answer(&mut self, buffer: &mut Buffer, out: &mut Out) {
        if let Some((from, len)) = self.asked.pop_front() {
            assert!(from + len <= self.bytes.len() as u64, "never written");
            let bytes = Bytes::copy_from_slice(&self.bytes[from as usize..(from + len) as usize]);
            buffer.fetched(from, Ok(bytes), out);
        }
    }
}

fn failed(out: &Out, reader: u64) -> bool {
    let error = |output: &Output| matches!(output, Output::Answer { key: of, result: Err(Error { kind: ErrorKind::DiskFailed(NO_SPACE), .. }) } if *of == key(reader));
    out.iter().any(error)
}

#[test]
fn what_is_on_disk_is_fetched_once_for_all_who_are_at_one_place() {
    let (mut buffer, mut out) = (buffer(1_000), Out::new());
    buffer.stored(300, &mut out);
    for reader in [1, 2] {
        buffer.open(key(reader), false, &mut out);
    }
    assert_eq!(out, [Output::Effect(Effect::Fetch { id: ID, of: Stdio::Out, from: 0, len: 300 })]);
    buffer.finish(&mut out);
    buffer.fetched(0, Ok(written(0, 300)), &mut out);
    for reader in [1, 2] {
        assert_eq!(text(&out, reader), (written(0, 300).to_vec(), true));
    }
}

#[test]
fn what_was_read_is_given_back_when_there_is_too_much() {
    let (mut buffer, mut out) = (buffer(6_400), Out::new());
    buffer.stored(6_400, &mut out);
    buffer.open(key(1), false, &mut out);
    buffer.fetched(0, Ok(written(0, 6_400)), &mut out);
    out.clear();
    buffer.acked(key(1), 1_000, &mut out);
    assert_eq!(buffer.new_room(), Some(7_400));
    buffer.stored(99, &mut out);
    assert_eq!(buffer.base, 99);
    assert!(!out.iter().any(|output| matches!(output, Output::Effect(Effect::Forget { .. }))), "too little");
    buffer.stored(901, &mut out);
    assert!(out.contains(&Output::Effect(Effect::Forget { id: ID, of: Stdio::Out, before: 1_000 })));
}

#[test]
fn who_has_read_all_hears_that_no_more_can_be_stored_and_later_it_goes_on() {
    let (mut buffer, mut out) = (buffer(1_000), Out::new());
    buffer.open(key(1), false, &mut out);
    buffer.stored(10, &mut out);
    buffer.stall(NO_SPACE, &mut out);
    assert!(!failed(&out, 1), "it has not had what is there");
    buffer.fetched(0, Ok(written(0, 10)), &mut out);
    assert!(text(&out, 1).0 == written(0, 10) && failed(&out, 1));
    buffer.stored(10, &mut out);
    buffer.open(key(2), true, &mut out);
    buffer.finish(&mut out);
    assert_eq!((text(&out, 2), failed(&out, 2)), ((vec![], true), false));
}

#[test]
fn what_was_read_makes_room_on_a_full_disk() {
    let (mut buffer, mut out) = (buffer(1_000), Out::new());
    buffer.open(key(1), false, &mut out);
    buffer.stored(10, &mut out);
    buffer.fetched(0, Ok(written(0, 10)), &mut out);
    buffer.acked(key(1), 7, &mut out);
    buffer.stall(NO_SPACE, &mut out);
    assert!(out.contains(&Output::Effect(Effect::Forget { id: ID, of: Stdio::Out, before: 7 })));
    assert!(!failed(&out, 1), "there may be room now");
    buffer.stall(NO_SPACE, &mut out);
    assert!(failed(&out, 1), "there is not");
}

#[test]
fn who_cannot_have_what_is_on_disk_hears_so() {
    let (mut buffer, mut out) = (buffer(1_000), Out::new());
    buffer.stored(10, &mut out);
    buffer.open(key(1), false, &mut out);
    buffer.fetched(0, Err(NO_SPACE), &mut out);
    assert!(failed(&out, 1) && buffer.readers().next().is_none());
}

proptest! {
    #[test]
    fn every_reader_gets_what_is_on_disk_less_what_it_is_told_that_it_missed(
        steps in prop::collection::vec((0_u8..5, 1_u64..150_000), 1..80),
    ) {
        let (mut buffer, mut out) = (buffer(300_000), Out::new());
        let mut disk = Disk::default();
        buffer.open(key(1), false, &mut out);
        buffer.open(key(2), false, &mut out);
        let (mut got, mut sent) = ([0; 2], [0; 2]);
        for (what, amount) in steps {
            let end = disk.bytes.len() as u64;
            match what {
                0 => {
                    let bytes = written(end, (end + amount).min(buffer.room_until()));
                    disk.bytes.extend_from_slice(&bytes);
                    if !bytes.is_empty() {
                        buffer.stored(bytes.len() as u64, &mut out);
                    }
                }
                reader @ (1 | 2) => {
                    let got = got[usize::from(reader) - 1] as u64;
                    let acked = if reader == 1 { got } else { amount.min(got / 2) };
                    buffer.acked(key(u64::from(reader)), acked, &mut out);
                }
                _ => disk.answer(&mut buffer, &mut out),
            }
            disk.hear(&mut out);
            prop_assert!(buffer.len() <= 300_000 && disk.gone <= buffer.base);
            // The disk does as it is told in that order.
            prop_assert!(disk.asked.iter().all(|(from, _)| *from >= disk.gone || *from < buffer.base));
            // What a reader does not get is left out after what it gets in one
            // step, never within.
            for (index, reader) in buffer.readers.iter().enumerate() {
                let (text, _) = text(&out, index as u64 + 1);
                let from = usize::try_from(sent[index]).unwrap();
                got[index] += text.len();
                sent[index] = reader.sent;
                prop_assert_eq!(got[index] as u64 + reader.missed, reader.sent);
                prop_assert!(text == disk.bytes[from..from + text.len()], "other bytes than were written");
            }
            out.clear();
        }
    }
}
