//! Everybody starts at once, and knows the first alone.

use std::time::Duration;

use super::{Options, cluster::Cluster};
use crate::{Figure, Report};

pub(super) fn run(options: &Options) -> Report {
    let nodes = options.nodes.unwrap_or(2_000);
    let mut cluster = Cluster::new(options, nodes, &vec![]);
    let full = cluster.until_agreed(Duration::from_secs(60));
    let bar = if nodes <= 2_000 { 10 } else { 15 };
    cluster.figures.push(Figure::seconds("all views full", full, bar));
    cluster.report()
}
