//! The simulator's command line.

use std::{
    env, fs, io,
    ops::Range,
    process::{self, ExitCode},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use circuit_sim::{
    Bar, Report,
    planted::{self, Bench, Verdict},
    report::Summary,
    scenarios::{self, Options, Scenario, Telling},
    shrink::{Shrunk, shrink},
};
use clap::{Parser, Subcommand};
use comfy_table::{CellAlignment, ContentArrangement, Table};
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
        #[arg(long, value_parser = nodes)]
        nodes: Option<usize>,
        /// Seeds, as FIRST..END.
        #[arg(long, default_value = "0..20", value_parser = seeds)]
        seeds: Range<u64>,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        limits: Limits,
    },
    /// Run a scenario on one seed, twice, and print its trace hash.
    Replay {
        /// Which, as `list` names it.
        scenario: String,
        /// How many servers, if not the scenario's own choice.
        #[arg(long, value_parser = nodes)]
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
    /// Print the trace hash of each scenario with few servers. It is the same on
    /// every machine, and however this program was built.
    Hashes {
        /// The seed.
        #[arg(long, default_value_t = 0)]
        seed: u64,
    },
    /// Put Circuit and others through the same, in the same world, and print what
    /// it cost each: SCENARIO [--nodes N] [--seeds FIRST..END].
    Compare {
        /// What the comparison is told; `--help` says more.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        words: Vec<String>,
    },
    /// Make small mistakes in a copy of the core, one after the other, and see
    /// by which scenario each is caught.
    Planted {
        /// Which, as files in tests/planted are named; all if none is given.
        names: Vec<String>,
        /// How many seeds a fault may get through before it counts as not
        /// caught.
        #[arg(long, default_value_t = 2_000)]
        seeds: u64,
    },
}

/// What all of a run may cost this machine.
#[derive(clap::Args)]
struct Limits {
    /// All seeds have to be through within so many seconds.
    #[arg(long)]
    within: Option<f64>,
    /// And in so many GiB of memory.
    #[arg(long)]
    memory: Option<f64>,
}

/// What it did cost.
struct Cost {
    wall: Duration,
    /// The most memory at any time, in GiB, where that can be found out.
    memory: Option<f64>,
}

/// For so long a failure is cut down.
const PATIENCE: Duration = Duration::from_secs(60);
/// So many planted faults may get away.
const MAY_ESCAPE: usize = 2;

fn nodes(text: &str) -> Result<usize, String> {
    let fits = |nodes: &usize| (2..=1 << 16).contains(nodes);
    text.parse().ok().filter(fits).ok_or_else(|| "a world has 2 to 65,536 servers".to_owned())
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let parsed = text.split_once("..").and_then(|(first, end)| Some(first.parse().ok()?..end.parse().ok()?));
    parsed.filter(|range: &Range<u64>| !range.is_empty()).ok_or_else(|| "seeds are given as FIRST..END".to_owned())
}

/// Faults, by their numbers in a plan.
#[derive(Clone)]
struct Numbers(Vec<usize>);

fn numbers(text: &str) -> Result<Numbers, String> {
    let numbers = text.split(',').filter(|_| text != "none").map(str::parse).collect::<Result<Vec<usize>, _>>();
    numbers.map(Numbers).map_err(|_| "faults are given as 3,5,8 or none".to_owned())
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::List => {
            for scenario in scenarios::ALL {
                println!("{:<12} {}", scenario.name, scenario.about);
            }
            ExitCode::SUCCESS
        }
        Command::Run { scenario, nodes, seeds, json, limits } => {
            with(&scenario, |scenario| run(scenario, nodes, seeds, json, &limits))
        }
        Command::Replay { scenario, nodes, seed, faults, trace } => {
            let telling = if trace { Telling::All } else { Telling::Nothing };
            let options = Options { seed, nodes, faults: faults.as_ref().map(|Numbers(all)| all.as_slice()), telling };
            with(&scenario, |scenario| replay(scenario, &options))
        }
        Command::Hashes { seed } => {
            for scenario in scenarios::ALL {
                let options = Options { nodes: scenario.small, ..Options::of(seed) };
                println!("{:<12} {:016x}", scenario.name, (scenario.run)(&options).hash);
            }
            ExitCode::SUCCESS
        }
        Command::Compare { words } => compare(&words).unwrap_or_else(|error| {
            eprintln!("circuit-sim: cargo could not be run: {error}");
            ExitCode::from(2)
        }),
        Command::Planted { names, seeds } => plant(&names, seeds).unwrap_or_else(|error| {
            eprintln!("circuit-sim: {error}");
            ExitCode::from(2)
        }),
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
fn run(scenario: &'static Scenario, nodes: Option<usize>, seeds: Range<u64>, json: bool, limits: &Limits) -> ExitCode {
    let started = Instant::now();
    let reports = run_all(scenario, nodes, seeds);
    let cost = Cost { wall: started.elapsed(), memory: peak_memory() };
    let mut summaries = Summary::of(reports.iter().map(|(_, report)| report));
    summaries.extend(limits.compare(&cost));
    // Machines read what did not hold, and go on.
    let patience = if json { Duration::ZERO } else { PATIENCE };
    if json {
        println!("{}", as_json(scenario, nodes, &reports, &summaries, &cost));
    } else {
        print_table(&reports, &summaries, &cost);
    }
    if let Some((seed, report)) = reports.iter().find(|(_, report)| report.failure.is_some()) {
        failed(scenario, &Options { nodes, ..Options::of(*seed) }, report, patience);
        return ExitCode::FAILURE;
    }
    let missed = || summaries.iter().filter(|summary| !summary.is_met());
    for summary in missed() {
        let (worst, bar) = summary.worst.map(|(worst, bar)| (number(worst), bar.to_string())).unwrap_or_default();
        eprintln!("{}: the bar is missed: {worst} at worst, and not {bar}", summary.name);
    }
    if let Some((seed, report)) = missed().find_map(|bar| reports.iter().find(|(_, report)| bar.is_worst(report))) {
        failed(scenario, &Options { nodes, ..Options::of(*seed) }, report, patience);
    }
    if missed().next().is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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
            let report = (scenario.run)(&Options { nodes, ..Options::of(seed) });
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

/// The most memory that this process ever had, in GiB, where Linux says it.
fn peak_memory() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = peak.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / f64::from(1 << 20))
}

impl Limits {
    /// What was limited, and whether it was kept; what is not known was not.
    fn compare(&self, cost: &Cost) -> impl Iterator<Item = Summary> {
        let of = |name: &str, value, limit: Option<f64>| {
            limit.map(|limit| Summary { name: name.to_owned(), value, worst: Some((value, Bar::AtMost(limit))) })
        };
        let wall = of("wall time, s", cost.wall.as_secs_f64(), self.within);
        let memory = of("memory at most, GiB", cost.memory.unwrap_or(f64::INFINITY), self.memory);
        wall.into_iter().chain(memory)
    }
}

fn totals(reports: &[(u64, Report)]) -> (u64, f64) {
    let events = reports.iter().map(|(_, report)| report.events).sum();
    (events, reports.iter().map(|(_, report)| report.simulated.as_secs_f64()).sum())
}

fn print_table(reports: &[(u64, Report)], summaries: &[Summary], cost: &Cost) {
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
    let (seeds, wall) = (reports.len(), cost.wall.as_secs_f64());
    let memory = cost.memory.map(|memory| format!(" and {memory:.1} GiB")).unwrap_or_default();
    println!("{seeds} seeds, {events} events, {simulated:.0} simulated seconds in {wall:.1} s{memory}");
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
    cost: &Cost,
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
        "wall": cost.wall.as_secs_f64(),
        "memory": cost.memory,
        "figures": summaries.iter().map(figure).collect::<Vec<_>>(),
        "failure": failure.map(|(seed, failure)| json!({ "seed": seed, "what": failure.to_string() })),
    })
}

/// Says what did not hold, which faults it takes, and how to see it again.
fn failed(scenario: &Scenario, options: &Options, report: &Report, patience: Duration) {
    if let Some(failure) = &report.failure {
        eprintln!("seed {}: {failure}", options.seed);
    }
    let shrunk = report.failure.as_ref().and_then(|_| shrink(scenario, options, report, patience));
    let mut replay = format!("cargo run --release -p circuit-sim -- replay {}", scenario.name);
    if let Some(nodes) = options.nodes {
        replay += &format!(" --nodes {nodes}");
    }
    replay += &format!(" --seed {}", options.seed);
    if let Some(Shrunk { faults, of, report }) = shrunk {
        eprintln!("it takes {} of {of} faults:", faults.len());
        report.plan.iter().for_each(|(at, fault)| eprintln!("  {at:?} {fault:?}"));
        if let Some(failure) = &report.failure {
            eprintln!("and with these {failure}; before that:");
        }
        report.last.iter().for_each(|line| eprintln!("  {line}"));
        let numbers: Vec<String> = faults.iter().map(usize::to_string).collect();
        if faults.len() < of {
            let numbers = if numbers.is_empty() { "none".to_owned() } else { numbers.join(",") };
            eprintln!("with these faults alone: {replay} --faults {numbers}");
        }
    }
    eprintln!("replay: {replay}");
}

fn replay(scenario: &'static Scenario, options: &Options) -> ExitCode {
    let seed = options.seed;
    let (first, second) = ((scenario.run)(options), (scenario.run)(&Options { telling: Telling::Nothing, ..*options }));
    println!("trace {:016x}, {} events", first.hash, first.events);
    if first.hash != second.hash {
        eprintln!("seed {seed}: the second run was another: {:016x}", second.hash);
        return ExitCode::FAILURE;
    }
    if first.failure.is_none() {
        return ExitCode::SUCCESS;
    }
    if options.faults.is_none() {
        failed(scenario, options, &first, PATIENCE);
    } else if let Some(failure) = &first.failure {
        eprintln!("seed {seed}: {failure}");
    }
    ExitCode::FAILURE
}

/// Runs the comparison, which is built with what it compares: this is not.
fn compare(words: &[String]) -> io::Result<ExitCode> {
    let mut cargo = process::Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["run", "--quiet", "--package", "circuit-sim", "--example", "compare"]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let status = cargo.arg("--").args(words).current_dir(env!("CARGO_MANIFEST_DIR")).status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Plants every fault, and says by what it was caught.
fn plant(names: &[String], seeds: u64) -> io::Result<ExitCode> {
    let root = planted::workspace(&env::current_dir()?)?;
    let faults = planted::faults(&root, names)?;
    let bench = Bench::new(&root)?;
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(160);
    table.set_header(["fault", "what it is", "caught by", "seed", "how", "s"]);
    let (mut escaped, mut broken) = (0, 0);
    for (number, fault) in faults.iter().enumerate() {
        let (verdict, took) = bench.examine(fault, seeds);
        let (by, seed, how) = match verdict {
            Verdict::Caught(catch) => {
                let Range { start, end } = catch.seeds;
                let seed = if end == start + 1 { start.to_string() } else { format!("{start}..{end}") };
                (catch.scenario, seed, catch.how)
            }
            Verdict::Escaped => {
                escaped += 1;
                ("NOT CAUGHT".into(), format!("0..{seeds}"), String::new())
            }
            Verdict::Broken(why) => {
                broken += 1;
                ("BROKEN".into(), String::new(), why)
            }
        };
        eprintln!("{}/{} {}: {by} {seed}: {how}", number + 1, faults.len(), fault.name);
        table.add_row([&fault.name, &fault.about, &by, &seed, &how, &format!("{:.1}", took.as_secs_f64())]);
    }
    println!("{}", table.trim_fmt());
    println!("{} faults, {escaped} not caught, {broken} of which nothing can be said", faults.len());
    Ok(if escaped > MAY_ESCAPE || broken > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
