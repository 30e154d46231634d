//! The transcripts of README.md, run from the first to the last in one shell.

use std::{fs, path::Path};

use crate::transcript::{self, Shell, steps};

#[test]
fn the_tour_of_the_readme_is_as_it_says() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let steps = steps(&fs::read_to_string(readme).expect("README.md"), "console");
    assert!(steps.len() > 30, "the tour was not found");
    let (mut shell, mut ids) = (Shell::new(), transcript::Ids::new());
    if let Err(wrong) = transcript::run(&mut shell, &steps, &mut ids) {
        panic!("{wrong}");
    }
}
