use alloc::{string::String, vec::Vec};

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Sample {
    Empty,
    Flag(bool),
    Number(u64),
    Text(String),
    List(#[serde(deserialize_with = "list::bounded::<4, _, _>")] Vec<u32>),
}

fn sample() -> impl Strategy<Value = Sample> {
    prop_oneof![
        Just(Sample::Empty),
        any::<bool>().prop_map(Sample::Flag),
        any::<u64>().prop_map(Sample::Number),
        any::<String>().prop_map(Sample::Text),
        prop::collection::vec(any::<u32>(), 0..=4).prop_map(Sample::List),
    ]
}

fn encoded(value: &Sample) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(value, &mut bytes);
    bytes
}

fn error(bytes: &[u8]) -> DecodeError {
    decode_whole::<Sample>(bytes).unwrap_err()
}

#[test]
fn every_bad_value_is_named_with_its_place() {
    assert_eq!(error(&[]), DecodeError { what: "a value cut short", offset: 0 });
    assert_eq!(error(&[9]), DecodeError { what: "an unknown tag or a value out of range", offset: 1 });
    assert_eq!(error(&[1, 2]), DecodeError { what: "a boolean that is not 0 or 1", offset: 2 });
    assert_eq!(error(&[2, 0x80, 0x00]), DecodeError { what: "a value that is not in its shortest form", offset: 1 });
    assert_eq!(error(&[3, 1, 0xff]), DecodeError { what: "text that is not UTF-8", offset: 3 });
    assert_eq!(error(&[0, 7]), DecodeError { what: "bytes after the value", offset: 1 });
    assert_eq!(error(&[4, 5, 1, 1, 1, 1, 1]).what, "an unknown tag or a value out of range");
}

#[test]
fn a_claimed_length_of_two_to_the_forty_costs_nothing() {
    let mut bytes = alloc::vec![3, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20];
    assert_eq!(error(&bytes).what, "a value cut short");
    bytes[0] = 4;
    assert_eq!(error(&bytes).what, "a value cut short");
}

proptest! {
    #[test]
    fn what_is_written_reads_back(value in sample()) {
        prop_assert_eq!(decode_whole::<Sample>(&encoded(&value)), Ok(value));
    }

    #[test]
    fn whatever_reads_is_the_only_spelling(bytes in prop::collection::vec(any::<u8>(), 0..24)) {
        if let Ok(value) = decode_whole::<Sample>(&bytes) {
            prop_assert_eq!(encoded(&value), bytes);
        }
    }

    #[test]
    fn a_value_cut_short_never_reads(value in sample(), cut: prop::sample::Index) {
        let bytes = encoded(&value);
        prop_assert!(decode_whole::<Sample>(&bytes[..cut.index(bytes.len())]).is_err());
    }
}
