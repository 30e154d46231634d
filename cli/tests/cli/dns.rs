//! Name servers, asked by `dig`.

use std::{path::Path, process::Command};

use crate::support::Bed;

const DIG: &str = "/usr/bin/dig";

/// The records that are asked for.
const RECORDS: &[&str] = &[
    "miek.nl. 3600 IN MX 10 mx.miek.nl.",
    "miek.nl. 3600 IN MX 20 mx2.miek.nl.",
    "mx.miek.nl. 60 A 10.1.0.1",
    "mx.miek.nl. 60 A 10.1.0.2",
    "mx.miek.nl. 60 AAAA 2001:db8::1",
    "www.miek.nl. 60 CNAME web.miek.nl.",
    "web.miek.nl. 60 CNAME host.shop.example.",
    "host.shop.example. 60 A 10.1.0.3",
    "out.miek.nl. CNAME elsewhere.org.",
    "gone.miek.nl. CNAME nowhere.miek.nl.",
    "circle.miek.nl. CNAME circle2.miek.nl.",
    "circle2.miek.nl. CNAME circle.miek.nl.",
    "*.wild.miek.nl. 60 A 10.1.0.4",
    "x.there.wild.miek.nl. 60 A 10.1.0.5",
    "_sip._tcp.miek.nl. SRV 0 5 5060 mx.miek.nl.",
    "many.miek.nl. CAA 0 issue \"ca.example\"",
    "many.miek.nl. HINFO PC \"Plan 9\"",
    "many.miek.nl. TLSA 3 1 1 0123456789abcdef",
    "many.miek.nl. SSHFP 4 1 0123456789abcdef0123456789abcdef01234567",
    "many.miek.nl. NAPTR 100 10 \"S\" \"SIP+D2U\" \"\" _sip._udp.miek.nl.",
    "many.miek.nl. TYPE65280 \\# 3 010203",
    "say.miek.nl. TXT \"say \\\"hi\\\"\" \"\\007;\" plain",
    "1.0.1.10.in-addr.arpa. PTR mx.miek.nl.",
    "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. PTR mx.miek.nl.",
    "own.example. 300 SOA ns.own.example. me.own.example. 7 3600 600 86400 30",
    "own.example. 300 NS ns.own.example.",
    "ns.own.example. 300 A 10.1.0.6",
    "given.own.example. 300 NS ns.given.own.example.",
    "ns.given.own.example. 300 A 10.1.0.7",
    "*.test. 60 A 10.1.0.8",
    "*.2.1.10.in-addr.arpa. PTR mx.miek.nl.",
];

/// What `dig` is asked, and what it must say: the status, the flags, and the
/// answer or what stands in its place. The RFC is the one that asks for it.
const QUERIES: &[(&str, &str, &str, &[&str])] = &[
    // RFC 1035: each type, all records of a name.
    (
        "miek.nl MX",
        "NOERROR",
        "qr aa rd",
        &["miek.nl. 3600 IN MX 10 mx.miek.nl.", "miek.nl. 3600 IN MX 20 mx2.miek.nl."],
    ),
    ("mx.miek.nl A", "NOERROR", "qr aa rd", &["mx.miek.nl. 60 IN A 10.1.0.1", "mx.miek.nl. 60 IN A 10.1.0.2"]),
    ("mx.miek.nl AAAA", "NOERROR", "qr aa rd", &["mx.miek.nl. 60 IN AAAA 2001:db8::1"]),
    ("+norecurse mx.miek.nl AAAA", "NOERROR", "qr aa", &["mx.miek.nl. 60 IN AAAA 2001:db8::1"]),
    ("_sip._tcp.miek.nl SRV", "NOERROR", "qr aa rd", &["_sip._tcp.miek.nl. 3600 IN SRV 0 5 5060 mx.miek.nl."]),
    ("many.miek.nl CAA", "NOERROR", "qr aa rd", &["many.miek.nl. 3600 IN CAA 0 issue \"ca.example\""]),
    ("many.miek.nl HINFO", "NOERROR", "qr aa rd", &["many.miek.nl. 3600 IN HINFO \"PC\" \"Plan 9\""]),
    ("many.miek.nl TLSA", "NOERROR", "qr aa rd", &["many.miek.nl. 3600 IN TLSA 3 1 1 0123456789ABCDEF"]),
    (
        "many.miek.nl SSHFP",
        "NOERROR",
        "qr aa rd",
        &["many.miek.nl. 3600 IN SSHFP 4 1 0123456789ABCDEF0123456789ABCDEF01234567"],
    ),
    (
        "many.miek.nl NAPTR",
        "NOERROR",
        "qr aa rd",
        &["many.miek.nl. 3600 IN NAPTR 100 10 \"S\" \"SIP+D2U\" \"\" _sip._udp.miek.nl."],
    ),
    ("many.miek.nl TYPE65280", "NOERROR", "qr aa rd", &["many.miek.nl. 3600 IN TYPE65280 \\# 3 010203"]),
    ("say.miek.nl TXT", "NOERROR", "qr aa rd", &["say.miek.nl. 3600 IN TXT \"say \\\"hi\\\"\" \"\\007;\" \"plain\""]),
    ("-x 10.1.0.1", "NOERROR", "qr aa rd", &["1.0.1.10.in-addr.arpa. 3600 IN PTR mx.miek.nl."]),
    (
        "-x 2001:db8::1",
        "NOERROR",
        "qr aa rd",
        &["1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. 3600 IN PTR mx.miek.nl."],
    ),
    (
        "+tcp miek.nl MX",
        "NOERROR",
        "qr aa rd",
        &["miek.nl. 3600 IN MX 10 mx.miek.nl.", "miek.nl. 3600 IN MX 20 mx2.miek.nl."],
    ),
    // Case is of no account, and comes back as it was asked.
    ("MX.mIEk.Nl AAAA", "NOERROR", "qr aa rd", &["MX.mIEk.Nl. 60 IN AAAA 2001:db8::1"]),
    ("wWw.miek.nl CNAME", "NOERROR", "qr aa rd", &["wWw.miek.nl. 60 IN CNAME web.miek.nl."]),
    // RFC 1034: CNAMEs.
    (
        "www.miek.nl A",
        "NOERROR",
        "qr aa rd",
        &[
            "www.miek.nl. 60 IN CNAME web.miek.nl.",
            "web.miek.nl. 60 IN CNAME host.shop.example.",
            "host.shop.example. 60 IN A 10.1.0.3",
        ],
    ),
    ("web.miek.nl CNAME", "NOERROR", "qr aa rd", &["web.miek.nl. 60 IN CNAME host.shop.example."]),
    ("out.miek.nl A", "NOERROR", "qr aa rd", &["out.miek.nl. 3600 IN CNAME elsewhere.org."]),
    ("gone.miek.nl A", "NXDOMAIN", "qr aa rd", &["gone.miek.nl. 3600 IN CNAME nowhere.miek.nl.", "miek.nl. 5 IN SOA"]),
    (
        "circle.miek.nl A",
        "NOERROR",
        "qr aa rd",
        &["circle.miek.nl. 3600 IN CNAME circle2.miek.nl.", "circle2.miek.nl. 3600 IN CNAME circle.miek.nl."],
    ),
    // RFC 4592: wildcards.
    ("any.wild.miek.nl A", "NOERROR", "qr aa rd", &["any.wild.miek.nl. 60 IN A 10.1.0.4"]),
    ("a.b.c.wild.miek.nl A", "NOERROR", "qr aa rd", &["a.b.c.wild.miek.nl. 60 IN A 10.1.0.4"]),
    ("any.wild.miek.nl MX", "NOERROR", "qr aa rd", &["miek.nl. 5 IN SOA"]),
    ("there.wild.miek.nl A", "NOERROR", "qr aa rd", &["miek.nl. 5 IN SOA"]),
    ("y.there.wild.miek.nl A", "NXDOMAIN", "qr aa rd", &["miek.nl. 5 IN SOA"]),
    // What only a wildcard makes is a zone like others.
    ("any.test MX", "NOERROR", "qr aa rd", &["test. 5 IN SOA"]),
    ("test SOA", "NOERROR", "qr aa rd", &["test. 5 IN SOA"]),
    ("test A", "NOERROR", "qr aa rd", &["test. 5 IN SOA"]),
    ("-x 10.1.2.9", "NOERROR", "qr aa rd", &["9.2.1.10.in-addr.arpa. 3600 IN PTR mx.miek.nl."]),
    ("2.1.10.in-addr.arpa SOA", "NOERROR", "qr aa rd", &["2.1.10.in-addr.arpa. 5 IN SOA"]),
    ("2.1.10.in-addr.arpa NS", "NOERROR", "qr aa rd", &["2.1.10.in-addr.arpa. 5 IN SOA"]),
    // RFC 2308: nothing, and for how long.
    ("no.miek.nl A", "NXDOMAIN", "qr aa rd", &["miek.nl. 5 IN SOA"]),
    ("+tcp no.miek.nl A", "NXDOMAIN", "qr aa rd", &["miek.nl. 5 IN SOA"]),
    ("miek.nl A", "NOERROR", "qr aa rd", &["miek.nl. 5 IN SOA"]),
    (
        "no.own.example A",
        "NXDOMAIN",
        "qr aa rd",
        &["own.example. 30 IN SOA ns.own.example. me.own.example. 7 3600 600 86400 30"],
    ),
    (
        "own.example SOA",
        "NOERROR",
        "qr aa rd",
        &["own.example. 300 IN SOA ns.own.example. me.own.example. 7 3600 600 86400 30"],
    ),
    ("own.example NS", "NOERROR", "qr aa rd", &["own.example. 300 IN NS ns.own.example."]),
    ("x.given.own.example A", "NOERROR", "qr rd", &["given.own.example. 300 IN NS ns.given.own.example."]),
    // Of others nothing is known, and nobody is asked.
    ("example.org A", "REFUSED", "qr rd", &[]),
    ("nl NS", "REFUSED", "qr rd", &[]),
    (". NS", "REFUSED", "qr rd", &[]),
    ("version.bind CH TXT", "REFUSED", "qr rd", &[]),
    // RFC 8482.
    ("miek.nl ANY +notcp", "NOERROR", "qr aa rd", &["miek.nl. 3600 IN HINFO \"RFC8482\" \"\""]),
    // RFC 6891: sizes and versions.
    ("+edns=1 +noednsnegotiation miek.nl MX", "BADVERS", "qr rd", &[]),
    ("+noedns +ignore long.miek.nl TXT", "NOERROR", "qr aa tc rd", &[]),
    ("+bufsize=512 +ignore long.miek.nl TXT", "NOERROR", "qr aa tc rd", &[]),
    ("+bufsize=4096 +ignore longer.miek.nl TXT", "NOERROR", "qr aa tc rd", &[]),
    // What is not done.
    ("+opcode=notify miek.nl SOA", "NOTIMP", "qr rd", &[]),
    ("+opcode=update miek.nl SOA", "REFUSED", "qr rd", &[]),
    ("+header-only", "FORMERR", "qr rd", &[]),
];

/// Whether `dig` is there; if not, that this test skips is said.
fn has_dig() -> bool {
    let there = Path::new(DIG).exists();
    if !there {
        eprintln!("skipped: there is no {DIG} (Debian's bind9-dnsutils)");
    }
    there
}

/// A server with a name server, and the port where that answers.
fn bed() -> (Bed, String) {
    let bed = Bed::with_servers(1);
    bed.ok("circuit mkdns $X/dns");
    let peeked = bed.ok("circuit peek -o json $X/dns");
    let port = peeked.split(['"', ':']).find(|part| part.parse().is_ok_and(|port: u16| port > 0));
    let port = port.unwrap_or_else(|| panic!("no port: {peeked}")).to_owned();
    (bed, port)
}

fn set(bed: &Bed, records: &[&str]) {
    let lines: String = records.iter().map(|record| format!("circuit set $X/dns '{record}' || exit 1\n")).collect();
    bed.ok(&lines);
}

/// What `dig` printed: all, and the records of answer and authority with one
/// space between words.
fn dig(port: &str, args: &str) -> (String, Vec<String>) {
    let mut command = Command::new(DIG);
    command.args(["-r", "@127.0.0.1", "-p", port, "+tries=1", "+time=20", "+noadditional", "+nosplit"]);
    let output = command.args(args.split(' ')).output().expect("dig");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let records = text.lines().filter(|line| !line.is_empty() && !line.starts_with(';'));
    let records = records.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    (text, records)
}

#[test]
fn dig_gets_what_the_rfcs_ask_for() {
    if !has_dig() {
        return;
    }
    let (bed, port) = bed();
    set(&bed, RECORDS);
    let long = format!("\"{}\" \"{}\"", "l".repeat(255), "o".repeat(255));
    set(&bed, &[&format!("long.miek.nl. TXT {long}")]);
    set(
        &bed,
        &[0, 1, 2, 3].map(|number| format!("longer.miek.nl. TXT {number} {long}")).each_ref().map(String::as_str),
    );
    for (args, status, flags, records) in QUERIES {
        let (text, said) = dig(&port, args);
        assert!(text.contains(&format!("status: {status},")), "{args}: {text}");
        assert!(text.contains(&format!(";; flags: {flags};")), "{args}: {text}");
        let matches = said.len() == records.len() && said.iter().zip(*records).all(|(said, one)| said.starts_with(one));
        assert!(matches, "{args}: {said:?}");
    }
    assert!(QUERIES.len() >= 40);
    // Over 255 bytes in one record, and what is too long for a datagram, by TCP.
    let shown = format!("long.miek.nl. 3600 IN TXT {long}");
    assert_eq!(dig(&port, "long.miek.nl TXT").1, [shown]);
    let (text, records) = dig(&port, "longer.miek.nl TXT");
    assert!(text.contains("Truncated, retrying in TCP mode") && records.len() == 4, "{text}");
    let (text, _) = dig(&port, "+bufsize=4096 +dnssec miek.nl MX");
    assert!(text.contains("; EDNS: version: 0, flags: do; udp: 1232"), "{text}");
    for refused in ["+opcode=notify miek.nl SOA", "+opcode=update miek.nl SOA", "+header-only +edns=0"] {
        let (text, _) = dig(&port, refused);
        assert!(text.contains("; EDNS: version: 0,"), "{refused}: {text}");
    }
    let (text, _) = dig(&port, "+tcp miek.nl AXFR");
    assert!(text.contains("; Transfer failed."), "{text}");
}

#[test]
fn records_come_and_go() {
    let (bed, port) = bed();
    set(&bed, &["a.b.c. A 10.0.0.1", "A.b.c. A 10.0.0.2", "b.c. TXT x"]);
    let peeked = bed.ok("circuit peek $X/dns");
    let shown = "\t\"Records\": {\n\t\t\"a.b.c.\": [\n\t\t\t\"a.b.c.\\t3600\\tIN\\tA\\t10.0.0.1\",\n\t\t\t\
                 \"a.b.c.\\t3600\\tIN\\tA\\t10.0.0.2\"\n\t\t],\n\t\t\"b.c.\": [\n\t\t\t\"b.c.\\t3600\\tIN\\tTXT\\t\\\"x\\\"\"";
    assert!(peeked.contains(shown) && peeked.contains(&format!("\"Address\": \"127.0.0.1:{port}\"")), "{peeked}");
    bed.ok("circuit unset $X/dns A.B.C");
    assert!(!bed.ok("circuit peek $X/dns").contains("10.0.0"));
    for (line, says) in [
        ("unset $X/dns a.b.c.", "not found: it has no records of a.b.c."),
        ("set $X/dns 'b.c. CNAME d.'", "CNAME beside other records"),
        ("mkdns $X/other 127.0.0.1:$PORT", "address already in use\nhint: take another address"),
        ("mkdns $X/other 192.0.2.7", "192.0.2.7:0 cannot be had: cannot assign requested address"),
        ("mkdns $X/dns", "already exists"),
        ("mkdns /", "cannot be made at /"),
        ("recv $X/dns", "'recv' is not for dns"),
    ] {
        bed.fails(&format!("PORT={port}; circuit {line}"), 1, says);
    }
    bed.ok("circuit mkchan $X/chan 1");
    bed.fails("circuit set $X/chan 'a. A 10.0.0.1'", 1, "'set' is not for chan");
    assert!(bed.ok("circuit ls -l $X").starts_with("chan   "), "what could not be made is not there");
    bed.ok(&format!("circuit scrub $X/dns; circuit mkdns $X/again 127.0.0.1:{port}"));
    let peeked = bed.ok("circuit peek -o json $X/again");
    assert_eq!(peeked, format!("{{\"Address\":\"127.0.0.1:{port}\",\"Records\":{{}}}}\n"), "its port was free again");
}

#[test]
fn a_bad_record_is_a_usage_error_that_names_the_place() {
    let bed = Bed::new();
    let token = "x".repeat(4_096);
    for (record, says) in [
        ("", "column 1: the record is missing"),
        ("a. 60 IN", "column 9: the type is missing"),
        ("a. A 10.0.0.256", "column 6: '10.0.0.256' is no IPv4 address"),
        ("a. 2147483648 A 10.0.0.1", "column 4: '2147483648' is no number of seconds"),
        (&format!("a. TXT {token}"), "column 263: a string is over 255 bytes"),
        (&format!("{}. A 10.0.0.1", &token[..64]), "column 64: a label is over 63 bytes"),
        (&format!("{} A 10.0.0.1", "x.".repeat(128)), "column 1: the name is over 255 bytes"),
    ] {
        bed.fails(&format!("circuit set /X0000000000000001/dns '{record}'"), 2, says);
    }
    bed.fails("circuit unset /X0000000000000001/dns a..b", 2, "column 3: a label is empty");
    bed.fails("circuit mkdns /X0000000000000001/dns 127.0.0.1:65536", 2, "65535");
}
