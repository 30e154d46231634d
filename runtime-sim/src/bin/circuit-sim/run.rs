//! A scenario on many seeds, and what came of it beside its bars.

use std::{
    fs, io,
    ops::Range,
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use circuit_sim::{
    Report,
    report::Summary,
    scenarios::{Options, Scenario},
};
use comfy_table::{CellAlignment, Table};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::{replay::failed, say};

/// What all of a run may cost this machine.
#[derive(clap::Args)]
pub(super) struct Limits {
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

/// Runs all seeds on all processors; ends with the lowest that failed.
pub(super) fn run(
    scenario: &'static Scenario,
    nodes: Option<usize>,
    seeds: Range<u64>,
    json: bool,
    limits: &Limits,
) -> io::Result<ExitCode> {
    let started = Instant::now();
    let reports = run_all(scenario, nodes, seeds);
    let cost = Cost { wall: started.elapsed(), memory: peak_memory() };
    let mut summaries = Summary::of(reports.iter().map(|(_, report)| report));
    summaries.extend(limits.compare(&cost));
    if json {
        say(&as_json(scenario, nodes, &reports, &summaries, &cost))?;
    } else {
        say(&format!("{}\n{}", table(&summaries), totals(&reports).words(reports.len(), &cost)))?;
    }
    // Machines read what did not hold, and go on.
    let again =
        |(seed, report): &(u64, Report)| failed(scenario, &Options { nodes, ..Options::of(*seed) }, report, !json);
    if let Some(worst) = reports.iter().find(|(_, report)| report.failure.is_some()) {
        again(worst);
        return Ok(ExitCode::FAILURE);
    }
    if !all_met(&summaries) {
        let missed = summaries.iter().filter(|summary| !summary.is_met());
        let worst = missed.filter_map(|bar| reports.iter().find(|(_, report)| bar.is_worst(report)));
        worst.take(1).for_each(again);
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether every bar is met; of those that are not it says so.
fn all_met(summaries: &[Summary]) -> bool {
    let missed = || summaries.iter().filter(|summary| !summary.is_met());
    for summary in missed() {
        let (worst, bar) = summary.worst.map(|(worst, bar)| (number(worst), bar.to_string())).unwrap_or_default();
        eprintln!("{}: the bar is missed: {worst} at worst, and not {bar}", summary.name);
    }
    missed().next().is_none()
}

/// Whether one run holds, and meets every bar.
pub(super) fn holds(report: &Report) -> bool {
    report.failure.is_none() && all_met(&Summary::of([report].into_iter()))
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
            let report = scenario.report(&Options { nodes, ..Options::of(seed) });
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
        let of = |name: &str, value, limit: Option<f64>| limit.map(|limit| Summary::limited(name, value, limit));
        let wall = of("wall time, s", cost.wall.as_secs_f64(), self.within);
        let memory = of("memory at most, GiB", cost.memory.unwrap_or(f64::INFINITY), self.memory);
        wall.into_iter().chain(memory)
    }
}

/// What all runs together were.
struct Totals {
    events: u64,
    simulated: f64,
}

fn totals(reports: &[(u64, Report)]) -> Totals {
    let events = reports.iter().map(|(_, report)| report.events).sum();
    Totals { events, simulated: reports.iter().map(|(_, report)| report.simulated.as_secs_f64()).sum() }
}

impl Totals {
    fn words(&self, seeds: usize, cost: &Cost) -> String {
        let Self { events, simulated } = self;
        let wall = cost.wall.as_secs_f64();
        let rate = simulated / wall.max(f64::MIN_POSITIVE);
        let memory = cost.memory.map(|memory| format!(", and {memory:.1} GiB")).unwrap_or_default();
        format!(
            "{seeds} seeds, {events} events, {simulated:.0} simulated seconds in {wall:.1} s: {rate:.0} a second{memory}"
        )
    }
}

/// Figures beside their bars.
pub(super) fn table(summaries: &[Summary]) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["", "total, or median", "worst", "bar", ""]);
    for summary in summaries {
        let value = number(summary.value);
        match summary.worst {
            None => table.add_row([summary.name.clone(), value]),
            Some((worst, bar)) => {
                let verdict = match (summary.too_few, summary.is_met()) {
                    (true, _) => "too few seeds to say",
                    (_, true) => "met",
                    _ => "MISSED",
                };
                table.add_row([summary.name.clone(), value, number(worst), bar.to_string(), verdict.into()])
            }
        };
    }
    for column in 1..4 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
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
    let Totals { events, simulated } = totals(reports);
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
