//! Which daemons of this user there are: those that left an `api.port`. One that answers and
//! is this user's runs; any other was killed, and its files are stale.

use std::path::Path;

use futures_util::future::join_all;

use crate::client::{Client, Endpoint, block_on};
use crate::paths::{Home, InstanceName, api_port};

/// An instance that did not say that it stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its name, if it has one.
    pub name: Option<InstanceName>,
    /// Where its API is, or was.
    pub api: String,
    /// Whether it runs.
    pub is_running: bool,
}

impl Instance {
    /// Its name, or a word for the one without.
    pub fn label(&self) -> &str {
        self.name.as_ref().map_or("(default)", InstanceName::as_str)
    }

    /// Whether it runs, in a word.
    pub fn status(&self) -> &'static str {
        if self.is_running { "running" } else { "stale" }
    }
}

/// Finds the instances and asks each whether it runs.
pub fn list(home: &Home) -> Vec<Instance> {
    let look = async {
        let found = home.instances().into_iter().filter_map(|(name, data)| {
            let api = std::fs::read_to_string(api_port(&data)).ok()?.trim().to_owned();
            Some(async move {
                let is_running = running(&data, None).await.is_some();
                Instance { name, api, is_running }
            })
        });
        join_all(found).await
    };
    block_on(look).unwrap_or_default()
}

/// The instances as a table.
pub fn table(home: &Home) -> String {
    render(&list(home))
}

/// Writes instances as a table.
pub fn render(instances: &[Instance]) -> String {
    if instances.is_empty() {
        return "No running instances found.".into();
    }
    let rows = instances.iter().map(|i| [i.label(), i.api.as_str(), i.status()].map(str::to_owned));
    let rows: Vec<_> = rows.map(Vec::from).collect();
    crate::cli::text::table(&["NAME", "API", "STATUS"], &rows)
}

/// The daemon of a data directory, if it answers.
pub(crate) async fn running(data: &Path, usual: Option<&str>) -> Option<Endpoint> {
    let endpoint = Endpoint::of_data(data, None, usual).ok()??;
    // Without a token nothing could be proved, and the port may be another program's.
    endpoint.token()?;
    Client::connect(endpoint.clone()).await.ok().map(|_| endpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_are_aligned() {
        assert_eq!(render(&[]), "No running instances found.");
        let instance = |name: Option<&str>, is_running| Instance {
            name: name.and_then(|name| name.parse().ok()),
            api: "127.0.0.1:1".into(),
            is_running,
        };
        let text = render(&[instance(None, true), instance(Some("a"), false)]);
        let expected = "NAME       API          STATUS\n\
                        (default)  127.0.0.1:1  running\n\
                        a          127.0.0.1:1  stale";
        assert_eq!(text, expected);
    }
}
