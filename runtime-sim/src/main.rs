//! The simulator's command line.

use std::{
    ops::Range,
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Instant,
};

use circuit_sim::{
    Report,
    scenarios::{self, Options, Scenario},
};
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
        /// Print everything that happens.
        #[arg(long)]
        trace: bool,
    },
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let parsed = text.split_once("..").and_then(|(first, end)| Some(first.parse().ok()?..end.parse().ok()?));
    parsed.filter(|range: &Range<u64>| !range.is_empty()).ok_or_else(|| "seeds are given as FIRST..END".to_owned())
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::List => {
            for scenario in scenarios::ALL {
                println!("{:<12} {}", scenario.name, scenario.about);
            }
            ExitCode::SUCCESS
        }
        Command::Run { scenario, nodes, seeds } => with(&scenario, |scenario| run(scenario, nodes, seeds)),
        Command::Replay { scenario, nodes, seed, trace } => {
            with(&scenario, |scenario| replay(scenario, &Options { seed, nodes, trace }))
        }
    }
}

fn with(name: &str, act: impl FnOnce(&'static Scenario) -> ExitCode) -> ExitCode {
    match scenarios::find(name) {
        Some(scenario) => act(scenario),
        None => {
            eprintln!("circuit-sim: there is no scenario '{name}'; 'circuit-sim list' names them");
            ExitCode::from(2)
        }
    }
}

/// Runs all seeds on all processors; ends with the lowest that failed.
fn run(scenario: &'static Scenario, nodes: Option<usize>, seeds: Range<u64>) -> ExitCode {
    let started = Instant::now();
    let next = AtomicU64::new(seeds.start);
    let work = || {
        let mut reports = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return reports;
            }
            let report = (scenario.run)(&Options { seed, nodes, trace: false });
            let failed = report.failure.is_some();
            reports.push((seed, report));
            if failed {
                next.store(seeds.end, Ordering::Relaxed);
            }
        }
    };
    let mut reports: Vec<(u64, Report)> = thread::scope(|scope| {
        let workers: Vec<_> =
            (0..thread::available_parallelism().map_or(1, usize::from)).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker panicked")).collect()
    });
    reports.sort_by_key(|(seed, _)| *seed);
    summarize(&reports, started);
    match reports.iter().find(|(_, report)| report.failure.is_some()) {
        Some((seed, report)) => {
            failed(scenario, nodes, *seed, report);
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}

fn summarize(reports: &[(u64, Report)], started: Instant) {
    let wall = started.elapsed().as_secs_f64();
    let simulated: f64 = reports.iter().map(|(_, report)| report.simulated.as_secs_f64()).sum();
    let events: u64 = reports.iter().map(|(_, report)| report.events).sum();
    let mut figures = std::collections::BTreeMap::<&str, u64>::new();
    for (name, figure) in reports.iter().flat_map(|(_, report)| &report.figures) {
        *figures.entry(name).or_default() += figure;
    }
    for (name, figure) in figures {
        println!("{name:<32} {figure:>12}");
    }
    println!("{} seeds, {events} events, {simulated:.0} simulated seconds in {wall:.1} s", reports.len());
}

fn failed(scenario: &Scenario, nodes: Option<usize>, seed: u64, report: &Report) {
    if let Some(failure) = &report.failure {
        eprintln!("seed {seed}: {failure}");
    }
    let nodes = nodes.map_or_else(String::new, |nodes| format!(" --nodes {nodes}"));
    eprintln!("replay: cargo run --release -p circuit-sim -- replay {}{nodes} --seed {seed}", scenario.name);
}

fn replay(scenario: &'static Scenario, options: &Options) -> ExitCode {
    let seed = options.seed;
    let (first, second) = ((scenario.run)(options), (scenario.run)(&Options { trace: false, ..*options }));
    println!("trace {:016x}, {} events", first.hash, first.events);
    if first.hash != second.hash {
        eprintln!("seed {seed}: the second run was another: {:016x}", second.hash);
        return ExitCode::FAILURE;
    }
    if first.failure.is_none() {
        return ExitCode::SUCCESS;
    }
    failed(scenario, options.nodes, seed, &first);
    ExitCode::FAILURE
}
