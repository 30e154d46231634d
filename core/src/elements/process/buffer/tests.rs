use alloc::vec;

use proptest::prelude::*;

use super::*;

pub(super) fn key(seq: u64) -> CallKey {
    CallKey { registration: 1, seq }
}

fn buffer(policy: OutputSpec) -> Buffer {
    Buffer::new(ElementId(7), Stdio::Out, policy)
}

/// What one reader got.
pub(super) fn text(out: &Out, reader: u64) -> (Vec<u8>, bool) {
    let (mut text, mut ended) = (Vec::new(), false);
    for output in out {
        if let Output::Write { key: of, bytes, end } = output
            && *of == key(reader)
        {
            text.extend_from_slice(bytes);
            ended |= end;
        }
    }
    (text, ended)
}

#[test]
fn what_nobody_has_read_is_kept_and_the_process_waits() {
    let (mut buffer, mut out) = (buffer(OutputSpec::Block), Out::new());
    buffer.push(Bytes::from(vec![1; MAX_OUTPUT as usize]), &mut out);
    assert_eq!(buffer.room_until(), MAX_OUTPUT);
    buffer.open(key(1), false, &mut out);
    buffer.acked(key(1), 1_000, &mut out);
    assert_eq!((buffer.room_until(), buffer.len()), (MAX_OUTPUT + 1_000, MAX_OUTPUT));
    buffer.push(Bytes::from(vec![2; 1_000]), &mut out);
    assert_eq!(buffer.len(), MAX_OUTPUT);
}

#[test]
fn output_can_be_read_after_the_end_and_twice() {
    let (mut buffer, mut out) = (buffer(OutputSpec::Block), Out::new());
    buffer.push(Bytes::from_static(b"hello"), &mut out);
    buffer.finish(&mut out);
    for reader in [1, 2] {
        buffer.open(key(reader), false, &mut out);
        assert_eq!(text(&out, reader), (b"hello".to_vec(), true));
        buffer.acked(key(reader), 6, &mut out);
        assert_eq!(out.back(), Some(&Output::Answer { key: key(reader), result: Ok(Reply::Read { missed: 0 }) }));
    }
    buffer.open(key(3), true, &mut out);
    assert_eq!(text(&out, 3), (vec![], true));
}

#[test]
fn a_reader_that_comes_too_late_is_told_how_much_it_missed() {
    let (mut buffer, mut out) = (buffer(OutputSpec::Block), Out::new());
    buffer.open(key(1), false, &mut out);
    buffer.push(Bytes::from(vec![1; 5_000]), &mut out);
    buffer.acked(key(1), 5_000, &mut out);
    buffer.push(Bytes::from(vec![2; MAX_OUTPUT as usize]), &mut out);
    buffer.finish(&mut out);
    buffer.open(key(2), false, &mut out);
    for acked in [400_000, 800_000, MAX_OUTPUT, MAX_OUTPUT + 1] {
        buffer.acked(key(2), acked, &mut out);
    }
    assert_eq!(text(&out, 2).0.len() as u64, MAX_OUTPUT);
    assert_eq!(out.back(), Some(&Output::Answer { key: key(2), result: Ok(Reply::Read { missed: 5_000 }) }));
}

/// What a process writes from one offset to another.
pub(super) fn written(from: u64, to: u64) -> Bytes {
    (from..to).map(|n| (n.wrapping_mul(0x9e37_79b9) >> 16) as u8).collect()
}

#[test]
fn a_process_that_is_never_to_wait_loses_the_oldest_and_readers_hear_how_much() {
    let (mut buffer, mut out) = (buffer(OutputSpec::Drop), Out::new());
    buffer.open(key(1), false, &mut out);
    assert_eq!((buffer.new_room(), buffer.new_room()), (Some(u64::MAX), None));
    for from in [0, 1, 2].map(|times| times * MAX_OUTPUT) {
        buffer.push(written(from, from + MAX_OUTPUT), &mut out);
    }
    assert_eq!(buffer.len(), MAX_OUTPUT);
    buffer.finish(&mut out);
    buffer.acked(key(1), MAX_OUTPUT, &mut out);
    buffer.acked(key(1), 2 * MAX_OUTPUT, &mut out);
    let (text, ended) = text(&out, 1);
    let whole = written(0, 3 * MAX_OUTPUT);
    // It was sent the first at once, and the last when it had read that.
    let (first, last) = whole.split_at(whole.len() * 2 / 3);
    assert!(
        ended && text[..MAX_OUTPUT as usize] == first[..MAX_OUTPUT as usize] && text[MAX_OUTPUT as usize..] == *last
    );
    buffer.acked(key(1), 2 * MAX_OUTPUT + 1, &mut out);
    let result = Ok(Reply::Read { missed: MAX_OUTPUT });
    assert_eq!(out.back(), Some(&Output::Answer { key: key(1), result }));
}

proptest! {
    #[test]
    fn every_reader_gets_the_output_less_what_it_is_told_that_it_missed(
        drops: bool,
        steps in prop::collection::vec((0_u8..4, 1_u64..300_000), 1..60),
    ) {
        let policy = if drops { OutputSpec::Drop } else { OutputSpec::Block };
        let (mut buffer, mut out) = (buffer(policy), Out::new());
        buffer.open(key(1), false, &mut out);
        buffer.open(key(2), false, &mut out);
        let mut wrote: Vec<u8> = vec![];
        let mut got = [0; 2];
        for (what, amount) in steps {
            match what {
                // The slow reader acknowledges little of what it has, the fast one all.
                0 => {
                    let from = wrote.len() as u64;
                    let to = (from + amount).min(buffer.room_until());
                    let bytes = written(from, to);
                    wrote.extend_from_slice(&bytes);
                    buffer.push(bytes, &mut out);
                    prop_assert!(!drops || to == from + amount, "it had to wait");
                }
                reader @ (1 | 2) => {
                    let got = got[usize::from(reader) - 1] as u64;
                    let acked = if reader == 1 { got } else { amount.min(got / 2) };
                    buffer.acked(key(u64::from(reader)), acked, &mut out);
                }
                _ => {}
            }
            prop_assert!(buffer.len() <= MAX_OUTPUT);
            // What a reader does not get is left out before what it gets in
            // one step, never within.
            for (index, reader) in buffer.readers.iter().enumerate() {
                let (text, _) = text(&out, index as u64 + 1);
                let sent = usize::try_from(reader.sent).unwrap();
                got[index] += text.len();
                prop_assert_eq!(got[index] as u64 + reader.missed, reader.sent);
                prop_assert!(text == wrote[sent - text.len()..sent], "other bytes than were written");
            }
            out.clear();
        }
    }
}
