//! A page about a world of whole nodes.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use x0x_sim::history::{self, About, BETWEEN_MAX, Focus};
use x0x_sim::{Machine, NodeId, Report, World};

use crate::table::{self, Value};

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PageOptions {
    /// Write one page with pictures and tables to this file.
    #[arg(long, value_name = "HTML")]
    pub(crate) report: Option<PathBuf>,
    /// The nodes whose messages the page shows one by one, such as 0,3,7; those that talked most if
    /// this is missing.
    #[arg(long, value_name = "NODES", value_delimiter = ',', requires = "report")]
    between: Vec<u32>,
    /// From which virtual second on it shows them.
    #[arg(long, value_name = "SECOND", requires = "report", value_parser = second)]
    from: Option<Duration>,
    /// Until which virtual second it shows them.
    #[arg(long, value_name = "SECOND", requires = "report", value_parser = second)]
    to: Option<Duration>,
}

fn second(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

impl PageOptions {
    /// Has a new world keep what the page needs, if there is to be one.
    pub(crate) fn begin(&self, world: &mut World<impl Machine>) -> anyhow::Result<()> {
        self.check(world.config().nodes)?;
        if self.report.is_some() {
            world.keep_history();
        }
        Ok(())
    }

    /// Says what is wrong with the options for a world of so many nodes.
    pub(crate) fn check(&self, nodes: u32) -> anyhow::Result<()> {
        let most = BETWEEN_MAX;
        ensure!(self.between.len() != 1, "--between is for two nodes or more");
        ensure!(self.between.len() <= most, "--between is for at most {most} nodes");
        if let Some(node) = self.between.iter().find(|&&node| node >= nodes) {
            anyhow::bail!("there is no node {node}: the world has {nodes}, the first is 0");
        }
        if let (Some(from), Some(to)) = (self.from, self.to) {
            ensure!(from <= to, "--from is later than --to");
        }
        Ok(())
    }

    /// Writes the page, if there is to be one.
    pub(crate) fn save(&self, world: &World<impl Machine>, about: &About) -> anyhow::Result<()> {
        let Some(path) = &self.report else { return Ok(()) };
        let focus = Focus {
            between: self.between.iter().copied().map(NodeId).collect(),
            from: self.from.unwrap_or_default(),
            until: self.to,
        };
        let page = history::page(world, about, &focus).context("the world keeps no history")?;
        std::fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Returns the numbers of a world for its page: those that depend on the world only.
pub(crate) fn numbers(world: &World<impl Machine>) -> Vec<(String, String)> {
    const ELSEWHERE: [&str; 4] = ["links_wanted", "links_up_at_end", "real_s", "times_real_time"];
    let rows = table::rows(&Report::new(world, &[]), Duration::ZERO);
    let rows = rows.into_iter().filter(|(name, _)| !ELSEWHERE.contains(name));
    rows.map(|(name, value): (_, Value)| (name.replace('_', " "), value.to_string())).collect()
}
