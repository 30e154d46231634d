use super::*;

fn proc(text: &str) -> Result<ProcSpec, String> {
    read_proc(text.as_bytes())
}

fn refused(text: &str, why: &str) {
    let error = proc(text).expect_err(text);
    assert!(error.contains(why), "{text}: {error}");
}

#[test]
fn the_description_of_the_readme_is_read() {
    let spec = proc("{\n\t\"Path\": \"/bin/ls\", \n\t\"Args\":[\"/\"]\n}\n").expect("a process");
    assert_eq!((spec.path.as_str(), spec.args.as_slice()), ("/bin/ls", &["/".to_owned()][..]));
}

#[test]
fn names_are_in_any_case_and_null_is_nothing() {
    let text = r#"{"path": "a", "ARGS": null, "dir": "/tmp", "env": ["A=b"], "sCrub": true, "stdin": "null"}"#;
    let spec = proc(text).expect("a process");
    assert_eq!((spec.dir.as_str(), spec.env.len(), spec.scrub, spec.stdin), ("/tmp", 1, true, StdinSpec::Null));
}

#[test]
fn what_happens_to_output_and_how_long_an_end_may_take_can_be_said() {
    let text = r#"{"Path": "a", "Output": "drop", "Grace": "1m 500ms", "onserverexit": "keep"}"#;
    let spec = proc(text).expect("a process");
    assert_eq!((spec.output, spec.grace), (OutputSpec::Drop, Some(60_500_000)));
    assert_eq!(spec.on_server_exit, OnServerExit::Keep);
    let usual = proc(r#"{"Path": "a"}"#).expect("a process");
    assert_eq!((usual.output, usual.grace), (OutputSpec::Block, None));
}

#[test]
fn comments_and_last_commas_are_allowed() {
    let text = "// first\n{ /* a \" in it */ \"Path\": \"//a/*b*/\", // \"Dir\": 1\n\"Args\": [\"x,]\", \"\\\",\", /* , */ ], }";
    let spec = proc(text).expect("a process");
    assert_eq!(spec.path, "//a/*b*/");
    assert_eq!(spec.args, ["x,]", "\","]);
}

#[test]
fn commas_elsewhere_are_refused() {
    for text in ["{,}", r#"{"Path": "a",,}"#, r#"{"Path": "a", "Args": [,]}"#, r#"{"Path": "a", "Args": ["b",,]}"#] {
        refused(text, "line 1 column");
    }
}

#[test]
fn what_is_wrong_is_named() {
    for (text, why) in [
        ("", "empty"),
        (" // nothing\n", "empty"),
        ("{\"Path\": \"/bin/ls\"", "EOF"),
        ("{\"Path\": \"/bin", "EOF"),
        ("{} {}", "trailing characters"),
        ("[]", "an object"),
        ("{}", "Path is missing"),
        ("{\"Path\": \"a\", \"path\": \"b\"}", "path stands there twice"),
        ("{\"Path\": \"a\", \"Argz\": []}", "\"Argz\""),
        ("{\"Path\": 3}", "Path: invalid type"),
        ("{\"Path\": \"a\", \"Args\": \"b\"}", "Args: invalid type"),
        ("{\"Path\": \"a\", \"Args\": [1]}", "Args: invalid type"),
        ("{\"Path\": \"a\", \"Scrub\": \"yes\"}", "Scrub: invalid type"),
        ("{\"Path\": \"a\", \"Stdin\": \"tty\"}", "Stdin: \"tty\" is none of \"pipe\", \"null\""),
        ("{\"Path\": \"a\", \"Output\": \"Drop\"}", "Output: \"Drop\" is none of \"block\", \"drop\", \"file\""),
        ("{\"Path\": \"a\", \"Output\": true}", "Output: invalid type"),
        ("{\"Path\": \"a\", \"Grace\": \"soon\"}", "Grace: \"soon\": expected number"),
        ("{\"Path\": \"a\", \"OnServerExit\": \"live\"}", "OnServerExit: \"live\" is none of \"kill\", \"keep\""),
        ("{\"Path\": \"a\", \"Grace\": 5}", "Grace: invalid type"),
        ("{\"Path\": \"\\ud800\"}", "hex escape"),
        ("\u{feff}{\"Path\": \"a\"}", "byte order mark"),
        ("{\"Path\": \"a\"}\n\n/* ...", "begins in line 3"),
    ] {
        refused(text, why);
    }
}

#[test]
fn places_in_errors_hold_after_comments() {
    refused("/* one\n two */ {\n  \"Path\": /* x */ nonsense }", "line 3 column 20");
}

#[test]
fn no_input_is_too_deep_or_too_long() {
    refused(&format!("{{\"Path\": {}", "[".repeat(100_000)), "recursion limit");
    refused(&" ".repeat(1024 * 1024 + 1), "over 1 MiB");
    let long = format!("{{\"Path\": \"{}\"}}", "x".repeat(1024 * 1024 - 12));
    assert_eq!(long.len(), 1024 * 1024);
    assert!(proc(&long).is_ok());
}
