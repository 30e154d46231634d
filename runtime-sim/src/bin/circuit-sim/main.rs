//! The simulator's command line.

mod planted;
mod replay;
mod run;

use std::{
    env,
    fmt::Display,
    io::{self, Write},
    ops::Range,
    process::{self, ExitCode},
};

use circuit_sim::scenarios::{self, Options, Scenario, Telling};
use clap::{Parser, Subcommand};

/// Simulated circuits: scenarios with their checks, replayed from their seeds.
#[derive(Parser)]
#[command(name = "circuit-sim", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the scenarios.
    List,
    /// Run a scenario on many seeds.
    Run {
        /// Which, as `list` names it.
        scenario: String,
        /// How many servers, if not the scenario's own choice.
        #[arg(long)]
        nodes: Option<usize>,
        /// Seeds, as FIRST..END.
        #[arg(long, default_value = "0..20", value_parser = seeds)]
        seeds: Range<u64>,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        limits: run::Limits,
    },
    /// Run a scenario on one seed, twice, and print its trace hash.
    Replay {
        /// Which, as `list` names it.
        scenario: String,
        /// How many servers, if not the scenario's own choice.
        #[arg(long)]
        nodes: Option<usize>,
        /// The seed.
        #[arg(long)]
        seed: u64,
        /// The only faults that are to happen, by their numbers in the plan, or
        /// 'none'.
        #[arg(long, value_parser = numbers)]
        faults: Option<Numbers>,
        /// Print everything that happens.
        #[arg(long)]
        trace: bool,
    },
    /// Run each scenario with few servers, and print its trace hash. It is the same
    /// on every machine, and however this program was built.
    Hashes {
        /// The seed.
        #[arg(long, default_value_t = 0)]
        seed: u64,
    },
    /// Put Circuit and others through the same, in the same world, and print what
    /// it cost each. The comparison is built first, by cargo, where this was built.
    Compare {
        /// SCENARIO, or all, [--nodes N] [--seeds FIRST..END]
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        words: Vec<String>,
    },
    /// Make small mistakes in copies of the core, each by itself, and see by which
    /// scenario it is caught.
    Planted {
        /// Which, as files in tests/planted are named; all if none is given.
        names: Vec<String>,
        /// How many seeds a fault may get through before it counts as not
        /// caught.
        #[arg(long, default_value_t = 2_000)]
        seeds: u64,
        /// How many are looked for at once. Each uses a core, and up to 4 GiB.
        #[arg(long, default_value_t = 1)]
        jobs: usize,
    },
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let parsed = text.split_once("..").and_then(|(first, end)| Some(first.parse().ok()?..end.parse().ok()?));
    parsed
        .filter(|range: &Range<u64>| !range.is_empty())
        .ok_or_else(|| "seeds are given as FIRST..END, of which the first is less than the end".to_owned())
}

/// Faults, by their numbers in a plan.
#[derive(Clone)]
struct Numbers(Vec<usize>);

fn numbers(text: &str) -> Result<Numbers, String> {
    let numbers = text.split(',').filter(|_| text != "none").map(str::parse).collect::<Result<Vec<usize>, _>>();
    numbers.map(Numbers).map_err(|_| "faults are given as 3,5,8 or none".to_owned())
}

fn main() -> ExitCode {
    match execute(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("circuit-sim: {error}");
            ExitCode::from(2)
        }
    }
}

fn execute(command: Command) -> io::Result<ExitCode> {
    match command {
        Command::List => list(),
        Command::Run { scenario, nodes, seeds, json, limits } => {
            run::run(find(&scenario, nodes)?, nodes, seeds, json, &limits)
        }
        Command::Replay { scenario, nodes, seed, faults, trace } => {
            let telling = if trace { Telling::All } else { Telling::Nothing };
            let faults = faults.as_ref().map(|Numbers(all)| all.as_slice());
            let options = Options { nodes, faults, telling, ..Options::of(seed) };
            replay::replay(find(&scenario, nodes)?, &options)
        }
        Command::Hashes { seed } => hashes(seed),
        Command::Compare { words } => compare(&words),
        Command::Planted { names, seeds, jobs } => planted::plant(&names, seeds, jobs),
    }
}

/// Prints a result. Whoever reads no further has read enough; the status tells
/// them the rest.
fn say(result: &impl Display) -> io::Result<()> {
    match writeln!(io::stdout(), "{result}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

fn find(name: &str, nodes: Option<usize>) -> io::Result<&'static Scenario> {
    let unknown = || io::Error::other(format!("there is no scenario '{name}'; 'circuit-sim list' names them"));
    let scenario = scenarios::find(name).ok_or_else(unknown)?;
    let (least, most) = (scenario.servers.start(), scenario.servers.end());
    match nodes.filter(|nodes| !scenario.servers.contains(nodes)) {
        Some(nodes) => Err(io::Error::other(format!("{name} has {least} to {most} servers, and not {nodes}"))),
        None => Ok(scenario),
    }
}

fn list() -> io::Result<ExitCode> {
    let lines: Vec<_> = scenarios::ALL.iter().map(|one| format!("{:<12} {}", one.name, one.about)).collect();
    say(&lines.join("\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn hashes(seed: u64) -> io::Result<ExitCode> {
    let mut all_hold = true;
    for scenario in scenarios::ALL {
        let options = Options { nodes: scenario.small, ..Options::of(seed) };
        let report = scenario.report(&options);
        say(&format!("{:<12} {:016x}", scenario.name, report.hash))?;
        if !run::holds(&report) {
            replay::failed(scenario, &options, &report, false);
            all_hold = false;
        }
    }
    Ok(if all_hold { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the comparison, which is built with what it compares: this is not.
fn compare(words: &[String]) -> io::Result<ExitCode> {
    // What is no name is not worth minutes of building.
    if let Some(name) = words.first().filter(|word| !word.starts_with('-') && *word != "all") {
        find(name, None)?;
    }
    let mut cargo = process::Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["run", "--package", "circuit-sim", "--example", "compare"]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let source = env!("CARGO_MANIFEST_DIR");
    let status = cargo.arg("--").args(words).current_dir(source).status().map_err(|error| {
        io::Error::other(format!(
            "the comparison is built by cargo in {source}, and that does not start: {error}. Run this in a clone: \
             cargo run --release -p circuit-sim -- compare"
        ))
    })?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
