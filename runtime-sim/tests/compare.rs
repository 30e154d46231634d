//! The comparison, small: in a world without faults everybody finds everybody,
//! and who is killed is noticed by all.

use std::{env, path::Path, process::Command};

/// The rows of figures of a play.
fn rows(play: &str) -> Vec<String> {
    let own = env::current_exe().expect("this program");
    let folder = own.parent().and_then(Path::parent).expect("where cargo builds");
    let mut command = Command::new(folder.join("examples/compare"));
    let done = command.args([play, "--nodes", "6", "--seeds", "0..1"]).output().expect("what cargo test builds");
    let text = String::from_utf8(done.stdout).expect("text");
    assert!(done.status.success(), "{text}{}", String::from_utf8_lossy(&done.stderr));
    text.lines().filter(|line| line.starts_with("| ") && line.contains(" (")).map(str::to_owned).collect()
}

#[test]
fn all_that_are_compared_play_their_part() {
    for play in ["boot", "crash"] {
        let rows = rows(play);
        assert!(rows.len() >= 5, "{rows:?}");
        assert!(!rows.iter().any(|row| row.contains("never")), "{rows:?}");
        let wrong = rows.iter().filter(|row| row.contains("false"));
        assert!(wrong.clone().count() == 1 && wrong.clone().all(|row| row.matches(" 0 (0)").count() == 3), "{rows:?}");
    }
}

#[test]
fn circuit_removes_nobody_that_it_can_reach() {
    for play in ["lossy", "flipflop", "stalled", "partition", "wan", "churn"] {
        let rows = rows(play);
        let circuit = |row: &String| row.split('|').nth(2).expect("a column").trim().to_owned();
        assert!(rows.len() >= 3, "{rows:?}");
        assert!(!rows.iter().any(|row| circuit(row).contains("never")), "{rows:?}");
        assert!(rows.iter().any(|row| row.contains("false") && circuit(row) == "0 (0)"), "{rows:?}");
    }
}
