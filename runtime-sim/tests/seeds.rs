//! A smoke of every scenario, and that a seed is a run.

use std::ops::Range;

use circuit_sim::{
    report::Summary,
    scenarios::{ALL, Options, Scenario, find},
};

fn options(scenario: &Scenario, seed: u64) -> Options<'static> {
    Options { nodes: scenario.small, ..Options::of(seed) }
}

/// Seeds that showed a mistake, one for each.
const ONCE_FAILED: &[(&str, u64)] = &[
    ("channels", 133),
    ("channels", 247),
    ("channels", 575),
    ("channels", 590),
    ("channels", 989),
    ("channels", 1153),
    ("channels", 2185),
    ("channels", 2958),
    ("channels", 7280),
    ("channels", 9920),
    ("channels", 16607),
    ("members", 9),
    ("members", 70),
    ("members", 174),
    ("members", 838),
    ("members", 115),
    ("wan", 0),
    ("flipflop", 0),
    ("chaos", 6145),
    ("chaos", 6768),
    ("chaos", 9258),
    ("chaos", 146),
    ("chaos", 616),
    ("chaos", 2826),
    ("chaos", 8821),
    ("chaos", 274),
    ("chaos", 634),
    ("chaos", 7521),
    ("selects", 534),
    ("selects", 681),
];

/// Nothing fails on these seeds, and together they meet every bar: some are of
/// many runs.
fn holds(scenario: &Scenario, seeds: Range<u64>) {
    let run = |seed| {
        let report = scenario.report(&options(scenario, seed));
        if let Some(failure) = &report.failure {
            panic!("{failure}\ncargo run --release -p circuit-sim -- replay {} --seed {seed}", scenario.name);
        }
        report
    };
    let reports: Vec<_> = seeds.clone().map(run).collect();
    let mut missed = Summary::of(reports.iter());
    missed.retain(|summary| !summary.is_met());
    assert!(missed.is_empty(), "{} with seeds {seeds:?}: {missed:?}", scenario.name);
}

#[test]
fn every_scenario_holds_on_a_few_seeds() {
    for scenario in ALL {
        holds(scenario, scenario.smoke.clone());
    }
}

#[test]
fn a_boot_is_not_over_before_all_have_started() {
    let boot = find("boot").expect("a scenario");
    holds(&Scenario { small: Some(10), ..boot.clone() }, 0..3);
}

#[test]
fn what_once_failed_holds() {
    for (name, seed) in ONCE_FAILED {
        holds(find(name).expect("a scenario"), *seed..seed + 1);
    }
}

#[test]
fn the_same_seed_is_the_same_run_and_another_is_another() {
    for scenario in ALL {
        let hash = |seed| (scenario.run)(&options(scenario, seed)).hash;
        assert_eq!(hash(7), hash(7), "{}", scenario.name);
        assert_ne!(hash(7), hash(8), "{}", scenario.name);
    }
}
