//! What came of a run: its figures, and what they should be.

use std::{fmt, time::Duration};

use circuit_core::Instant;

use crate::{Trace, faults::Plan};

/// Of what was seen so many characters are printed, if there are more: of a long
/// message, that it is long.
const FIRST: usize = 600;
/// And so many of its end.
const LAST: usize = 300;

/// An invariant that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// When.
    pub at: Instant,
    /// Which, and what was seen instead.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {:?}: ", self.at)?;
        let (first, last) = (self.what.char_indices().nth(FIRST), self.what.char_indices().rev().nth(LAST - 1));
        match (first, last) {
            (Some((first, _)), Some((last, _))) if first < last => {
                write!(f, "{} … {}", &self.what[..first], &self.what[last..])
            }
            _ => f.write_str(&self.what),
        }
    }
}

/// What came of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// The trace hash.
    pub hash: u64,
    /// How many events there were.
    pub events: u64,
    /// How much time passed in the world.
    pub simulated: Duration,
    /// What did not hold first, if anything.
    pub failure: Option<Failure>,
    /// What was measured and counted.
    pub figures: Vec<Figure>,
    /// What went wrong.
    pub plan: Plan,
    /// The last that happened, if it was to be told.
    pub last: Vec<String>,
}

impl Report {
    /// What came of this world and another, as of one. What went wrong is that of
    /// the first that failed.
    #[must_use]
    pub fn and(mut self, next: Self) -> Self {
        let mut hash = Trace::default();
        hash.word(self.hash);
        hash.word(next.hash);
        self.figures.extend(next.figures);
        let (figures, hash) = (self.figures, hash.value());
        let (events, simulated) = (self.events + next.events, self.simulated + next.simulated);
        let (failure, plan, last) = match self.failure {
            Some(failure) => (Some(failure), self.plan, self.last),
            None => (next.failure, next.plan, next.last),
        };
        Self { hash, events, simulated, failure, figures, plan, last }
    }
}

/// Something that was measured or counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// What, with its unit.
    pub name: String,
    /// How much.
    pub value: f64,
    /// What it should be, if anything; what has no bar is a count.
    pub bar: Option<Bar>,
}

/// So many runs have a mean.
pub const MANY: usize = 100;

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bar {
    /// This, or less.
    AtMost(f64),
    /// This, or more.
    AtLeast(f64),
    /// This, or less, in the median of many runs.
    MedianAtMost(f64),
    /// This, or more, in the mean of [`MANY`] runs; of fewer it says nothing.
    MeanAtLeast(f64),
}

impl Figure {
    /// Something that is counted.
    pub fn count(name: impl Into<String>, count: u64) -> Self {
        Self { name: name.into(), value: count as f64, bar: None }
    }

    /// Something that is measured against a bar.
    pub fn new(name: impl Into<String>, value: f64, bar: Bar) -> Self {
        Self { name: name.into(), value, bar: Some(bar) }
    }

    /// How long something took, in seconds; for ever if it never came about.
    pub fn seconds(name: impl Into<String>, took: Option<Duration>, bar: Bar) -> Self {
        let value = took.map_or(f64::INFINITY, |took| took.as_secs_f64());
        Self::new(format!("{}, s", name.into()), value, bar)
    }

    /// Something of which there may be none.
    pub fn none(name: impl Into<String>, count: u64) -> Self {
        Self::new(name, count as f64, Bar::AtMost(0.0))
    }
}

impl Bar {
    /// Whether a value meets it.
    pub fn admits(self, value: f64) -> bool {
        match self {
            Self::AtMost(bar) | Self::MedianAtMost(bar) => value <= bar,
            Self::AtLeast(bar) | Self::MeanAtLeast(bar) => value >= bar,
        }
    }

    /// Whether it is one for many runs together.
    const fn is_of_many(self) -> bool {
        matches!(self, Self::MedianAtMost(_) | Self::MeanAtLeast(_))
    }

    /// The value that is farther from it; what is no number is farthest.
    #[must_use]
    pub fn worse(self, one: f64, other: f64) -> f64 {
        match self {
            _ if one.is_nan() || other.is_nan() => f64::NAN,
            Self::AtMost(_) | Self::MedianAtMost(_) => one.max(other),
            Self::AtLeast(_) | Self::MeanAtLeast(_) => one.min(other),
        }
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(bar) => write!(f, "<= {bar}"),
            Self::AtLeast(bar) => write!(f, ">= {bar}"),
            Self::MedianAtMost(bar) => write!(f, "median <= {bar}"),
            Self::MeanAtLeast(bar) => write!(f, "mean >= {bar}"),
        }
    }
}

/// One figure over many runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// What.
    pub name: String,
    /// The sum of what is counted; of what has a bar, the median, or the mean.
    pub value: f64,
    /// Of what has a bar: the value farthest from it, and the bar.
    pub worst: Option<(f64, Bar)>,
    /// They are too few for their bar to say anything.
    pub too_few: bool,
}

impl Summary {
    /// The figures of many runs, each once, in the order in which they came.
    pub fn of<'a>(reports: impl Iterator<Item = &'a Report>) -> Vec<Self> {
        let mut all: Vec<(&str, Option<Bar>, Vec<f64>)> = Vec::new();
        for figure in reports.flat_map(|report| &report.figures) {
            match all.iter_mut().find(|(name, ..)| *name == figure.name) {
                Some((_, _, values)) => values.push(figure.value),
                None => all.push((&figure.name, figure.bar, vec![figure.value])),
            }
        }
        all.into_iter().map(|(name, bar, values)| Self::new(name, bar, values)).collect()
    }

    fn new(name: &str, bar: Option<Bar>, mut values: Vec<f64>) -> Self {
        let name = name.to_owned();
        let Some(bar) = bar else {
            return Self { name, value: values.iter().sum(), worst: None, too_few: false };
        };
        values.sort_by(f64::total_cmp);
        let median = values.get(values.len() / 2).copied().unwrap_or_default();
        let count = values.len();
        let mean = values.iter().sum::<f64>() / count.max(1) as f64;
        let worst = values.into_iter().fold(median, |worst, value| bar.worse(worst, value));
        let is_mean = matches!(bar, Bar::MeanAtLeast(_));
        let value = if is_mean { mean } else { median };
        Self { name, value, worst: Some((worst, bar)), too_few: is_mean && count < MANY }
    }

    /// What a command cost, which has to be within a limit.
    pub fn limited(name: &str, value: f64, limit: f64) -> Self {
        Self::new(name, Some(Bar::AtMost(limit)), vec![value])
    }

    /// Whether every run met the bar.
    pub fn is_met(&self) -> bool {
        let met = |(worst, bar): (f64, Bar)| bar.admits(if bar.is_of_many() { self.value } else { worst });
        self.too_few || self.worst.is_none_or(met)
    }

    /// Whether no other run was farther from the bar than this.
    pub fn is_worst(&self, report: &Report) -> bool {
        let same = |one: f64, other: f64| one == other || one.is_nan() && other.is_nan();
        let at_worst = |value: f64| self.worst.is_some_and(|(worst, _)| same(value, worst));
        report.figures.iter().any(|figure| figure.name == self.name && at_worst(figure.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_is_printed_in_part() {
        let print = |what: String| Failure { at: Instant::ZERO, what }.to_string();
        let short = "ö".repeat(FIRST + LAST);
        assert!(print(short.clone()).ends_with(&short));
        let long = format!("job {} was lost", "ö".repeat(100_000));
        let printed = print(long);
        assert!(printed.contains("job ö") && printed.ends_with("ö was lost"), "{printed}");
        assert_eq!(printed.split_once(": ").map(|(_, what)| what.chars().count()), Some(FIRST + LAST + 3));
    }

    fn report(figures: Vec<Figure>) -> Report {
        Report { figures, ..Report::default() }
    }

    #[test]
    fn counts_are_summed_and_what_has_a_bar_is_as_good_as_its_worst_run() {
        let run = |count, seconds| {
            let took = Some(Duration::from_secs(seconds));
            report(vec![Figure::count("joins", count), Figure::seconds("full", took, Bar::AtMost(10.0))])
        };
        let runs = [run(1, 9), run(2, 3), run(3, 4)];
        let [joins, full] = &Summary::of(runs.iter())[..] else { panic!("two figures") };
        assert_eq!((joins.value, joins.worst, joins.is_met()), (6.0, None, true));
        assert_eq!((full.value, full.worst), (4.0, Some((9.0, Bar::AtMost(10.0)))));
        assert!(full.is_met());
        assert_eq!(runs.each_ref().map(|run| full.is_worst(run)), [true, false, false]);
    }

    #[test]
    fn of_few_runs_a_mean_says_nothing_and_of_many_it_does() {
        let runs = |count| vec![report(vec![Figure::new("seeds with a cut", 0.0, Bar::MeanAtLeast(0.05))]); count];
        let met = |count| Summary::of(runs(count).iter()).iter().all(Summary::is_met);
        assert!(met(MANY - 1) && !met(MANY));
    }

    #[test]
    fn what_never_came_about_misses_its_bar_and_so_does_what_is_no_number() {
        let met = |figures| Summary::of([report(figures)].iter()).iter().all(Summary::is_met);
        assert!(!met(vec![Figure::seconds("full", None, Bar::AtMost(10.0))]));
        assert!(!met(vec![Figure::seconds("found", Some(Duration::from_secs(7)), Bar::MedianAtMost(6.0))]));
        assert!(!met(vec![Figure::new("reached", 0.5, Bar::AtLeast(0.999))]));
        let ratio = |value| Figure::new("ratio", value, Bar::AtMost(1.0));
        assert!(met(vec![ratio(0.5)]) && !met(vec![ratio(0.5), ratio(f64::NAN), ratio(0.5)]));
        // Which of two kinds of no number it is does not matter.
        let run = report(vec![ratio(-f64::NAN)]);
        assert!(Summary::of([&run].into_iter()).iter().all(|summary| summary.is_worst(&run)));
        assert_eq!(Bar::AtLeast(1.0).worse(3.0, 2.0), 2.0);
    }

    #[test]
    fn worlds_that_are_one_run_are_all_in_its_report() {
        let world = |hash, failure: Option<&str>| Report {
            hash,
            events: 1,
            failure: failure.map(|what| Failure { at: Instant::ZERO, what: what.to_owned() }),
            figures: vec![Figure::count("joins", hash)],
            ..Report::default()
        };
        let both = world(1, Some("lost")).and(world(2, None));
        assert_eq!((both.events, both.figures.len()), (2, 2));
        assert_eq!(both.failure.map(|failure| failure.what).as_deref(), Some("lost"));
        assert_ne!(both.hash, world(3, None).and(world(2, None)).hash);
        assert_ne!(both.hash, world(1, None).and(world(3, None)).hash);
        assert!(world(1, None).and(world(2, Some("late"))).failure.is_some());
    }
}
