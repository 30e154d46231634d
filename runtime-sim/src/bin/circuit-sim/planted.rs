//! Planted faults: some at once, each in a copy of its own.

use std::{
    env, io,
    ops::Range,
    path::Path,
    process::ExitCode,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use circuit_sim::planted::{self, Bench, Catch, Fault, Verdict};
use comfy_table::{ContentArrangement, Table};

use crate::say;

/// Of so many planted faults one may get away.
const ONE_ESCAPES_OF: usize = 15;

/// What came of one of the faults, and how long that took.
struct Examined {
    number: usize,
    verdict: Verdict,
    took: Duration,
}

/// Plants every fault, `jobs` at once, and says by what each was caught.
pub(super) fn plant(names: &[String], seeds: u64, jobs: usize) -> io::Result<ExitCode> {
    let root = planted::workspace(&env::current_dir()?)?;
    let faults = planted::faults(&root, names)?;
    let (next, (out, results)) = (AtomicUsize::new(0), mpsc::channel());
    let mut all = thread::scope(|scope| {
        for job in 0..jobs.clamp(1, faults.len().max(1)) {
            let (root, faults, next, out) = (&root, &faults, &next, out.clone());
            // Whoever would hear of it has given up.
            scope.spawn(move || work(root, job, faults, next, seeds, |result| out.send(result).is_ok()));
        }
        drop(out);
        let mut all = Vec::new();
        for result in results {
            let result: Examined = result?;
            let [by, seed, how] = words(&result.verdict, seeds);
            all.push(result);
            let name = all.last().and_then(|last| faults.get(last.number)).map_or("", |fault| &fault.name);
            eprintln!("{}/{} {name}: {by} {seed}: {how}", all.len(), faults.len());
        }
        Ok::<_, io::Error>(all)
    })?;
    all.sort_by_key(|one| one.number);
    report(&faults, &all, seeds)
}

/// Examines one fault after the other, as long as there are any and somebody listens.
fn work(
    root: &Path,
    job: usize,
    faults: &[Fault],
    next: &AtomicUsize,
    seeds: u64,
    mut tell: impl FnMut(io::Result<Examined>) -> bool,
) {
    let bench = match Bench::new(root, job) {
        Ok(bench) => bench,
        Err(error) => {
            tell(Err(error));
            return;
        }
    };
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let Some(fault) = faults.get(number) else { return };
        let (verdict, took) = bench.examine(fault, seeds);
        if !tell(Ok(Examined { number, verdict, took })) {
            return;
        }
    }
}

/// By what it was caught, on which seed, and how.
fn words(verdict: &Verdict, seeds: u64) -> [String; 3] {
    match verdict {
        Verdict::Caught(Catch { scenario, seeds: Range { start, end }, how }) => {
            let seed = if *end == start + 1 { start.to_string() } else { format!("{start}..{end}") };
            [scenario.clone(), seed, how.clone()]
        }
        Verdict::Escaped => ["NOT CAUGHT".into(), format!("0..{seeds}"), String::new()],
        Verdict::Broken(why) => ["BROKEN".into(), String::new(), why.clone()],
    }
}

fn report(faults: &[Fault], all: &[Examined], seeds: u64) -> io::Result<ExitCode> {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(160);
    table.set_header(["fault", "what it is", "caught by", "seed", "how", "s"]);
    for (fault, Examined { verdict, took, .. }) in faults.iter().zip(all) {
        let [by, seed, how] = words(verdict, seeds);
        table.add_row([&fault.name, &fault.about, &by, &seed, &how, &format!("{:.1}", took.as_secs_f64())]);
    }
    let count = |is_such: fn(&Verdict) -> bool| all.iter().filter(|one| is_such(&one.verdict)).count();
    let escaped = count(|verdict| matches!(verdict, Verdict::Escaped));
    let broken = count(|verdict| matches!(verdict, Verdict::Broken(_)));
    let totals = format!("{} faults, {escaped} not caught, {broken} of which nothing can be said", faults.len());
    say(&format!("{}\n{totals}", table.trim_fmt()))?;
    Ok(if escaped > faults.len() / ONE_ESCAPES_OF || broken > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
