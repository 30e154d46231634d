//! The comparison, small: in a world without faults everybody finds everybody,
//! and who is killed is noticed by all.

use std::{env, path::Path, process::Command};

#[test]
fn all_that_are_compared_play_their_part() {
    let own = env::current_exe().expect("this program");
    let folder = own.parent().and_then(Path::parent).expect("where cargo builds");
    for play in ["boot", "crash"] {
        let mut command = Command::new(folder.join("examples/compare"));
        let done = command.args([play, "--nodes", "6", "--seeds", "0..1"]).output().expect("what cargo test builds");
        let text = String::from_utf8(done.stdout).expect("text");
        assert!(done.status.success(), "{text}{}", String::from_utf8_lossy(&done.stderr));
        let rows = text.lines().filter(|line| line.starts_with("| ") && line.contains(" ("));
        assert!(rows.clone().count() >= 5, "{text}");
        assert!(!text.contains("never"), "{text}");
        assert!(rows.filter(|row| row.contains("false")).all(|row| row.matches(" 0 (0)").count() == 3), "{text}");
    }
}
