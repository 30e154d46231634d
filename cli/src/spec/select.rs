//! The clauses of a select, as `mkselect` reads them.

use std::io::Read;

use circuit_core::{
    AnchorPath,
    wire::op::{Choice, Clause, SelectSpec},
};

use super::{Fields, read};

/// What a clause can do.
const DOES: &str = "Send, Recv, Exit, After, Default";

/// Reads a list of clauses.
pub(crate) fn read_select(input: impl Read) -> Result<SelectSpec, String> {
    let clauses: Vec<Fields> = read(input)?;
    let clauses = clauses.into_iter().enumerate();
    let clauses = clauses.map(|(at, fields)| clause(fields).map_err(|why| format!("clause {at}: {why}")));
    Ok(SelectSpec { clauses: clauses.collect::<Result<_, _>>()? })
}

fn clause(mut fields: Fields) -> Result<Clause, String> {
    let name = fields.take("Name")?.unwrap_or_default();
    let anchor = |path: Option<String>| match path {
        Some(path) => path.parse::<AnchorPath>().map(Some).map_err(|bad| format!("{path}: {bad}")),
        None => Ok(None),
    };
    let after = fields.time("After")?;
    let choices = [
        anchor(fields.take("Send")?)?.map(Choice::Send),
        anchor(fields.take("Recv")?)?.map(Choice::Recv),
        anchor(fields.take("Exit")?)?.map(Choice::Exit),
        after.map(Choice::After),
        fields.take::<bool>("Default")?.filter(|&default| default).map(|_| Choice::Default),
    ];
    fields.none_left(&format!("Name, {DOES}"))?;
    let mut choices = choices.into_iter().flatten();
    match (choices.next(), choices.next()) {
        (Some(choice), None) => Ok(Clause { name, choice }),
        (None, _) => Err(format!("it does nothing: it must have one of {DOES}")),
        (Some(_), Some(_)) => Err(format!("it can do only one of {DOES}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clauses_are_read() {
        let text = r#"[
            {"Name": "news", "Recv": "/X0000000000000001/a"}, // or
            {"send": "/X0000000000000002/b"}, {"Exit": "/X0000000000000001/p"},
            {"After": "1m 5s"}, {"Default": true},
        ]"#;
        let spec = read_select(text.as_bytes()).expect("a select");
        let at = |path: &str| path.parse::<AnchorPath>().expect("a path");
        let choices: Vec<Choice> = spec.clauses.iter().map(|clause| clause.choice.clone()).collect();
        assert_eq!(
            choices,
            [
                Choice::Recv(at("/X0000000000000001/a")),
                Choice::Send(at("/X0000000000000002/b")),
                Choice::Exit(at("/X0000000000000001/p")),
                Choice::After(65_000_000),
                Choice::Default,
            ]
        );
        assert_eq!(spec.clauses[0].name, "news");
    }

    #[test]
    fn what_is_no_clause_is_said() {
        for (text, says) in [
            ("", "empty"),
            ("{}", "expected a sequence"),
            ("[{}]", "clause 0: it does nothing"),
            (r#"[{"Default": false}]"#, "clause 0: it does nothing"),
            (r#"[{"Default": true}, {"After": "1s", "Default": true}]"#, "clause 1: it can do only one"),
            (r#"[{"After": "1s", "after": "2s"}]"#, "twice"),
            (r#"[{"After": 5}]"#, "clause 0: After: "),
            (r#"[{"After": "soon"}]"#, "clause 0: After: \"soon\""),
            (r#"[{"Recv": "/"}]"#, "clause 0: /: "),
            (r#"[{"Receive": "/X0000000000000001/a"}]"#, "no field is called \"Receive\""),
        ] {
            let why = read_select(text.as_bytes()).expect_err(text);
            assert!(why.contains(says), "{text}: {why}");
        }
    }
}
