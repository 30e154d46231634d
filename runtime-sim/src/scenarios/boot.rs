//! Everybody starts at once, and knows the first alone.

use std::time::Duration;

use super::{Options, cluster::Cluster};
use crate::{Bar, Figure, Report};

pub(super) fn run(options: &Options) -> Report {
    let nodes = options.nodes.unwrap_or(2_000);
    let mut cluster = Cluster::new(options, nodes, &vec![]);
    let full = cluster.until_agreed(Duration::from_secs(60));
    let bar = if nodes <= 2_000 { 10.0 } else { 15.0 };
    cluster.figures.push(Figure::seconds("all views full", full, Bar::AtMost(bar)));
    let degree = cluster.world.app.degree as f64;
    cluster.figures.push(Figure::new("neighbours, at most", degree, Bar::AtMost(20.0)));
    cluster.report()
}
