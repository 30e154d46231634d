//! Records as people write them.

use alloc::{format, string::ToString, vec, vec::Vec};

use proptest::prelude::*;

use super::*;
use crate::{codec, dns::MAX_DATA};

fn printed(text: &str) -> String {
    match text.parse::<Record>() {
        Ok(record) => record.to_string(),
        Err(bad) => bad.to_string(),
    }
}

#[test]
fn records_are_read_and_printed() {
    for (text, shown) in [
        ("miek.nl. 3600 IN MX 10 mx.miek.nl.", "miek.nl.\t3600\tIN\tMX\t10 mx.miek.nl."),
        ("miek.nl A 10.0.0.1", "miek.nl.\t3600\tIN\tA\t10.0.0.1"),
        ("a. in 1h30m aaaa 2001:DB8::1", "a.\t5400\tIN\tAAAA\t2001:db8::1"),
        ("\ta.\t1w\ttxt\tone \"two ; three\" ; four", "a.\t604800\tIN\tTXT\t\"one\" \"two ; three\""),
        ("a. 0 TXT \"say \\\"hi\\\"\\065\\000\" ü", "a.\t0\tIN\tTXT\t\"say \\\"hi\\\"A\\000\" \"\\195\\188\""),
        ("a. TXT \"\"", "a.\t3600\tIN\tTXT\t\"\""),
        ("_x._tcp.a. SRV 0 5 5060 s.a.", "_x._tcp.a.\t3600\tIN\tSRV\t0 5 5060 s.a."),
        ("a. CAA 128 issue \"ca.example; policy=ev\"", "a.\t3600\tIN\tCAA\t128 issue \"ca.example; policy=ev\""),
        ("a. SOA ns.a. me.a. ( 1 ; serial\n 2h 15m\n1d 60 )", "a.\t3600\tIN\tSOA\tns.a. me.a. 1 7200 900 86400 60"),
        ("a. NAPTR 1 2 \"S\" \"x\" \"!^.*$!\\\\1!\" .", "a.\t3600\tIN\tNAPTR\t1 2 \"S\" \"x\" \"!^.*$!\\\\1!\" ."),
        ("a. HINFO PC Linux", "a.\t3600\tIN\tHINFO\t\"PC\" \"Linux\""),
        ("a. TLSA 3 1 1 AbCd 01", "a.\t3600\tIN\tTLSA\t3 1 1 abcd01"),
        ("a\\.b.\\065\\032c. NS ns\\@.x.", "a\\.b.A\\032c.\t3600\tIN\tNS\tns\\@.x."),
        ("*.A.b. PTR .", "*.A.b.\t3600\tIN\tPTR\t."),
        ("a. TYPE65280 \\# 3 0102 ff", "a.\t3600\tIN\tTYPE65280\t\\# 3 0102ff"),
        ("a. TYPE65280 \\# 0", "a.\t3600\tIN\tTYPE65280\t\\# 0"),
        ("a. TYPE1 \\# 4 0a000001", "a.\t3600\tIN\tA\t10.0.0.1"),
        ("a. CLASS1 A 10.0.0.1", "column 4: no type of records is called 'CLASS1'"),
    ] {
        assert_eq!(printed(text), shown, "{text}");
    }
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let (label, many) = ("x".repeat(64), "x.".repeat(128));
    let (token, text) = ("x".repeat(4_096), "x".repeat(200_000));
    for (text, says) in [
        ("", "column 1: the record is missing"),
        ("  ; nothing", "column 12: the record is missing"),
        ("a. 60 IN", "column 9: the type is missing"),
        ("a. 60 IN A", "column 11: IPv4 address is missing"),
        ("a. A 10.0.0", "column 6: '10.0.0' is no IPv4 address"),
        ("a. A 10.0.0.256", "column 6: '10.0.0.256'"),
        ("a. AAAA 10.0.0.1", "column 9: '10.0.0.1' is no IPv6 address"),
        ("a. A 10.0.0.1 10.0.0.2", "column 15: '10.0.0.2' is too many"),
        ("a. 2147483648 A 10.0.0.1", "column 4: '2147483648' is no number of seconds up to 2147483647"),
        ("a. 99999999999999999999 A 10.0.0.1", "column 4:"),
        ("a. 1x A 10.0.0.1", "column 4: '1x' is no number of seconds"),
        ("a. -1 A 10.0.0.1", "column 4: no type of records is called '-1'"),
        ("a. CH TXT x", "column 4: records are of class IN"),
        ("a. NOPE x", "column 4: no type of records is called 'NOPE'"),
        ("a. MX 65536 b.", "column 7: '65536' is no number up to 65535"),
        ("a. MX 10", "column 9: a name is missing"),
        ("a..b. A 10.0.0.1", "column 3: a label is empty"),
        (".a. A 10.0.0.1", "column 1: a label is empty"),
        ("@ A 10.0.0.1", "column 1: '@' stands for an origin"),
        ("bücher.de. A 10.0.0.1", "column 2: a name must be ASCII"),
        (&format!("{label}. A 10.0.0.1"), "column 64: a label is over 63 bytes"),
        (&format!("{many} A 10.0.0.1"), "column 1: the name is over 255 bytes"),
        (&format!("a. NS b.{label}."), "column 72: a label is over 63 bytes"),
        (&format!("a. TXT {token}"), "column 263: a string is over 255 bytes"),
        (&format!("a. TXT {text}"), "the text of a record is over"),
        ("a. TXT \"open", "column 8: this quote is not closed"),
        ("a. TXT \\25", "column 8: after '\\' stands"),
        ("a. TXT \\256", "column 8: after '\\' stands"),
        ("a. TXT \\", "column 8: after '\\' stands"),
        ("a. TXT", "column 7: a string is missing"),
        ("a. SOA b. c. (1 2 3 4 5", "column 14: this parenthesis"),
        ("a. A 10.0.0.1 )", "column 15: this parenthesis"),
        ("a. TLSA 3 1 1", "column 14: the hexadecimal digits are missing"),
        ("a. TLSA 3 1 1 xy", "column 15: 'xy' is not hexadecimal"),
        ("a. TLSA 3 1 1 abc", "column 18: half a byte is missing"),
        ("a. TYPE65280 \\# 2 01", "column 17: the data has 1 bytes"),
        ("a. TYPE65280 x", "column 4: this type has no notation here"),
        ("a. SSHFP \\# 2 0101", "column 4: this is no data of type SSHFP"),
        ("a. A \\# 3 010203", "column 4: this is no data of type A"),
        ("a. CAA 0 no-letters x", "column 4: this is no data of type CAA"),
        ("a. TYPE39 \\# 1 00", "column 4: records of type TYPE39 cannot be set"),
        ("a. TYPE41 \\# 0", "column 4: records of type TYPE41 cannot be set"),
        ("a. TYPE255 \\# 0", "column 4: records of type TYPE255 cannot be set"),
        ("a. TYPE70000 \\# 0", "column 4: no type of records"),
    ] {
        let error = text.parse::<Record>().map_err(|bad| bad.to_string()).expect_err(text);
        assert!(error.contains(says), "{text}: {error}");
    }
}

#[test]
fn bytes_that_are_no_record_are_refused() {
    let good = "a.b. 60 IN MX 10 c.".parse::<Record>().unwrap().to_wire();
    assert!(Record::from_wire(&good).is_ok());
    for at in 0..good.len() {
        assert!(Record::from_wire(&good[..at]).is_err(), "{at}");
    }
    let longer = [&good[..], &[0]].concat();
    // Where the class, the TTL, the length of the data and its name stand.
    for (place, byte) in [(7, 1), (8, 2), (9, 0x80), (14, 9), (17, 0xc0)] {
        let mut bad = good.clone();
        bad[place] = byte;
        assert!(Record::from_wire(&bad).is_err(), "{place}");
    }
    assert!(Record::from_wire(&longer).is_err());
    let data = vec![0; MAX_DATA + 1];
    assert!(Record::new("a.".parse().unwrap(), 65_280, 0, &data).is_err());
}

proptest! {
    #[test]
    fn what_is_printed_is_read_again(record in record()) {
        prop_assert_eq!(record.to_string().parse::<Record>().unwrap(), record.clone());
        prop_assert_eq!(Record::from_wire(&record.to_wire()).unwrap(), record.clone());
        let mut bytes = Vec::new();
        codec::encode(&record, &mut bytes);
        prop_assert_eq!(codec::decode_whole::<Record>(&bytes).unwrap(), record.clone());
        let other = plain(&record);
        prop_assert_eq!((u16::from(other.record_type()), other.ttl), (record.kind, record.ttl));
    }

    #[test]
    fn any_text_and_any_bytes_are_read_or_refused(text in "\\PC{0,80}", bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        if let Ok(record) = text.parse::<Record>() {
            prop_assert_eq!(record.to_string().parse::<Record>(), Ok(record));
        }
        if let Ok(record) = Record::from_wire(&bytes) {
            prop_assert_eq!(record.to_wire(), bytes);
        }
    }

    #[test]
    fn a_key_is_a_prefix_of_those_beneath(name in name(), label in "[a-z]{1,9}") {
        use crate::dns::name::Key;
        let mut beneath = vec![label.len() as u8];
        beneath.extend(label.bytes());
        beneath.extend(&name);
        let (key, beneath) = (Key::of(&name), Key::of(&beneath));
        prop_assert!(beneath.as_slice().starts_with(key.as_slice()));
        prop_assert_eq!(beneath.top(key.labels()), key.as_slice());
        prop_assert_eq!(beneath.labels(), key.labels() + 1);
    }
}
