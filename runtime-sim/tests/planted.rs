//! Planted faults do not rot: every patch applies to the core as it is.

use std::{env, fs, path::Path, process::Command};

use circuit_sim::planted;

/// The most lines that a small mistake takes out or puts in.
const SMALL: usize = 8;

#[test]
fn every_patch_is_a_small_mistake_that_can_be_made() {
    let root = planted::workspace(&env::current_dir().expect("a folder")).expect("the workspace");
    let faults = planted::faults(&root, &[]).expect("faults");
    assert!(faults.len() >= 30, "{} faults", faults.len());
    for fault in &faults {
        assert!(fault.about.ends_with('.'), "{}: the first line says what the mistake is", fault.name);
        let text = fs::read_to_string(root.join(format!("tests/planted/{}.patch", fault.name))).expect("a patch");
        let lines = || text.lines();
        let changed = lines().filter(|line| line.starts_with(['+', '-'])).count();
        let files: Vec<&str> = lines().filter_map(|line| line.strip_prefix("+++ b/")).collect();
        assert!(files.iter().all(|file| file.starts_with("core/src/")), "{}: {files:?}", fault.name);
        // Every file is named by two such lines.
        assert!((1..=SMALL).contains(&(changed - 2 * files.len())), "{}: {changed} lines", fault.name);
    }
    assert_eq!(faults.iter().filter_map(|fault| refused(&root, &fault.name)).collect::<Vec<_>>(), Vec::<String>::new());
}

/// What `git` says of a patch that does not apply. Without `git` nothing can be
/// said.
fn refused(root: &Path, name: &str) -> Option<String> {
    let patch = format!("tests/planted/{name}.patch");
    let mut git = Command::new("git");
    let above = root.parent().unwrap_or(root);
    git.args(["apply", "--check", &patch]).current_dir(root).env("GIT_CEILING_DIRECTORIES", above);
    match git.output() {
        Err(_) => {
            eprintln!("skipped: there is no git here to apply {patch}");
            None
        }
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}
