//! What the records of a name server say.

use alloc::{format, string::ToString, vec, vec::Vec};

use hickory_proto::{
    op::ResponseCode,
    rr::{Record as Other, RecordType},
};

use super::*;
use crate::{
    ErrorKind,
    dns::{MAX_RECORDS, record::ANY},
};

const A: u16 = 1;
const NS: u16 = 2;
const CNAME: u16 = 5;
const SOA: u16 = 6;
const MX: u16 = 15;
const TXT: u16 = 16;

/// The code, whether it is authoritative, and the names and types of answer and
/// authority.
fn said(zone: &Zone, name: &str, kind: u16) -> (ResponseCode, bool, Vec<String>, Vec<String>) {
    let message = ask(zone, &query(name, kind));
    let shown = |records: &[Other]| records.iter().map(|r| format!("{} {}", r.name, r.record_type())).collect();
    let Message { metadata, answers, authorities, .. } = &message;
    (metadata.response_code, metadata.authoritative, shown(answers), shown(authorities))
}

/// The code by TCP, and how many answers there are.
fn said_whole(zone: &Zone, name: &str, kind: u16) -> (ResponseCode, usize) {
    let message = Message::from_vec(&reply(zone, &query(name, kind), Over::Tcp).unwrap()).unwrap();
    (message.metadata.response_code, message.answers.len())
}

fn nothing(code: ResponseCode, top: &str) -> (ResponseCode, bool, Vec<String>, Vec<String>) {
    (code, true, vec![], vec![format!("{top} SOA")])
}

#[test]
fn all_records_of_a_name_and_type_are_the_answer() {
    let records = ["miek.nl. 60 MX 10 mx.miek.nl.", "miek.nl. MX 20 mx2.other.nl.", "miek.nl. A 10.0.0.1"];
    let zone = zone(&records);
    let message = ask(&zone, &query("Miek.NL.", MX));
    assert_eq!((message.metadata.id, message.metadata.response_code), (0x1234, ResponseCode::NoError));
    assert!(message.metadata.authoritative && message.metadata.recursion_desired);
    assert!(!message.metadata.recursion_available && !message.metadata.truncation);
    assert_eq!(message.queries[0].name.to_string(), "Miek.NL.", "as it was asked");
    let expected: Vec<Other> = records[..2].iter().map(|text| plain(&text.parse().unwrap())).collect();
    assert_eq!(message.answers, expected);
    assert!(message.answers.iter().all(|record| record.ttl == 3_600), "the TTL that was set last is that of all");
    assert!(message.answers.iter().all(|record| record.name.to_string() == "Miek.NL."));
}

#[test]
fn what_is_missing_is_said_with_a_soa() {
    let zone = zone(&["x.sub.miek.nl. A 10.0.0.1", "miek.nl. A 10.0.0.1"]);
    assert_eq!(said(&zone, "no.miek.nl.", A), nothing(ResponseCode::NXDomain, "miek.nl."));
    assert_eq!(said(&zone, "no.x.sub.miek.nl.", A), nothing(ResponseCode::NXDomain, "miek.nl."));
    assert_eq!(said(&zone, "miek.nl.", TXT), nothing(ResponseCode::NoError, "miek.nl."));
    assert_eq!(said(&zone, "sub.miek.nl.", A), nothing(ResponseCode::NoError, "miek.nl."));
    for other in ["nl.", ".", "xmiek.nl.", "org.", "x.org."] {
        assert_eq!(said(&zone, other, A), (ResponseCode::Refused, false, vec![], vec![]), "{other}");
    }
    let soa = vec!["miek.nl. SOA".to_string()];
    assert_eq!(said(&zone, "miek.nl.", SOA), (ResponseCode::NoError, true, soa, vec![]));
    let negative = ask(&zone, &query("no.miek.nl.", A));
    assert_eq!(negative.authorities[0].ttl, 5, "it is not remembered for long");
}

#[test]
fn a_soa_of_ones_own_is_the_top_of_a_zone() {
    let own = "example. 300 SOA ns.example. me.example. 7 2 3 4 60";
    let mut zone = zone(&[own, "a.b.example. A 10.0.0.1", "x.y. A 10.0.0.1"]);
    assert_eq!(said(&zone, "no.example.", A), nothing(ResponseCode::NXDomain, "example."));
    assert_eq!(said(&zone, "example.", A), nothing(ResponseCode::NoError, "example."));
    assert_eq!(ask(&zone, &query("no.example.", A)).authorities[0].ttl, 60, "the lesser of its TTL and minimum");
    assert_eq!(said(&zone, "no.x.y.", A).3, ["x.y. SOA"]);
    zone.set("example. 30 SOA ns.example. me.example. 8 2 3 4 60".parse().unwrap()).unwrap();
    assert_eq!(zone.records().filter(|record| record.kind == SOA).count(), 1, "the next takes its place");
    assert_eq!(ask(&zone, &query("no.example.", A)).authorities[0].ttl, 30);
}

#[test]
fn a_name_of_an_address_is_a_zone_of_its_own() {
    let zone = zone(&["1.0.0.10.in-addr.arpa. PTR a.b.", "local. A 10.0.0.1"]);
    assert_eq!(said(&zone, "1.0.0.10.in-addr.arpa.", 12).2, ["1.0.0.10.in-addr.arpa. PTR"]);
    assert_eq!(said(&zone, "2.0.0.10.in-addr.arpa.", 12).0, ResponseCode::Refused);
    assert_eq!(said(&zone, "local.", A).2, ["local. A"]);
    assert_eq!(said(&zone, "other.", A).0, ResponseCode::Refused);
}

#[test]
fn cnames_are_followed_as_far_as_they_lead() {
    let zone = zone(&[
        "www.a.b. CNAME web.a.b.",
        "web.a.b. CNAME host.c.d.",
        "host.c.d. A 10.0.0.1",
        "out.a.b. CNAME elsewhere.org.",
        "gone.a.b. CNAME no.a.b.",
        "bare.a.b. CNAME host.c.d.",
        "x.a.b. CNAME y.a.b.",
        "y.a.b. CNAME X.a.b.",
        "self.a.b. CNAME self.a.b.",
    ]);
    let ok = ResponseCode::NoError;
    let all = ["www.a.b. CNAME", "web.a.b. CNAME", "host.c.d. A"].map(String::from).to_vec();
    assert_eq!(said(&zone, "www.a.b.", A), (ok, true, all, vec![]));
    assert_eq!(said(&zone, "www.a.b.", CNAME), (ok, true, vec!["www.a.b. CNAME".into()], vec![]));
    assert_eq!(said(&zone, "out.a.b.", A), (ok, true, vec!["out.a.b. CNAME".into()], vec![]));
    let gone = said(&zone, "gone.a.b.", A);
    assert_eq!(
        (gone.0, gone.2, gone.3),
        (ResponseCode::NXDomain, vec!["gone.a.b. CNAME".into()], vec!["a.b. SOA".into()])
    );
    let bare = said(&zone, "bare.a.b.", TXT);
    assert_eq!((bare.0, bare.2, bare.3), (ok, vec!["bare.a.b. CNAME".into()], vec!["c.d. SOA".into()]));
    let circle = ["x.a.b. CNAME", "y.a.b. CNAME"].map(String::from).to_vec();
    assert_eq!(said(&zone, "x.a.b.", A), (ok, true, circle, vec![]));
    assert_eq!(said(&zone, "self.a.b.", A), (ok, true, vec!["self.a.b. CNAME".into()], vec![]));
}

#[test]
fn a_long_chain_ends() {
    let links: Vec<String> = (0..40).map(|n| format!("n{n}.a.b. CNAME n{}.a.b.", n + 1)).collect();
    let zone = zone(&links.iter().map(String::as_str).collect::<Vec<_>>());
    let reply = reply(&zone, &query("n0.a.b.", A), Over::Tcp).unwrap();
    assert_eq!(Message::from_vec(&reply).unwrap().answers.len(), 17);
}

#[test]
fn a_wildcard_is_for_what_is_not_there() {
    let zone = zone(&[
        "*.a.b. A 10.0.0.1",
        "*.a.b. MX 5 mx.a.b.",
        "x.sub.a.b. A 10.0.0.2",
        "*.cn.a.b. CNAME x.sub.a.b.",
        "*.test. A 10.0.0.3",
    ]);
    assert_eq!(said(&zone, "any.a.b.", A).2, ["any.a.b. A"]);
    assert_eq!(said(&zone, "of.many.a.b.", MX).2, ["of.many.a.b. MX"]);
    assert_eq!(said(&zone, "*.a.b.", A).2, ["*.a.b. A"]);
    assert_eq!(said(&zone, "any.a.b.", TXT), nothing(ResponseCode::NoError, "a.b."));
    // Names that are there, if only since others are beneath them, have none.
    assert_eq!(said(&zone, "x.sub.a.b.", MX), nothing(ResponseCode::NoError, "a.b."));
    assert_eq!(said(&zone, "sub.a.b.", A), nothing(ResponseCode::NoError, "a.b."));
    assert_eq!(said(&zone, "y.sub.a.b.", A), nothing(ResponseCode::NXDomain, "a.b."));
    assert_eq!(said(&zone, "z.cn.a.b.", A).2, ["z.cn.a.b. CNAME", "x.sub.a.b. A"]);
    assert_eq!(said(&zone, "any.test.", A).2, ["any.test. A"]);
}

#[test]
fn the_zone_that_a_wildcard_makes_has_a_top() {
    let zone = zone(&["*.test. A 10.0.0.3", "*.0.0.10.in-addr.arpa. PTR a.b.", "*.arpa. A 10.0.0.3"]);
    for (top, beneath) in [("test.", "any.test."), ("0.0.10.in-addr.arpa.", "7.0.0.10.in-addr.arpa.")] {
        assert_eq!(said(&zone, beneath, TXT), nothing(ResponseCode::NoError, top));
        assert_eq!(said(&zone, top, SOA), (ResponseCode::NoError, true, vec![format!("{top} SOA")], vec![]));
        for kind in [A, NS, ANY] {
            assert_eq!(said(&zone, top, kind), nothing(ResponseCode::NoError, top), "{kind}");
        }
    }
    for other in ["10.in-addr.arpa.", "arpa.", "x.arpa.", "other."] {
        assert_eq!(said(&zone, other, SOA).0, ResponseCode::Refused, "{other}");
    }
}

#[test]
fn a_zone_that_was_given_away_is_referred_to() {
    let records = [
        "a.b. NS ns.a.b.",
        "sub.a.b. NS ns.sub.a.b.",
        "sub.a.b. NS far.org.",
        "sub.a.b. DS 1 8 2 aa",
        "ns.sub.a.b. A 10.0.0.1",
        "ns.sub.a.b. AAAA ::1",
        "ns.a.b. A 10.0.0.2",
    ];
    let zone = zone(&records);
    let cut = vec!["sub.a.b. NS".to_string(); 2];
    for name in ["sub.a.b.", "x.sub.a.b.", "ns.sub.a.b."] {
        assert_eq!(said(&zone, name, A), (ResponseCode::NoError, false, vec![], cut.clone()), "{name}");
    }
    let glue = ask(&zone, &query("x.sub.a.b.", A)).additionals;
    assert_eq!(glue.iter().map(Other::record_type).collect::<Vec<_>>(), [RecordType::A, RecordType::AAAA]);
    assert_eq!(said(&zone, "sub.a.b.", 43).2, ["sub.a.b. DS"]);
    let top = ask(&zone, &query("a.b.", NS));
    assert!(top.metadata.authoritative && top.additionals.len() == 1, "the top of a zone is no cut");
}

#[test]
fn the_addresses_of_names_in_an_answer_come_with_it() {
    let zone = zone(&[
        "a.b. MX 1 mx.a.b.",
        "a.b. MX 2 MX.a.b.",
        "a.b. MX 3 no.a.b.",
        "mx.a.b. A 10.0.0.1",
        "s.a.b. SRV 0 0 80 mx.a.b.",
    ]);
    for (name, kind) in [("a.b.", MX), ("s.a.b.", 33)] {
        let extra = ask(&zone, &query(name, kind)).additionals;
        assert_eq!(extra.len(), 1);
        assert_eq!(extra[0].name.to_string(), "mx.a.b.");
    }
}

#[test]
fn what_does_not_fit_ends_the_reply() {
    let far = format!("{}.", "x".repeat(60));
    let long = |first: &str| format!("{first}.{}a.b.", far.repeat(3));
    let second = format!("{}.{}a.b.", "y".repeat(60), format!("{}.", "z".repeat(60)).repeat(3));
    let third = format!("{}.{}a.b.", "v".repeat(60), format!("{}.", "w".repeat(60)).repeat(3));
    let zone = zone(&[&format!("{} CNAME {second}", long("c")), &format!("{second} CNAME {third}")]);
    // The third name is missing; but nobody may use what is said of it.
    let cut = ask(&zone, &query(&long("c"), A));
    assert_eq!((cut.metadata.response_code, cut.metadata.truncation), (ResponseCode::NoError, true));
    assert_eq!(said_whole(&zone, &long("c"), A), (ResponseCode::NXDomain, 2));
}

#[test]
fn who_wants_everything_gets_little() {
    let zone = zone(&["a.b. A 10.0.0.1", "a.b. TXT x", "c.a.b. CNAME a.b."]);
    assert_eq!(said(&zone, "a.b.", ANY).2, ["a.b. HINFO"]);
    assert_eq!(said(&zone, "c.a.b.", ANY).2, ["c.a.b. HINFO"]);
    assert_eq!(said(&zone, "no.a.b.", ANY).0, ResponseCode::NXDomain);
}

#[test]
fn of_all_classes_nobody_is_the_authority() {
    let mut packet = query("a.b.", A);
    let end = packet.len() - 1;
    packet[end] = 255;
    let reply = ask(&zone(&["a.b. A 10.0.0.1"]), &packet);
    assert_eq!((reply.answers.len(), reply.metadata.authoritative), (1, false));
}

#[test]
fn records_are_set_and_unset() {
    let mut zone = zone(&["a.b. A 10.0.0.1", "A.b. 5 A 10.0.0.1", "c.d. CNAME a.b."]);
    let all: Vec<String> = zone.records().map(|record| record.to_string()).collect();
    assert_eq!(all, ["a.b.\t5\tIN\tA\t10.0.0.1", "c.d.\t3600\tIN\tCNAME\ta.b."]);
    for beside in ["a.b. CNAME c.d.", "c.d. A 10.0.0.1"] {
        assert_eq!(zone.set(beside.parse().unwrap()).map_err(|error| error.kind), Err(ErrorKind::Invalid));
    }
    zone.set("c.d. CNAME x.y.".parse().unwrap()).unwrap();
    assert_eq!(zone.records().count(), 2);
    assert!(zone.unset(&"A.B".parse().unwrap()) && !zone.unset(&"a.b.".parse().unwrap()));
    assert_eq!(said(&zone, "a.b.", A).0, ResponseCode::Refused, "with its last record a zone is gone");
}

#[test]
fn a_name_server_holds_so_many_records_and_no_more() {
    let mut zone = Zone::default();
    for number in 0..MAX_RECORDS {
        zone.set(format!("n{number}.a.b. A 10.0.0.1").parse().unwrap()).unwrap();
    }
    let one_more = || "a.b. A 10.0.0.1".parse::<Record>().unwrap();
    assert_eq!(zone.set(one_more()).map_err(|error| error.kind), Err(ErrorKind::QuotaExceeded));
    assert_eq!(said(&zone, "a.b.", A).2, [""; 0], "nothing came of it");
    assert!(zone.unset(&"n7.a.b.".parse().unwrap()));
    zone.set(one_more()).unwrap();
    let long =
        |number| format!("big{number}.a.b. TYPE65280 \\# 16384 {}", "ff".repeat(16_384)).parse::<Record>().unwrap();
    let mut zone = Zone::default();
    let fitted = (0..).take_while(|number| zone.set(long(*number)).is_ok()).count();
    assert!((200..256).contains(&fitted), "{fitted}");
    let mut zone = Zone::default();
    let one = |number: u8| Record::new("a.b.".parse().unwrap(), 65_280, 0, &vec![number; 16_384]).unwrap();
    zone.set(one(0)).unwrap();
    let error = zone.set(one(1)).unwrap_err();
    assert!(error.kind == ErrorKind::QuotaExceeded && error.detail.contains("one name and type"), "{error}");
}
