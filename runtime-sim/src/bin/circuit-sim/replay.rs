//! One seed once more: to see whether it is the same run, and what happens in it.

use std::{
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use circuit_sim::{
    Report,
    scenarios::{Options, Scenario, Telling},
    shrink::{Shrunk, shrink},
};

/// For so long a failure is cut down.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// Says what did not hold, which faults it takes, and how to see it again.
pub(super) fn failed(scenario: &Scenario, options: &Options, report: &Report, patience: Duration) {
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

/// Runs a seed twice, and says whether that was the same and what did not hold.
pub(super) fn replay(scenario: &'static Scenario, options: &Options) -> io::Result<ExitCode> {
    let seed = options.seed;
    let (first, second) = ((scenario.run)(options), (scenario.run)(&Options { telling: Telling::Nothing, ..*options }));
    writeln!(io::stdout(), "trace {:016x}, {} events", first.hash, first.events)?;
    if first.hash != second.hash {
        eprintln!("seed {seed}: the second run was another: {:016x}", second.hash);
        return Ok(ExitCode::FAILURE);
    }
    if first.failure.is_none() {
        return Ok(ExitCode::SUCCESS);
    }
    if options.faults.is_none() {
        failed(scenario, options, &first, PATIENCE);
    } else if let Some(failure) = &first.failure {
        eprintln!("seed {seed}: {failure}");
    }
    Ok(ExitCode::FAILURE)
}
