//! Circuit beside others in the same world: what each is put through is the same
//! for all, and so are the links and the faults. `circuit-sim compare` runs it.
//!
//! Every message counts with 18 bytes more, which is what Circuit's are sealed
//! with, so that encryption makes no difference; headers of TCP, UDP and QUIC and
//! what they acknowledge are not counted for anybody.

mod circuits;
mod gossip;
mod plays;
mod swim;
mod system;
mod world;

use std::{
    io::{self, Write},
    ops::Range,
    process::ExitCode,
    thread,
};

use clap::Parser;
use comfy_table::{CellAlignment, Table};

use circuits::Circuits;
use gossip::Gossip;
use plays::{Build, Figures, PLAYS, Play};
use swim::Swim;
use world::Bench;

/// Circuit, foca (SWIM) and iroh-gossip (HyParView and Plumtree) in the same world.
#[derive(Parser)]
#[command(name = "circuit-sim compare")]
struct Arguments {
    /// What they are put through: a scenario that `list` names and they can play, or all.
    scenario: String,
    /// How many servers.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(4..=10_000))]
    nodes: u32,
    /// Seeds, as FIRST..END.
    #[arg(long, default_value = "0..5", value_parser = seeds)]
    seeds: Range<u64>,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let parsed = text.split_once("..").and_then(|(first, end)| Some(first.parse().ok()?..end.parse().ok()?));
    parsed.filter(|range: &Range<u64>| !range.is_empty()).ok_or_else(|| "seeds are given as FIRST..END".to_owned())
}

/// What is compared.
const SYSTEMS: [(&str, Build); 3] = [
    ("circuit", |setup| Box::new(Circuits::new(setup))),
    ("foca", |setup| Box::new(Bench::<Swim>::new(setup))),
    ("iroh-gossip", |setup| Box::new(Bench::<Gossip>::new(setup))),
];

fn main() -> ExitCode {
    let Arguments { scenario, nodes, seeds } = Arguments::parse();
    let plays: Vec<&Play> = PLAYS.iter().filter(|play| scenario == "all" || scenario == play.name).collect();
    if plays.is_empty() {
        let names: Vec<&str> = PLAYS.iter().map(|play| play.name).collect();
        eprintln!("circuit-sim compare: there is no '{scenario}'; there are {} and all", names.join(", "));
        return ExitCode::from(2);
    }
    match compare(&plays, nodes as usize, &seeds) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read this has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("circuit-sim compare: {error}");
            ExitCode::from(2)
        }
    }
}

/// Prints a table for each play.
fn compare(plays: &[&Play], nodes: usize, seeds: &Range<u64>) -> io::Result<()> {
    let mut out = io::stdout();
    for play in plays {
        let count = seeds.end - seeds.start;
        writeln!(out, "{}: {}; {nodes} servers, {count} seeds, median (worst)\n", play.name, play.about)?;
        let results = SYSTEMS.map(|(_, build)| run(play, build, nodes, seeds));
        writeln!(out, "{}\n", table(&results))?;
    }
    Ok(())
}

/// The figures of every seed.
fn run(play: &Play, build: Build, nodes: usize, seeds: &Range<u64>) -> Vec<Figures> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let share = |worker: usize| seeds.clone().skip(worker).step_by(processors);
    thread::scope(|scope| {
        let work =
            |worker| scope.spawn(move || share(worker).map(|seed| play.run(build, nodes, seed)).collect::<Vec<_>>());
        let workers: Vec<_> = (0..processors).map(work).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker panicked")).collect()
    })
}

fn table(results: &[Vec<Figures>]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::ASCII_MARKDOWN);
    table.set_header([""].into_iter().chain(SYSTEMS.map(|(name, _)| name)));
    let rows = results.first().and_then(|seeds| seeds.first()).map_or(0, Vec::len);
    for row in 0..rows {
        let name = results[0][0][row].0.to_owned();
        let cells = results.iter().map(|seeds| cell(seeds.iter().map(|figures| figures[row].1)));
        table.add_row([name].into_iter().chain(cells));
    }
    for column in 1..=SYSTEMS.len() {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// The median and the worst; what did not happen is worse than all that did.
fn cell(values: impl Iterator<Item = Option<f64>>) -> String {
    let mut values: Vec<f64> = values.map(|value| value.unwrap_or(f64::INFINITY)).collect();
    values.sort_unstable_by(f64::total_cmp);
    let worst = values.last().copied().unwrap_or_default();
    format!("{} ({})", number(values[values.len() / 2]), number(worst))
}

fn number(value: f64) -> String {
    match value {
        f64::INFINITY => "never".to_owned(),
        0.0 => "0".to_owned(),
        ..10.0 => format!("{value:.2}"),
        _ => format!("{value:.0}"),
    }
}
