//! One seed once more: to see whether it is the same run, and what happens in it.

use std::{io, process::ExitCode, time::Duration};

use circuit_sim::{
    Report,
    report::Summary,
    scenarios::{Options, Scenario, Telling},
    shrink::{Shrunk, shrink},
};
use indicatif::ProgressBar;

use crate::{
    run::{holds, table},
    say,
};

/// For so long a failure is cut down.
const PATIENCE: Duration = Duration::from_secs(60);
/// So many faults are named.
const NAMED: usize = 50;

/// Says what did not hold and how to see it again; and, if it is to be cut down,
/// which faults it takes.
pub(super) fn failed(scenario: &Scenario, options: &Options, report: &Report, cut_down: bool) {
    let mut replay = format!("cargo run --release -p circuit-sim -- replay {}", scenario.name);
    if let Some(nodes) = options.nodes {
        replay += &format!(" --nodes {nodes}");
    }
    replay += &format!(" --seed {}", options.seed);
    if let Some(failure) = &report.failure {
        eprintln!("seed {}: {failure}", options.seed);
        if cut_down {
            let shown = waiting(format!("seed {} without some of its faults", options.seed));
            let shrunk = shrink(scenario, options, report, PATIENCE);
            shown.finish_and_clear();
            shrunk.iter().for_each(|shrunk| tell(shrunk, &replay));
        }
    }
    eprintln!("replay: {replay}");
}

/// Says what is left of a failure that was cut down.
fn tell(Shrunk { faults, of, report }: &Shrunk, replay: &str) {
    eprintln!("it takes {} of {of} faults:", faults.len());
    report.plan.iter().take(NAMED).for_each(|(at, fault)| eprintln!("  {at:?} {fault:?}"));
    if let Some(more) = faults.len().checked_sub(NAMED).filter(|more| *more > 0) {
        eprintln!("  and {more} more");
    }
    if let Some(failure) = &report.failure {
        eprintln!("and with these {failure}; before that:");
    }
    report.last.iter().for_each(|line| eprintln!("  {line}"));
    if faults.len() < *of {
        let numbers: Vec<String> = faults.iter().map(usize::to_string).collect();
        let numbers = if numbers.is_empty() { "none".to_owned() } else { numbers.join(",") };
        eprintln!("with these faults alone: {replay} --faults {numbers}");
    }
}

/// Shows that something goes on, where nobody knows for how long.
fn waiting(what: String) -> ProgressBar {
    let shown = ProgressBar::new_spinner().with_message(what);
    shown.enable_steady_tick(Duration::from_millis(200));
    shown
}

/// Runs a seed twice, and says whether that was the same and what did not hold.
pub(super) fn replay(scenario: &'static Scenario, options: &Options) -> io::Result<ExitCode> {
    let seed = options.seed;
    let once = |options: &Options, which: &str| {
        let told = options.telling == Telling::All;
        let shown = (!told).then(|| waiting(format!("seed {seed}, for the {which} time")));
        let report = scenario.report(options);
        shown.iter().for_each(ProgressBar::finish_and_clear);
        report
    };
    let first = once(options, "first");
    if let Some(faults) = options.faults
        && first.plan.len() < faults.len()
    {
        let all = scenario.report(&Options { faults: None, telling: Telling::Nothing, ..*options });
        let numbered = all.plan.len();
        return Err(io::Error::other(format!(
            "seed {seed} has {numbered} faults, numbered from 0: {faults:?} are not all of them"
        )));
    }
    let second = once(&Options { telling: Telling::Nothing, ..*options }, "second");
    let figures = table(&Summary::of([&first].into_iter()));
    say(&format!("{figures}\ntrace {:016x}, {} events", first.hash, first.events))?;
    if first.hash != second.hash {
        eprintln!("seed {seed}: the second run was another: {:016x}", second.hash);
        return Ok(ExitCode::FAILURE);
    }
    if options.faults.is_none() && first.failure.is_some() {
        failed(scenario, options, &first, true);
    } else if let Some(failure) = &first.failure {
        eprintln!("seed {seed}: {failure}");
    }
    Ok(if holds(&first) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
