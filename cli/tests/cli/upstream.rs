//! Upstream's README, every command line in its order (`upstream.md`).

use std::{fs, path::Path};

use circuit_tests::engine::{IMAGE, is_there, run};
use tempfile::TempDir;

use crate::transcript::{self, Ids, Shell, steps};

/// The containers of the servers with these ids, which go with this: whatever has
/// gone wrong, nothing is left.
struct Clean(Ids);

impl Drop for Clean {
    fn drop(&mut self) {
        for id in self.0.values() {
            let _ = run(&format!("docker rm --force --volumes $(docker ps -aq --filter label=circuit.server=X{id})"));
        }
    }
}

/// The document with what this machine has in the place of its addresses, its
/// interface, its image and its folder.
fn here(text: &str, webapp: &Path) -> String {
    // Nobody else has these: loopback is wide.
    let number = std::process::id();
    let ours = format!("127.{}.{}", 1 + number % 250, number / 250 % 250);
    let webapp = webapp.display().to_string();
    let places = [
        ("eth0", "lo"),
        ("10.0.0.1", &format!("{ours}.1")),
        ("10.0.0.2", &format!("{ours}.2")),
        ("127.0.0.3", &format!("{ours}.3")),
        ("ubuntu", IMAGE),
        ("/src/webapp", &webapp),
    ];
    places.iter().fold(text.to_owned(), |text, (theirs, ours)| text.replace(theirs, ours))
}

#[test]
fn every_command_line_of_upstreams_readme_does_what_it_says() {
    let webapp = TempDir::new().expect("a folder");
    let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/upstream.md");
    let mut text = here(&fs::read_to_string(text).expect("upstream.md"), webapp.path());
    if is_there() {
        text = text.replace("```console docker", "```console");
    }
    let steps = steps(&text, "console");
    assert!(steps.len() > 70, "the lines were not found");
    let (mut shell, mut clean) = (Shell::new(), Clean(Ids::new()));
    if let Err(wrong) = transcript::run(&mut shell, &steps, &mut clean.0) {
        panic!("{wrong}");
    }
}
