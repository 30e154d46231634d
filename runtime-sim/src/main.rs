//! The simulator's command line.

use std::{
    ops::Range,
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use circuit_sim::{
    Report,
    report::Summary,
    scenarios::{self, Options, Scenario},
};
use clap::{Parser, Subcommand};
use comfy_table::{CellAlignment, Table};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

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
        Command::Run { scenario, nodes, seeds, json } => with(&scenario, |scenario| run(scenario, nodes, seeds, json)),
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
fn run(scenario: &'static Scenario, nodes: Option<usize>, seeds: Range<u64>, json: bool) -> ExitCode {
    let started = Instant::now();
    let reports = run_all(scenario, nodes, seeds);
    let summaries = Summary::of(reports.iter().map(|(_, report)| report));
    let wall = started.elapsed();
    if json {
        println!("{}", as_json(scenario, nodes, &reports, &summaries, wall));
    } else {
        print_table(&reports, &summaries, wall);
    }
    if let Some((seed, report)) = reports.iter().find(|(_, report)| report.failure.is_some()) {
        failed(scenario, nodes, *seed, report);
        return ExitCode::FAILURE;
    }
    for summary in summaries.iter().filter(|summary| !summary.is_met()) {
        eprintln!("{}: the bar is missed", summary.name);
    }
    if let Some((seed, report)) = reports.iter().find(|(_, report)| report.missed().next().is_some()) {
        for figure in report.missed() {
            let bar = figure.bar.map(|bar| bar.to_string()).unwrap_or_default();
            eprintln!("seed {seed}: {}: {} where the bar is {bar}", figure.name, figure.value);
        }
        failed(scenario, nodes, *seed, report);
    }
    if summaries.iter().all(Summary::is_met) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_all(scenario: &'static Scenario, nodes: Option<usize>, seeds: Range<u64>) -> Vec<(u64, Report)> {
    let progress = ProgressBar::new(seeds.end - seeds.start);
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} seeds, {eta} to go");
    progress.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    progress.set_message(scenario.name);
    progress.enable_steady_tick(Duration::from_secs(1));
    let next = AtomicU64::new(seeds.start);
    let work = || {
        let mut reports = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return reports;
            }
            let report = (scenario.run)(&Options { seed, nodes, trace: false });
            progress.inc(1);
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
    progress.finish_and_clear();
    reports.sort_by_key(|(seed, _)| *seed);
    reports
}

fn totals(reports: &[(u64, Report)]) -> (u64, f64) {
    let events = reports.iter().map(|(_, report)| report.events).sum();
    (events, reports.iter().map(|(_, report)| report.simulated.as_secs_f64()).sum())
}

fn print_table(reports: &[(u64, Report)], summaries: &[Summary], wall: Duration) {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["", "total, or median", "worst", "bar", ""]);
    for summary in summaries {
        let value = number(summary.value);
        match summary.worst {
            None => table.add_row([summary.name.clone(), value]),
            Some((worst, bar)) => {
                let verdict = if summary.is_met() { "met" } else { "MISSED" };
                table.add_row([summary.name.clone(), value, number(worst), bar.to_string(), verdict.into()])
            }
        };
    }
    for column in 1..4 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    println!("{}", table.trim_fmt());
    let (events, simulated) = totals(reports);
    let wall = wall.as_secs_f64();
    println!("{} seeds, {events} events, {simulated:.0} simulated seconds in {wall:.1} s", reports.len());
}

/// A count as it is, anything else with three figures behind the point.
fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value}") } else { format!("{value:.3}") }
}

fn as_json(
    scenario: &Scenario,
    nodes: Option<usize>,
    reports: &[(u64, Report)],
    summaries: &[Summary],
    wall: Duration,
) -> serde_json::Value {
    let figure = |summary: &Summary| {
        json!({
            "name": summary.name,
            "value": summary.value,
            "worst": summary.worst.map(|(worst, _)| worst),
            "bar": summary.worst.map(|(_, bar)| bar.to_string()),
            "met": summary.is_met(),
        })
    };
    let failure = reports.iter().find_map(|(seed, report)| Some((seed, report.failure.as_ref()?)));
    let (events, simulated) = totals(reports);
    json!({
        "scenario": scenario.name,
        "nodes": nodes,
        "seeds": reports.len(),
        "events": events,
        "simulated": simulated,
        "wall": wall.as_secs_f64(),
        "figures": summaries.iter().map(figure).collect::<Vec<_>>(),
        "failure": failure.map(|(seed, failure)| json!({ "seed": seed, "what": failure.to_string() })),
    })
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
