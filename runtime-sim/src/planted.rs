//! Planted faults: how good the scenarios are at finding mistakes.
//!
//! Every patch in `tests/planted` makes one small mistake in the core, such as
//! anybody could make. In a copy of the workspace each is made in turn, and the
//! scenarios run until one of them fails. All are treated alike: nothing is
//! known of a fault but that its patch applies. A scenario that fails on the
//! same seeds without the fault has found something else, and does not count.

use std::{
    fs,
    io::{self, Read, Seek},
    ops::Range,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::scenarios::{self, Scenario};

/// Where the patches are.
const FOLDER: &str = "tests/planted";
/// What a batch may take, many times over; what takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(600);
/// Kilobytes that a run may use: some mistakes would eat up all there are.
const MEMORY: u64 = 4 * 1024 * 1024;
/// Where the first two rounds of seeds end: most faults do not get farther.
const ROUNDS: [u64; 2] = [10, 100];
/// How many seeds every later round has.
const ROUND: u64 = 100;
/// Scenarios that are as good as the same on every seed run on one in so many.
const ONE_IN: u64 = 20;
/// Built fast, again and again, and checked wherever the language checks.
const PROFILE: &str = r#"
[profile.planted]
inherits = "release"
opt-level = 2
lto = "off"
codegen-units = 16
incremental = true
debug = false
debug-assertions = true
overflow-checks = true
"#;

/// A mistake that is made on purpose.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The name of its patch.
    pub name: String,
    /// What the mistake is, as the first line of the patch says.
    pub about: String,
    patch: PathBuf,
}

/// What came of a fault.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// A scenario failed.
    Caught(Catch),
    /// None did.
    Escaped,
    /// Nothing can be said of it, and why.
    Broken(String),
}

/// By what a fault was caught.
#[derive(Clone, Debug)]
pub struct Catch {
    /// The scenario, with the number of its servers if that was given.
    pub scenario: String,
    /// The seed, or those of a batch that ended without naming one.
    pub seeds: Range<u64>,
    /// The invariant that did not hold, the bar that was missed, or how else
    /// the run ended.
    pub how: String,
}

/// Some seeds of one scenario.
#[derive(Clone, Debug)]
struct Batch {
    scenario: &'static Scenario,
    nodes: Option<usize>,
    seeds: Range<u64>,
}

/// A copy of the workspace in which mistakes are made.
#[derive(Debug)]
pub struct Bench {
    copy: TempDir,
    target: PathBuf,
    /// The simulator without any fault.
    sound: PathBuf,
}

/// The workspace that `from` is in.
pub fn workspace(from: &Path) -> io::Result<PathBuf> {
    let found = from.ancestors().find(|folder| folder.join(FOLDER).is_dir());
    found
        .map(Path::to_owned)
        .ok_or_else(|| io::Error::other(format!("there is no {FOLDER} here, or above: run this in a clone")))
}

/// All faults of a workspace, or those of `names`.
pub fn faults(root: &Path, names: &[String]) -> io::Result<Vec<Fault>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root.join(FOLDER))? {
        let patch = entry?.path();
        if patch.extension().is_none_or(|ending| ending != "patch") {
            continue;
        }
        let name = patch.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(&patch)?;
        let about = text.lines().next().unwrap_or_default().trim_start_matches("# ").to_owned();
        found.push(Fault { name, about, patch });
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    if let Some(unknown) = names.iter().find(|name| !found.iter().any(|fault| fault.name == **name)) {
        return Err(io::Error::other(format!("there is no fault '{unknown}' in {FOLDER}")));
    }
    found.retain(|fault| names.is_empty() || names.contains(&fault.name));
    Ok(found)
}

impl Bench {
    /// Copies a workspace, and builds its simulator as it is. Benches of different
    /// numbers are not in each other's way.
    pub fn new(root: &Path, number: usize) -> io::Result<Self> {
        let copy = tempfile::tempdir()?;
        copy_folder(root, copy.path())?;
        let manifest = copy.path().join("Cargo.toml");
        let profile = fs::read_to_string(&manifest)? + PROFILE;
        fs::write(&manifest, profile)?;
        let bench =
            Self { target: root.join(format!("target/planted/{number}")), sound: copy.path().join("sound"), copy };
        let built = bench.build()?;
        fs::copy(built, &bench.sound)?;
        Ok(bench)
    }

    /// Makes the mistake and looks who notices, on the seeds below `seeds`; and
    /// how long the scenarios ran for that.
    pub fn examine(&self, fault: &Fault, seeds: u64) -> (Verdict, Duration) {
        let mut took = Duration::ZERO;
        let verdict = self.apply(fault, &[]).and_then(|()| {
            let built = self.build();
            let began = Instant::now();
            let verdict = built.and_then(|simulator| self.search(&simulator, seeds));
            took = began.elapsed();
            self.apply(fault, &["--reverse"]).and(verdict)
        });
        (verdict.unwrap_or_else(|error| Verdict::Broken(error.to_string())), took)
    }

    fn apply(&self, fault: &Fault, options: &[&str]) -> io::Result<()> {
        let copy = self.copy.path();
        let mut git = Command::new("git");
        // Whatever the copy lies in, it is no part of a repository.
        git.arg("apply").args(options).arg(&fault.patch).env("GIT_CEILING_DIRECTORIES", copy.parent().unwrap_or(copy));
        succeed(git.current_dir(copy))
    }

    /// Builds the simulator as the copy has it now. What does not change stays
    /// built, from one fault to the next and from one run to the next.
    fn build(&self) -> io::Result<PathBuf> {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--quiet", "--locked", "--package", "circuit-sim", "--profile", "planted"]);
        succeed(cargo.arg("--target-dir").arg(&self.target).current_dir(self.copy.path()))?;
        Ok(self.target.join("planted/circuit-sim"))
    }

    fn search(&self, simulator: &Path, seeds: u64) -> io::Result<Verdict> {
        for batch in batches(seeds) {
            let Some(catch) = batch.run(simulator)? else { continue };
            // What fails without it as well proves nothing.
            let same = Batch { seeds: catch.seeds.clone(), ..batch };
            if same.run(&self.sound)?.is_none() {
                return Ok(Verdict::Caught(catch));
            }
        }
        Ok(Verdict::Escaped)
    }
}

/// Everything that is run, in this order: a few seeds of all scenarios first,
/// so that what is easily caught is caught at once; large circuits, which take
/// longer, after all that is caught in small ones within a hundred seeds.
fn batches(seeds: u64) -> impl Iterator<Item = Batch> {
    let ends = ROUNDS.into_iter().chain((2..).map(|round| round * ROUND));
    let begins = [0].into_iter().chain(ends.clone());
    let rounds = begins.zip(ends).take_while(move |(begin, _)| *begin < seeds);
    rounds.flat_map(move |(begin, end)| {
        let large = (begin == ROUNDS[1]).then(large);
        large.into_iter().flatten().chain(round(begin..end.min(seeds)))
    })
}

/// Some seeds of every scenario.
fn round(seeds: Range<u64>) -> impl Iterator<Item = Batch> {
    let of = move |scenario: &'static Scenario| {
        let every = if scenario.small.is_some() { ONE_IN } else { 1 };
        Batch { scenario, nodes: scenario.small, seeds: seeds.start.div_ceil(every)..seeds.end.div_ceil(every) }
    };
    scenarios::ALL.iter().map(of).filter(|batch| !batch.seeds.is_empty())
}

/// The scenarios that show more among many.
fn large() -> impl Iterator<Item = Batch> {
    let of = |scenario: &'static Scenario| {
        scenario.large.map(|(nodes, seeds)| Batch { scenario, nodes: Some(nodes), seeds: 0..seeds })
    };
    scenarios::ALL.iter().filter_map(of)
}

impl Batch {
    /// Runs it: what went wrong, if anything did.
    fn run(&self, simulator: &Path) -> io::Result<Option<Catch>> {
        let Self { scenario: Scenario { name, .. }, nodes, seeds } = self;
        let (mut out, mut err) = (tempfile::tempfile()?, tempfile::tempfile()?);
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -v {MEMORY}; exec \"$@\""), "sh"]).arg(simulator);
        command.args(["run", name, "--json", "--seeds", &format!("{}..{}", seeds.start, seeds.end)]);
        let nodes = nodes.map(|nodes| nodes.to_string());
        command.args(nodes.iter().flat_map(|nodes| ["--nodes", nodes]));
        let child = command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(err.try_clone()?).spawn()?;
        let status = wait(child)?;
        if status.is_some_and(|status| status.success()) {
            return Ok(None);
        }
        let (mut told, mut cried) = (String::new(), String::new());
        out.rewind()?;
        out.read_to_string(&mut told)?;
        err.rewind()?;
        err.read_to_string(&mut cried)?;
        let scenario = nodes.map_or_else(|| (*name).to_owned(), |nodes| format!("{name} --nodes {nodes}"));
        let all = || (seeds.clone(), format!("nothing came of it for {} s", PATIENCE.as_secs()));
        let (seeds, how) = status.map_or_else(all, |_| {
            let report = serde_json::from_str(&told).ok();
            let known = report.and_then(|report: Value| failure(&report).or_else(|| Some((None, missed(&report)?))));
            let (seed, how) = known.unwrap_or_else(|| (None, last_words(&cried)));
            (seed.map_or_else(|| seeds.clone(), |seed| seed..seed + 1), how)
        });
        Ok(Some(Catch { scenario, seeds, how }))
    }
}

/// The seed that failed, and how.
fn failure(report: &Value) -> Option<(Option<u64>, String)> {
    let failure = report.get("failure").filter(|failure| !failure.is_null())?;
    Some((failure.get("seed")?.as_u64(), failure.get("what")?.as_str()?.to_owned()))
}

/// The first bar that was missed.
fn missed(report: &Value) -> Option<String> {
    let figure = report.get("figures")?.as_array()?.iter().find(|figure| figure.get("met") == Some(&false.into()))?;
    // JSON has no infinity, which is how long it takes what never comes about.
    let number = |value: &Value| if value.is_null() { "never".to_owned() } else { value.to_string() };
    let word = |key| figure.get(key).map(|value| value.as_str().map_or_else(|| number(value), str::to_owned));
    Some(format!("{}: {}, and not {}", word("name")?, word("worst")?, word("bar")?))
}

/// What a run said that did not end as it should: the words of a panic, or the
/// last of all.
fn last_words(cried: &str) -> String {
    let mut lines = cried.lines();
    let panic = lines.by_ref().find(|line| line.contains("panicked at"));
    let words = panic.map(|panic| format!("{panic} {}", lines.next().unwrap_or_default()));
    words.unwrap_or_else(|| cried.lines().last().unwrap_or("it was killed").to_owned())
}

/// How a child ended; none if it had to be ended.
fn wait(mut child: Child) -> io::Result<Option<ExitStatus>> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        thread::sleep(Duration::from_millis(20));
    }
    child.kill()?;
    child.wait().map(|_| None)
}

/// Runs a command that has to succeed; if it does not, the error is what it
/// said.
fn succeed(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let what = said.lines().find(|line| line.starts_with("error")).unwrap_or(said.trim());
    Err(io::Error::other(format!("{}: {what}", command.get_program().display())))
}

/// Copies what the workspace is made from, and nothing that was made from it.
fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (name, kind) = (entry.file_name(), entry.file_type()?);
        if name == "target" || name == ".git" {
            continue;
        }
        let there = to.join(&name);
        if kind.is_dir() {
            fs::create_dir(&there)?;
            copy_folder(&entry.path(), &there)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), &there)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_is_run_once_and_of_some_scenarios_one_in_many() {
        let batches: Vec<Batch> = batches(250).collect();
        for scenario in scenarios::ALL {
            let mine = batches.iter().filter(|batch| batch.scenario.name == scenario.name);
            let mine = mine.filter(|batch| batch.nodes == scenario.small);
            let seeds: Vec<u64> = mine.flat_map(|batch| batch.seeds.clone()).collect();
            let count = if scenario.small.is_some() { 13 } else { 250 };
            assert_eq!(seeds, (0..count).collect::<Vec<_>>(), "{}", scenario.name);
        }
        assert!(batches.first().is_some_and(|batch| batch.seeds == (0..10)));
    }

    #[test]
    fn large_circuits_come_once_and_after_what_is_caught_soon() {
        let is_large = |batch: &Batch| batch.scenario.large.is_some_and(|(nodes, _)| batch.nodes == Some(nodes));
        assert!(!batches(100).any(|batch| is_large(&batch)));
        let all: Vec<Batch> = batches(400).collect();
        let large: Vec<usize> = (0..all.len()).filter(|&place| is_large(&all[place])).collect();
        assert_eq!(large.len(), scenarios::ALL.iter().filter(|scenario| scenario.large.is_some()).count());
        assert!(all[..large[0]].iter().all(|batch| batch.seeds.end <= 100));
        assert!(large.windows(2).all(|two| two[1] == two[0] + 1));
    }

    #[test]
    fn what_a_run_says_is_understood() {
        let figures = r#""figures": [{"name": "joins", "met": true}, {"name": "gone, s", "worst": 9.5, "bar": "<= 8", "met": false}]"#;
        let parse = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
        let report = parse(&format!(r#"{{"failure": null, {figures}}}"#));
        assert_eq!((failure(&report), missed(&report).as_deref()), (None, Some("gone, s: 9.5, and not <= 8")));
        let report = parse(r#"{"failure": {"seed": 7, "what": "at 3s: lost"}, "figures": []}"#);
        assert_eq!(failure(&report), Some((Some(7), "at 3s: lost".to_owned())));
        assert_eq!(missed(&report), None);
        let cried = "note\nthread 'x' panicked at core/src/a.rs:3:4:\nout of bounds\nmore";
        assert_eq!(last_words(cried), "thread 'x' panicked at core/src/a.rs:3:4: out of bounds");
        assert_eq!(last_words("one\ntwo"), "two");
    }
}
