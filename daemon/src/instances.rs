//! Which daemons of this user there are: those that left an `api.port`. One that answers there to
//! its own token runs; any other was killed, and its file is stale.

use std::path::Path;

use futures_util::future::join_all;

use crate::client::{Client, ClientError, Endpoint, Target, block_on};
use crate::paths::{Home, InstanceName, api_port, api_token};

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
                let is_running = is_running(&api, &data).await;
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

/// Tells whether the daemon of a data directory answers at an address.
pub(crate) async fn is_running(api: &str, data: &Path) -> bool {
    let token = std::fs::read_to_string(api_token(data)).ok();
    let token = token.map(|token| token.trim().to_owned());
    let Ok(endpoint) = Endpoint::at(api, token) else { return false };
    let Ok(mut client) = Client::connect(endpoint).await else { return false };
    // The port of one that was killed may be another's by now, which has another token.
    let agent = client.get(&Target::new(&["agent"])).await;
    !matches!(agent, Err(ClientError::Refused { code: 401, .. }))
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
