//! What is wrong with a daemon: its program, its files, its answers. Looks, and changes nothing but
//! a file that it makes in the data directory and removes again.

mod files;

use std::fmt;
use std::net::TcpListener;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::Value;

use crate::client::{Client, ClientError, Endpoint, Target, block_on};
use crate::config::Config;

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// Good.
    Pass,
    /// Not as it should be, but a daemon can run.
    Warn,
    /// Bad.
    Fail,
}

impl Verdict {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// How it went.
    pub verdict: Verdict,
    /// What was looked at.
    pub name: &'static str,
    /// What was seen, and what to do.
    pub detail: String,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    checks: Vec<Check>,
}

impl Report {
    /// Whether anything failed.
    pub fn has_failure(&self) -> bool {
        self.count(Verdict::Fail) > 0
    }

    /// All that was looked at, in order.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// The counts, in words.
    pub fn summary(&self) -> String {
        let [pass, warn, fail] =
            [Verdict::Pass, Verdict::Warn, Verdict::Fail].map(|verdict| self.count(verdict));
        let s = if warn == 1 { "" } else { "s" };
        format!("{pass} passed, {warn} warning{s}, {fail} failed")
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.checks.iter().filter(|check| check.verdict == verdict).count()
    }

    fn add(&mut self, verdict: Verdict, name: &'static str, detail: impl Into<String>) {
        self.checks.push(Check { verdict, name, detail: detail.into() });
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Check { verdict, name, detail } in &self.checks {
            writeln!(formatter, "{}  {name:<14}  {detail}", verdict.word())?;
        }
        write!(formatter, "{}", self.summary())
    }
}

/// Looks for what is wrong with the daemon of a configuration. Its token is in its file, unless one is
/// given.
pub fn examine(config: &Config, token: Option<String>) -> Report {
    let usual = Some(config.api_address).filter(|address| address.port() != 0);
    let usual = usual.map(|address| address.to_string());
    let endpoint = Endpoint::of_data(&config.data_dir, token, usual.as_deref());
    examine_endpoint(config, endpoint)
}

/// Looks for what is wrong, with the API at an address and with a token that are not those in the
/// files.
pub fn examine_at(config: &Config, api: &str, token: Option<String>) -> Report {
    examine_endpoint(config, Endpoint::at(api, token).map(Some))
}

fn examine_endpoint(config: &Config, endpoint: Result<Option<Endpoint>, ClientError>) -> Report {
    let mut report = Report::default();
    programs(&mut report);
    files::examine(&mut report, config);
    match endpoint {
        Ok(Some(endpoint)) => {
            if block_on(answers(&mut report, endpoint)).is_err() {
                let detail = "the system lets this program not wait for sockets";
                report.add(Verdict::Fail, "daemon", detail);
            }
        }
        Ok(None) => report.add(Verdict::Warn, "daemon", "does not run; start it with: x0x start"),
        Err(error) => report.add(Verdict::Fail, "API address", error.to_string()),
    }
    report
}

fn programs(report: &mut Report) {
    match std::env::current_exe() {
        Ok(path) => report.add(Verdict::Pass, "program", path.display().to_string()),
        Err(error) => report.add(Verdict::Warn, "program", format!("not known: {error}")),
    }
    match find_on_path("x0xd") {
        Some(path) => report.add(Verdict::Pass, "x0xd on PATH", path.display().to_string()),
        None => {
            let detail = "not found; add the directory that holds x0xd to PATH";
            report.add(Verdict::Warn, "x0xd on PATH", detail);
        }
    }
}

/// Finds a program in the directories of `PATH`.
pub fn find_on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|p| p.is_file())
}

async fn answers(report: &mut Report, endpoint: Endpoint) {
    let mut client = Client::new(endpoint);
    match client.health().await {
        Ok(health) => {
            let version = health.get("version").and_then(Value::as_str).unwrap_or("unknown");
            let detail = format!("version {version} answers at {}", client.endpoint().base());
            report.add(Verdict::Pass, "GET /health", detail);
        }
        Err(error) if error.is_not_running() => {
            return unreachable(report, client.endpoint().authority());
        }
        Err(error) => return report.add(Verdict::Fail, "daemon", error.to_string()),
    }
    match client.get(&Target::new(&["agent"])).await {
        Ok(agent) => {
            let id = agent.get("agent_id").and_then(Value::as_str).unwrap_or("unknown");
            report.add(Verdict::Pass, "GET /agent", format!("agent {id}"));
        }
        Err(error) => report.add(Verdict::Fail, "GET /agent", explain(&error)),
    }
    match client.get(&Target::new(&["status"])).await {
        Ok(status) => {
            let word = status.get("status").and_then(Value::as_str).unwrap_or("unknown");
            let peers = status.get("peers").and_then(Value::as_u64).unwrap_or(0);
            let (verdict, hint) = match word {
                "connected" | "connecting" => (Verdict::Pass, ""),
                "isolated" => (Verdict::Warn, "; add bootstrap_peers to the configuration"),
                _ => (Verdict::Warn, "; see: x0x status"),
            };
            report.add(verdict, "GET /status", format!("{word}, {peers} peers{hint}"));
        }
        Err(error) => report.add(Verdict::Fail, "GET /status", explain(&error)),
    }
}

fn explain(error: &ClientError) -> String {
    if matches!(error, ClientError::Refused { code: 401, .. }) {
        return format!("{error}; set X0X_API_TOKEN to the token of this daemon");
    }
    error.to_string()
}

fn unreachable(report: &mut Report, address: &str) {
    let detail = match TcpListener::bind(address) {
        Ok(_) => {
            let detail = format!("does not run ({address} is free); start it with: x0x start");
            return report.add(Verdict::Warn, "daemon", detail);
        }
        Err(bind) if bind.kind() == std::io::ErrorKind::AddrInUse => format!(
            "another program has {address}; stop it, or choose another port with api_address in the \
             configuration"
        ),
        Err(bind) => format!("{address} cannot be used: {bind}"),
    };
    report.add(Verdict::Fail, "daemon", detail);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_aligned_and_counts() {
        let mut report = Report::default();
        report.add(Verdict::Pass, "program", "/bin/x0x");
        report.add(Verdict::Warn, "x0xd on PATH", "not found");
        assert!(!report.has_failure());
        report.add(Verdict::Fail, "daemon", "gone");
        let expected = "PASS  program         /bin/x0x\n\
                        WARN  x0xd on PATH    not found\n\
                        FAIL  daemon          gone\n\
                        1 passed, 1 warning, 1 failed";
        assert_eq!((report.to_string().as_str(), report.has_failure()), (expected, true));
    }

    #[test]
    fn a_free_port_warns_and_a_taken_one_fails() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("there are ports");
        let address = taken.local_addr().expect("it is bound").to_string();
        let mut report = Report::default();
        unreachable(&mut report, &address);
        drop(taken);
        unreachable(&mut report, &address);
        let verdicts: Vec<_> = report.checks().iter().map(|check| check.verdict).collect();
        assert_eq!(verdicts, [Verdict::Fail, Verdict::Warn]);
    }
}
