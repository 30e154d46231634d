//! Planted faults, one after the other.

use std::{env, io, ops::Range, process::ExitCode};

use circuit_sim::planted::{self, Bench, Verdict};
use comfy_table::{ContentArrangement, Table};

use crate::say;

/// Of so many planted faults one may get away.
const ONE_ESCAPES_OF: usize = 15;

/// Plants every fault, and says by what it was caught.
pub(super) fn plant(names: &[String], seeds: u64) -> io::Result<ExitCode> {
    let root = planted::workspace(&env::current_dir()?)?;
    let faults = planted::faults(&root, names)?;
    let bench = Bench::new(&root)?;
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(160);
    table.set_header(["fault", "what it is", "caught by", "seed", "how", "s"]);
    let (mut escaped, mut broken) = (0, 0);
    for (number, fault) in faults.iter().enumerate() {
        let (verdict, took) = bench.examine(fault, seeds);
        let (by, seed, how) = match verdict {
            Verdict::Caught(catch) => {
                let Range { start, end } = catch.seeds;
                let seed = if end == start + 1 { start.to_string() } else { format!("{start}..{end}") };
                (catch.scenario, seed, catch.how)
            }
            Verdict::Escaped => {
                escaped += 1;
                ("NOT CAUGHT".into(), format!("0..{seeds}"), String::new())
            }
            Verdict::Broken(why) => {
                broken += 1;
                ("BROKEN".into(), String::new(), why)
            }
        };
        eprintln!("{}/{} {}: {by} {seed}: {how}", number + 1, faults.len(), fault.name);
        table.add_row([&fault.name, &fault.about, &by, &seed, &how, &format!("{:.1}", took.as_secs_f64())]);
    }
    let totals = format!("{} faults, {escaped} not caught, {broken} of which nothing can be said", faults.len());
    say(&format!("{}\n{totals}", table.trim_fmt()))?;
    Ok(if escaped > faults.len() / ONE_ESCAPES_OF || broken > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
