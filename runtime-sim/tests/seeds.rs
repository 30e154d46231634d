//! A smoke of every scenario, and that a seed is a run.

use circuit_sim::scenarios::{ALL, Options};

fn options(seed: u64) -> Options {
    Options { seed, nodes: None, trace: false }
}

/// Seeds that showed a mistake, one for each.
const ONCE_FAILED: [u64; 4] = [1153, 2185, 7280, 16607];

#[test]
fn every_scenario_holds_on_a_hundred_seeds() {
    for scenario in ALL {
        for seed in (0..100).chain(ONCE_FAILED) {
            let report = (scenario.run)(&options(seed));
            if let Some(failure) = report.failure {
                panic!("{failure}\ncargo run --release -p circuit-sim -- replay {} --seed {seed}", scenario.name);
            }
        }
    }
}

#[test]
fn the_same_seed_is_the_same_run_and_another_is_another() {
    for scenario in ALL {
        let hash = |seed| (scenario.run)(&options(seed)).hash;
        assert_eq!(hash(7), hash(7), "{}", scenario.name);
        assert_ne!(hash(7), hash(8), "{}", scenario.name);
    }
}
