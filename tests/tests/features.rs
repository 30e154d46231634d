//! README.md says what there is and which tests show it: they are there.

use std::{collections::BTreeMap, fs, path::Path};

/// The rows that there must be: so many of each part.
const PARTS: [(char, usize); 3] = [('A', 15), ('B', 10), ('C', 10)];

fn read(path: &str) -> Option<String> {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).parent()?.join(path)).ok()
}

/// The tests that are named for each feature.
fn features() -> BTreeMap<String, Vec<String>> {
    let readme = read("README.md").expect("README.md");
    let section = readme.split("## What there is, and its tests\n").nth(1).expect("the section");
    let rows = section.split("\n## ").next().unwrap_or_default().lines().filter_map(|line| {
        let [id, _, tests] = line.strip_prefix("| ")?.strip_suffix(" |")?.splitn(3, " | ").collect::<Vec<_>>()[..]
        else {
            return None;
        };
        Some((id.to_owned(), tests.split('`').filter(|test| !test.trim().is_empty()).map(str::to_owned).collect()))
    });
    rows.collect()
}

/// Why a test that is named as `path::name` is none.
fn fault(test: &str) -> Option<&'static str> {
    let Some((path, name)) = test.split_once("::") else { return Some("names no test") };
    let Some(text) = read(path) else { return Some("there is no such file") };
    let Some((before, _)) = text.split_once(&format!("fn {name}(")) else { return Some("it is not in that file") };
    let attributes = before.rsplit("\n\n").next().unwrap_or_default();
    let is_test = ["#[test]", "#[tokio::test"].iter().any(|mark| attributes.contains(mark));
    (!is_test).then_some("it is no test")
}

#[test]
fn every_feature_has_a_test_and_every_test_that_is_named_is_there() {
    let mut features = features();
    let mut faults = Vec::new();
    for (part, count) in PARTS {
        for number in 1..=count {
            let id = format!("{part}{number}");
            match features.remove(&id) {
                Some(tests) if !tests.is_empty() => {
                    let wrong = tests.iter().filter_map(|test| Some(format!("{id}: {test}: {}", fault(test)?)));
                    faults.extend(wrong);
                }
                _ => faults.push(format!("{id}: no test is named")),
            }
        }
    }
    faults.extend(features.into_keys().map(|id| format!("{id}: there is no such feature")));
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn what_is_no_test_is_noticed() {
    assert_eq!(fault("tests/tests/features.rs::what_is_no_test_is_noticed"), None);
    assert_eq!(fault("tests/tests/features.rs::features"), Some("it is no test"));
    assert_eq!(fault("tests/tests/features.rs::nowhere"), Some("it is not in that file"));
    assert_eq!(fault("tests/tests/nowhere.rs::nowhere"), Some("there is no such file"));
    assert_eq!(fault("tests"), Some("names no test"));
}
