//! Cutting a failure down: which of the faults of a plan are needed for it.
//!
//! Delta debugging (Zeller and Hildebrandt, 2002): parts of the plan are left
//! out, large ones first, for as long as the run still fails.

use std::time::{Duration, Instant};

use crate::{
    Report,
    scenarios::{Options, Scenario, Telling},
};

/// A run that fails, with few faults.
#[derive(Debug)]
pub struct Shrunk {
    /// Which of the plan's faults are left, by their numbers in it.
    pub faults: Vec<usize>,
    /// How many there were.
    pub of: usize,
    /// What came of the run, with the last that happened.
    pub report: Report,
}

/// Cuts the faults of a run that failed down, for about as long as `patience`.
/// Nothing if there is nothing to be cut.
pub fn shrink(scenario: &Scenario, options: &Options, report: &Report, patience: Duration) -> Option<Shrunk> {
    let of = report.plan.len();
    let began = Instant::now();
    let mut left: Vec<usize> = (0..of).collect();
    let mut part = of;
    while part > 0 && began.elapsed() < patience {
        let mut from = 0;
        while from < left.len() && began.elapsed() < patience {
            let mut fewer = left.clone();
            fewer.drain(from..(from + part).min(left.len()));
            if fails(scenario, options, &fewer, Telling::Nothing).is_some() {
                left = fewer;
            } else {
                from += part;
            }
        }
        part /= 2;
    }
    let report = fails(scenario, options, &left, Telling::Last)?;
    Some(Shrunk { faults: left, of, report })
}

fn fails(scenario: &Scenario, options: &Options, faults: &[usize], telling: Telling) -> Option<Report> {
    let options = Options { faults: Some(faults), telling, ..*options };
    let report = scenario.report(&options);
    report.failure.is_some().then_some(report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Failure,
        faults::{Fault, Plan},
    };

    fn report(options: &Options) -> Report {
        let whole: Plan = (0..40).map(|client| (circuit_core::Instant::ZERO, Fault::CrashClient { client })).collect();
        let plan = options.cut(whole);
        let is_there = |wanted: usize| plan.iter().any(|(_, fault)| *fault == Fault::CrashClient { client: wanted });
        let failure = Failure { at: circuit_core::Instant::ZERO, what: "both".to_owned() };
        let failure = (is_there(7) && is_there(31)).then_some(failure);
        Report { failure, plan, ..Report::default() }
    }

    fn panics(options: &Options) -> Report {
        let report = report(options);
        assert!(report.failure.is_none(), "both");
        report
    }

    #[test]
    fn what_is_needed_is_left() {
        for run in [report, panics] {
            let scenario =
                Scenario { name: "test", about: "", servers: 2..=2, smoke: 0..1, small: None, large: None, run };
            let options = Options::of(1);
            let shrunk = shrink(&scenario, &options, &scenario.report(&options), Duration::from_secs(60));
            let shrunk = shrunk.expect("it fails");
            assert_eq!((shrunk.faults, shrunk.of), (vec![7, 31], 40));
        }
    }
}
