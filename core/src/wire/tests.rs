use alloc::vec::Vec;

use proptest::prelude::*;

use super::{route::*, *};
use crate::{Epoch, ServerId};

pub(crate) fn any_frame() -> impl Strategy<Value = Frame> {
    let route = (any::<bool>(), any::<bool>(), 0..=MAX_HOPS, any::<[u64; 3]>()).prop_map(
        |(to_client, bulk, hops, [host, via, session])| {
            let to = if to_client { End::Client } else { End::Host };
            let route = Route { to, bulk, hops, host: ServerId(host), via: ServerId(via), session };
            if host % 2 == 0 { route.at_client() } else { route }
        },
    );
    let hello = any::<(u32, u64, bool)>().prop_map(|(start, id, v6)| Hello {
        epoch: Epoch { start, rise: 1 },
        addr: if v6 { "[fe80::1]:9" } else { "10.0.0.1:7" }.parse().unwrap(),
        others: alloc::vec![(ServerId(id), "[::1]:1".parse().unwrap()); (id % 9) as usize],
    });
    let lost = (route.clone(), 0_usize..4).prop_map(|(route, loss)| {
        Frame::Lost(route, [Loss::Reset, Loss::Unreachable, Loss::Gone, Loss::NotFound][loss])
    });
    prop_oneof![
        hello.prop_map(Frame::Hello),
        lost,
        Just(Frame::Close(CloseReason::Slow)),
        any::<u64>().prop_map(Frame::Ping),
        any::<u64>().prop_map(Frame::Pong),
        (route, prop::collection::vec(any::<u8>(), 0..300))
            .prop_map(|(route, body)| Frame::Packet(route, Load::Encoded(body.into()))),
    ]
}

fn record(frames: &[Frame]) -> Bytes {
    let mut out = Vec::new();
    for frame in frames {
        frame.encode(&mut out);
    }
    Bytes::from(out)
}

proptest! {
    #[test]
    fn the_frames_of_a_record_read_back(frames in prop::collection::vec(any_frame(), 1..8)) {
        let mut record = record(&frames);
        for frame in frames {
            prop_assert_eq!(Frame::decode(&mut record), Ok(frame));
        }
        prop_assert!(record.is_empty());
    }

    #[test]
    fn any_bytes_are_frames_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut rest = Bytes::from(bytes.clone());
        let mut again = Vec::new();
        while let Ok(frame) = Frame::decode(&mut rest) {
            frame.encode(&mut again);
        }
        prop_assert!(bytes.starts_with(&again), "whatever parses has one spelling");
    }
}

#[test]
fn a_frame_that_reaches_past_its_record_is_refused() {
    let mut record = record(&[Frame::Ping(7)]).slice(..3);
    assert_eq!(Frame::decode(&mut record).unwrap_err().what, "a frame longer than its record");
}

#[test]
fn trailing_bytes_in_a_body_are_refused() {
    let mut record = Bytes::from_static(&[0, 2, 2, 7, 7]);
    assert_eq!(Frame::decode(&mut record), Err(DecodeError { what: "bytes after the value", offset: 4 }));
}
