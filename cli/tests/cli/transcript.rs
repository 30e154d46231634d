//! Transcripts: what a person types and what comes, as documents have them.
//!
//! The rules, all of them:
//!
//! - A block that is fenced as `console` is a transcript. A line that begins with
//!   `$ ` is a command, the lines after it that begin with `> ` go on with it, and
//!   what follows is what it prints, on standard output and error together.
//! - `…` in a line stands for anything within that line; a line that is only `…`
//!   stands for any number of lines.
//! - Sixteen hexadecimal digits are an id: another one in each run, but the same
//!   wherever the document has the same, in what is typed as well.
//! - A command is over when the shell is ready for the next and as many lines have
//!   come as it is to print: some come from what runs in the background.
//! - What only looks (`circuit ls`, `circuit peek`, `cat`) is asked again until it
//!   prints what it should: a person who types it comes later than this test does.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

/// How long a command may take before the test says that it hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the shell prints when it is ready.
const READY: &str = "tour: ready";

/// A command, and what it prints.
#[derive(Debug)]
pub(crate) struct Step {
    command: String,
    expected: Vec<String>,
}

/// Ids as the document has them, and as they are.
pub(crate) type Ids = BTreeMap<String, String>;

/// The steps of all blocks that are fenced as `fence`.
pub(crate) fn steps(text: &str, fence: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        match (inside, line) {
            (false, line) => inside = line.strip_prefix("```") == Some(fence),
            (true, "```") => inside = false,
            (true, line) => {
                if let Some(command) = line.strip_prefix("$ ") {
                    steps.push(Step { command: command.to_owned(), expected: Vec::new() });
                    continue;
                }
                let step = steps.last_mut().expect("a transcript begins with a command");
                match line.strip_prefix("> ") {
                    Some(more) if step.expected.is_empty() => step.command += &format!("\n{more}"),
                    _ => step.expected.push(line.to_owned()),
                }
            }
        }
    }
    steps
}

/// A shell with all that it started, which end with this.
pub(crate) struct Shell {
    folder: TempDir,
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
    count: usize,
}

impl Shell {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let binary = Path::new(env!("CARGO_BIN_EXE_circuit")).parent().expect("a folder").display();
        let mut command = Command::new("/bin/sh");
        command.current_dir(folder.path()).env_clear().env("HOME", folder.path());
        command.env("PATH", format!("{binary}:/usr/bin:/bin")).process_group(0);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a shell");
        let stdin = child.stdin.take().expect("its input");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let (tell, lines) = channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        Self { folder, child, stdin, lines, count: 0 }
    }

    /// Runs a command: what was printed until the shell was ready and there
    /// were `enough` lines.
    fn run(&mut self, command: &str, enough: usize) -> Vec<String> {
        self.count += 1;
        let script = self.folder.path().join(format!(".step-{}", self.count));
        fs::write(&script, format!("{command}\n")).expect("written");
        // What reads standard input must not read the shell's. The status is
        // kept for `echo $?`.
        let line = format!(". {} < /dev/null 2>&1; s=$?; echo '{READY}'; (exit $s)\n", script.display());
        self.stdin.write_all(line.as_bytes()).expect("a shell");
        let (mut printed, mut ready) = (Vec::new(), false);
        while !ready || printed.len() < enough {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line == READY => ready = true,
                Ok(line) => printed.push(line),
                Err(_) => panic!("{command}: it hangs, or the shell has ended, after:\n{}", printed.join("\n")),
            }
        }
        printed
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let _ = group.map(|group| kill_process_group(group, Signal::KILL));
        let _ = self.child.wait();
    }
}

/// Whether lines are as they should be; the ids that they have then.
fn lines_match(expected: &[String], printed: &[String], ids: &Ids) -> Option<Ids> {
    match (expected.split_first(), printed.split_first()) {
        (None, None) => Some(ids.clone()),
        (Some((first, rest)), printed_first) if first == "…" => lines_match(rest, printed, ids)
            .or_else(|| printed_first.and_then(|(_, printed_rest)| lines_match(expected, printed_rest, ids))),
        (Some((first, rest)), Some((line, printed_rest))) => {
            let mut ids = ids.clone();
            line_matches(first, line, &mut ids).then(|| lines_match(rest, printed_rest, &ids)).flatten()
        }
        _ => None,
    }
}

fn line_matches(expected: &str, printed: &str, ids: &mut Ids) -> bool {
    if let Some(rest) = expected.strip_prefix('…') {
        let ends = printed.char_indices().map(|(at, _)| at).chain([printed.len()]);
        for end in ends {
            let mut tried = ids.clone();
            if line_matches(rest, &printed[end..], &mut tried) {
                *ids = tried;
                return true;
            }
        }
        return false;
    }
    if let (Some((name, rest)), Some((id, printed_rest))) = (id_at(expected), id_at(printed)) {
        let known = ids.get(name).map(String::as_str);
        let taken = known.is_none() && ids.values().any(|other| other == id);
        if taken || known.is_some_and(|known| known != id) {
            return false;
        }
        ids.insert(name.to_owned(), id.to_owned());
        return line_matches(rest, printed_rest, ids);
    }
    let (mut left, mut right) = (expected.chars(), printed.chars());
    match (left.next(), right.next()) {
        (None, None) => true,
        (one, other) => one == other && line_matches(left.as_str(), right.as_str(), ids),
    }
}

/// The id that a text begins with, and the rest.
fn id_at(text: &str) -> Option<(&str, &str)> {
    let (id, rest) = text.split_at_checked(16)?;
    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    (id.chars().all(hex) && !rest.starts_with(hex)).then_some((id, rest))
}

/// The same with every id that is known as it is.
fn with_ids(text: &str, ids: &Ids) -> String {
    ids.iter().fold(text.to_owned(), |text, (name, id)| text.replace(name, id))
}

/// Runs the steps in one shell.
///
/// # Errors
/// What was printed and should not have been.
pub(crate) fn run(shell: &mut Shell, steps: &[Step], ids: &mut Ids) -> Result<(), String> {
    for Step { command, expected } in steps {
        let enough = expected.iter().filter(|line| *line != "…").count();
        let again = ["circuit ls ", "circuit peek ", "cat "].iter().any(|looks| command.starts_with(looks));
        let until = Instant::now() + PATIENCE;
        loop {
            let printed = shell.run(&with_ids(command, ids), if again { 0 } else { enough });
            if let Some(found) = lines_match(expected, &printed, ids) {
                *ids = found;
                break;
            }
            let (expected, printed) = (expected.join("\n"), printed.join("\n"));
            if !again || Instant::now() > until {
                return Err(format!("$ {command}\nprints\n{printed}\nand not\n{expected}\nwith {ids:?}"));
            }
        }
    }
    Ok(())
}

#[test]
fn a_transcript_matches_what_it_should_and_nothing_else() {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let ids = Ids::from([("00000000000000aa".to_owned(), "1111111111111111".to_owned())]);
    let matches = |expected: &str, printed: &str| lines_match(&lines(expected), &lines(printed), &ids).is_some();
    assert!(matches("", "") && matches("a", "a") && matches("a…c", "abc") && matches("a…", "a"));
    assert!(!matches("a", "") && !matches("", "a") && !matches("a", "ab") && !matches("a…c", "abcd"));
    assert!(matches("…", "") && matches("…\nb", "a\nb\nb") && matches("a\n…\nc", "a\nb\nb\nc"));
    assert!(!matches("a\n…\nc", "a\nb") && !matches("…\nb", "b\na"));
    assert!(matches("X00000000000000aa", "X1111111111111111"), "it is known by that");
    assert!(!matches("X00000000000000aa", "X2222222222222222"), "it is known by another");
    assert!(!matches("X00000000000000bb", "X1111111111111111"), "that is known by another");
    assert!(matches("X00000000000000bb", "X2222222222222222"));
    assert!(!matches("/00000000000000bb\n/00000000000000bb", "/2222222222222222\n/3333333333333333"));
}
