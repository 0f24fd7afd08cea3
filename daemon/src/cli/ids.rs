//! Ids that a user gives: whole, or the first digits of one that the daemon knows.

use std::collections::BTreeSet;

use serde_json::Value;

use super::CliError;
use super::text::is_id;
use crate::client::{Client, ClientError, Target};

/// The fewest digits that stand for an id.
const PREFIX_LEN_MIN: usize = 4;

/// What an id is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Agent,
    Machine,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Machine => "machine",
        }
    }

    /// The command that shows such ids.
    fn list(self) -> &'static str {
        match self {
            Self::Agent => "x0x direct connections",
            Self::Machine => "x0x peers",
        }
    }
}

/// Finds the id that is meant.
pub(super) async fn resolve(
    client: &mut Client,
    kind: Kind,
    text: &str,
) -> Result<String, CliError> {
    let given = text.to_lowercase();
    if is_id(&given) {
        return Ok(given);
    }
    let is_hex = given.bytes().all(|digit| digit.is_ascii_hexdigit());
    if !is_hex || given.len() < PREFIX_LEN_MIN || given.len() > 64 {
        return Err(CliError::Failed(format!(
            "'{text}' is no id: give 64 hex digits, or the first {PREFIX_LEN_MIN} or more of one \
             that is shown by: {}",
            kind.list()
        )));
    }
    let agents = known(client, Kind::Agent).await?;
    let machines = known(client, Kind::Machine).await?;
    let (own, other, other_kind) = match kind {
        Kind::Agent => (agents, machines, Kind::Machine),
        Kind::Machine => (machines, agents, Kind::Agent),
    };
    choose(kind, &given, &own, (other_kind, &other)).map_err(CliError::Failed)
}

fn choose(
    kind: Kind,
    given: &str,
    known: &BTreeSet<String>,
    (other_kind, others): (Kind, &BTreeSet<String>),
) -> Result<String, String> {
    let begins = |id: &&String| id.starts_with(given);
    let (word, list) = (kind.word(), kind.list());
    let mut found = known.iter().filter(begins);
    match (found.next(), found.count()) {
        (Some(id), 0) => Ok(id.clone()),
        (Some(_), others) => Err(format!(
            "'{given}' is not unique: {} {word}s begin with it; give more digits (see: {list})",
            others + 1
        )),
        (None, _) if others.iter().any(|id| id.starts_with(given)) => Err(format!(
            "'{given}' begins the id of a known {}, not of a known {word} (see: {list})",
            other_kind.word()
        )),
        (None, _) => Err(format!(
            "no known {word} begins with '{given}': give all 64 digits, or see: {list}"
        )),
    }
}

/// The ids that the daemon knows: its own, those with a link, and those it sent to.
async fn known(client: &mut Client, kind: Kind) -> Result<BTreeSet<String>, ClientError> {
    let key = match kind {
        Kind::Agent => "agent_id",
        Kind::Machine => "machine_id",
    };
    let mut ids = BTreeSet::new();
    let mut add = |value: &Value| ids.extend(value.as_str().map(str::to_owned));
    add(&client.get(&Target::new(&["agent"])).await?[key]);
    let connections = client.get(&Target::new(&["direct", "connections"])).await?;
    for connection in connections["connections"].as_array().into_iter().flatten() {
        add(&connection[key]);
    }
    match kind {
        Kind::Machine => {
            let peers = client.get(&Target::new(&["peers"])).await?;
            for peer in peers["peers"].as_array().into_iter().flatten() {
                add(&peer["id"]);
            }
        }
        Kind::Agent => {
            let counters = client.get(&Target::new(&["diagnostics", "dm"])).await?;
            let rows = counters["per_peer"].as_object();
            ids.extend(rows.into_iter().flat_map(|rows| rows.keys().cloned()));
        }
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(starts: &[&str]) -> BTreeSet<String> {
        starts.iter().map(|start| format!("{start:0<64}")).collect()
    }

    #[test]
    fn first_digits_stand_for_one_known_id() {
        let (agents, machines) = (set(&["abcd1", "abcd2", "1234"]), set(&["9999"]));
        let choose = |given| choose(Kind::Agent, given, &agents, (Kind::Machine, &machines));
        assert_eq!(choose("1234"), Ok(format!("{:0<64}", "1234")));
        assert_eq!(choose("abcd2"), Ok(format!("{:0<64}", "abcd2")));
        for (given, expected) in [
            ("abcd", "2 agents begin with it"),
            ("9999", "known machine, not of a known agent"),
            ("7777", "no known agent begins with '7777'"),
        ] {
            let error = choose(given).expect_err(given);
            assert!(error.contains(expected) && error.contains("x0x direct conn"), "{error}");
        }
    }
}
