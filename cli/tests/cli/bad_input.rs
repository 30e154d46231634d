//! Bad input: its status, its words, and that nothing came of it.

use crate::support::Bed;

const ID: &str = "/X0000000000000001";

#[test]
fn a_bad_command_line_is_a_usage_error_before_anything_is_dialled() {
    let bed = Bed::new();
    let long = "x".repeat(256);
    let deep = "/d".repeat(65);
    for (line, says) in [
        ("lss /", "hint: did you mean 'ls'?"),
        ("mkchn /a 1", "hint: did you mean 'mkchan'?"),
        ("kegen key", "hint: did you mean 'keygen'?"),
        ("help lss", "'lss'"),
        ("", "no verb"),
        ("mkchan", "<ANCHOR> <CAP>"),
        ("mkchan /X0000000000000001/a", "<CAP>"),
        ("peek job", "begins with /"),
        ("peek /job", "must be a server"),
        ("peek /X0000000000000001/../a", "'..'"),
        ("peek /X0000000000000001//a", "empty"),
        (&format!("peek {ID}/{long}"), "255 bytes"),
        (&format!("peek {ID}{deep}"), "64 components"),
        (&format!("peek \"$(printf '{ID}/a\\nb')\""), "control character"),
        (&format!("peek \"$(printf '{ID}/\\033[2J')\""), "control character"),
        ("mkchan /X0000000000000001/a -1", "-1 is not in"),
        ("mkchan /X0000000000000001/a 4294967296", "4294967296 is not in"),
        ("mkchan /X0000000000000001/a many", "'many'"),
        ("signal NOPE /X0000000000000001/a", "no signal has that name"),
        ("peek -- -x", "begins with /"),
        ("ls --nonsense /", "'--nonsense'"),
        ("ls -o yaml /", "'yaml'"),
        ("ls --timeout soon /", "'soon'"),
        ("ls -d circuit://10.0.0.1/1/Q0000000000000001 /", "no port"),
        ("ls -d circuit://10.0.0.1:65536/1/Q0000000000000001 /", "65535"),
        ("ls -d circuit://::1:80/1/Q0000000000000001 /", "brackets"),
        ("ls -d circuit://me@10.0.0.1:1/1/Q0000000000000001 /", "no user"),
        ("ls -discover 10.0.0.1:7711 /", "not a multicast address"),
        ("ls -discover 228.8.8.8 /", "PORT"),
        ("start -a 127.0.0.1 -if lo", "cannot be used with"),
        ("start -a 127.0.0.1:65536", "65535"),
        ("start -a ::1", "brackets"),
        ("start -a me@127.0.0.1", "not a URL"),
        ("start -if nowhere0", "no such interface"),
        ("start -advertise 10.0.0.1", "need the port"),
        ("start -a 0.0.0.0:0 --insecure", "-advertise"),
        ("start -discover 10.0.0.1:7711", "not a multicast address"),
        ("start -j 10.0.0.1:1", "begins with circuit://"),
        ("join /X0000000000000001", "<URL>"),
        ("join /X0000000000000001/a circuit://10.0.0.1:1/1/Q0000000000000001", "this is for a server"),
        ("suicide /X0000000000000001/a", "this is for a server"),
        ("stk /", "must be a server"),
        ("start -docker-unsafe", "--docker"),
        ("ls /", "there is no server to dial"),
        ("run", "<CMD>"),
        ("run /X0000000000000001 -all -- true", "cannot be used with"),
    ] {
        bed.fails(&format!("circuit {line}"), 2, says);
    }
}

#[test]
fn the_environment_is_checked_as_the_options_are() {
    let bed = Bed::new();
    for (script, says) in [
        ("CIRCUIT=nowhere circuit ls /", "no such file"),
        ("CIRCUIT=. circuit ls /", "directory"),
        ("echo nonsense > url; CIRCUIT=url circuit ls /", "begins with circuit://"),
        ("CIRCUIT_LOG=loud circuit ls /", "no level of logs"),
        ("CIRCUIT= circuit ls /", "there is no server to dial"),
        ("CIRCUIT_DISCOVER=10.0.0.1:1 circuit ls /", "not a multicast address"),
        ("CIRCUIT_DISCOVER=nonsense circuit start", "CIRCUIT_DISCOVER is nonsense"),
        ("CIRCUIT_HMAC=nowhere circuit ls -d circuit://127.0.0.1:1/1/Q0000000000000001 /", "no such file"),
    ] {
        bed.fails(script, 2, says);
    }
}

#[test]
fn what_the_server_refuses_is_an_application_error() {
    let bed = Bed::with_servers(1);
    bed.ok("circuit mkchan $X/c 1; echo '{\"Path\": \"/bin/true\"}' | circuit mkproc $X/p; circuit wait $X/p > end");
    bed.ok("circuit mk@join $X/j");
    for (line, says) in [
        ("mkchan / 1", "cannot be made at /"),
        ("mkchan $X 1", "already exists: this anchor is the server's own"),
        ("mkchan $X/c 1", "already exists"),
        ("ls $X/nowhere", "not found"),
        ("peek $X/nowhere", "not found"),
        ("scrub $X/nowhere", "not found"),
        ("scrub $X", "own element cannot be removed"),
        ("scrub /", "root cannot be removed"),
        ("mk@join /", "cannot be made at /"),
        ("mk@leave $X/c", "already exists"),
        ("wait $X/c", "wrong kind of element: 'wait' is not for chan"),
        ("stdout $X/c", "'stdout' is not for chan"),
        ("recv $X/p", "'recv' is not for proc"),
        ("close $X", "'close' is not for server"),
        ("send $X/j", "'send' is not for @join"),
        ("close $X/j", "'close' is not for @join"),
        ("signal KILL $X/p", "the process has ended"),
        ("peek /X0000000000000001", "no server of this id was ever seen"),
    ] {
        bed.fails(&format!("circuit {line}"), 1, says);
    }
    let nobody = "circuit join $X circuit://127.0.0.1:1/1/Q0000000000000001";
    bed.fails(nobody, 3, "no server of this circuit answers at 127.0.0.1:1");
    assert_eq!(bed.ok("circuit ls $X/...").lines().count(), 3, "nothing was made or removed");
}

#[test]
fn a_bad_description_is_a_usage_error_that_names_the_place() {
    let bed = Bed::with_servers(1);
    for (json, says) in [
        ("", "it is empty"),
        ("{\"Path\": \"/bin/tr", "line 1 column 17"),
        (r#"{"Path": "a", "path": "b"}"#, "path stands there twice"),
        (r#"{"Path": "a", "Color": 1}"#, "\"Color\""),
        (r#"{"Path": "a", "Args": "b"}"#, "Args: invalid type"),
        (&"[".repeat(100_000), "invalid type"),
        (&" ".repeat(1024 * 1024 + 1), "over 1 MiB"),
        (r#"{"Path": "\ud800"}"#, "hex escape"),
        ("\u{feff}{}", "byte order mark"),
    ] {
        bed.fed("circuit mkproc $X/p", json).fails(json.get(..40).unwrap_or(json), 2, says);
    }
    assert_eq!(bed.sh("circuit ls $X").stdout, "", "nothing was made");
}

#[test]
fn a_process_that_cannot_be_is_refused_by_the_server() {
    let bed = Bed::with_servers(1);
    let long = format!(r#"{{"Path": "/bin/true", "Args": ["{}"]}}"#, "x".repeat(200_000));
    for (json, says) in [
        (r#"{"Path": ""}"#, "Path is empty"),
        (r#"{"Path": "/bin/true", "Args": ["a\u0000b"]}"#, "NUL"),
        (r#"{"Path": "/bin/true", "Env": ["A"]}"#, "entry 1 of Env is not NAME=VALUE"),
        (r#"{"Path": "/nowhere/nothing"}"#, "no such file or directory"),
        (r#"{"Path": "/etc/passwd"}"#, "permission denied"),
        (r#"{"Path": "/bin/true", "Dir": "/nowhere"}"#, "no such file or directory"),
        (&long, "argument list too long"),
    ] {
        bed.fed("circuit mkproc $X/p", json).fails(json.get(..60).unwrap_or(json), 1, says);
    }
    assert_eq!(bed.sh("circuit ls $X").stdout, "", "nothing was made");
}

#[test]
fn a_server_that_is_not_there_is_a_system_error() {
    let bed = Bed::new();
    let url = bed.start("-a 127.0.0.1 -hmac .hmac").url.clone(); // and killed again
    bed.fails(&format!("circuit ls -d {url} /"), 3, "connection refused\nhint: start one");
    bed.fails(
        "circuit ls -discover 239.77.30.1:7711 /",
        3,
        "nobody answered within 5 s\nhint: servers must have the same",
    );
}
