//! What the configuration file says (TOML). Unknown keys are ignored, missing ones have defaults.

use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use x0x_core::overlay;
use x0x_core::support::MemoryBudget;

use crate::paths::{Home, InstanceName};
use crate::recordings::{MIB_DEFAULT, MIB_MAX};

/// The QUIC port of an unnamed instance.
const QUIC_PORT: u16 = 5483;

/// The most workers that the file may ask for.
const DISPATCH_WORKERS_MAX: usize = 32;

/// The API port of an unnamed instance.
pub const API_PORT: u16 = 12_700;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The file is no configuration.
    #[error("{path} is not a configuration:\n{error}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Where and why.
        error: Box<toml::de::Error>,
    },
    /// A number in the file is out of its range.
    #[error("{path}: [{section}] {name} is {value}: it must be from {least} to {most}")]
    OutOfRange {
        /// The file.
        path: PathBuf,
        /// The section.
        section: &'static str,
        /// The setting.
        name: &'static str,
        /// What it is.
        value: u64,
        /// The least that it may be.
        least: u64,
        /// The most that it may be.
        most: u64,
    },
    /// The name in the file is no name.
    #[error(transparent)]
    Name(#[from] crate::paths::PathsError),
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct File {
    bind_address: Option<SocketAddr>,
    api_address: Option<SocketAddr>,
    data_dir: Option<PathBuf>,
    log_level: Option<String>,
    log_format: LogFormat,
    bootstrap_peers: Vec<SocketAddr>,
    user_key_path: Option<PathBuf>,
    instance_name: Option<String>,
    gossip: Gossip,
    memory: Memory,
    record: Record,
}

/// The section `[memory]`: how much memory peers can make the node hold.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Memory {
    max_mib: u64,
}

impl Default for Memory {
    fn default() -> Self {
        Self { max_mib: wide(MemoryBudget::DEFAULT.total() >> 20) }
    }
}

impl Memory {
    fn check(&self, path: &Path) -> Result<MemoryBudget, ConfigError> {
        let bytes = usize::try_from(self.max_mib).ok().and_then(|mib| mib.checked_mul(1 << 20));
        bytes.and_then(MemoryBudget::new).ok_or_else(|| ConfigError::OutOfRange {
            path: path.into(),
            section: "memory",
            name: "max_mib",
            value: self.max_mib,
            least: wide(MemoryBudget::BYTES_MIN >> 20),
            most: wide(MemoryBudget::BYTES_MAX >> 20),
        })
    }
}

fn wide(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// The section `[record]`: whether everything that happens to the node is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Record {
    enabled: bool,
    max_mib: u64,
}

impl Default for Record {
    fn default() -> Self {
        Self { enabled: false, max_mib: MIB_DEFAULT }
    }
}

impl Record {
    fn check(&self, path: &Path) -> Result<Option<u64>, ConfigError> {
        let (name, value, most) = ("max_mib", self.max_mib, MIB_MAX);
        if !(1..=most).contains(&value) {
            let (path, section) = (path.into(), "record");
            return Err(ConfigError::OutOfRange { path, section, name, value, least: 1, most });
        }
        Ok(self.enabled.then_some(value))
    }
}

/// The section `[gossip]`: how many peers a topic has around this node.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Gossip {
    active_view_size: usize,
    passive_view_size: usize,
    arwl: usize,
    prwl: usize,
    /// Taken and checked, and without an effect: one thread does the work.
    dispatch_workers: usize,
}

impl Default for Gossip {
    fn default() -> Self {
        let overlay::Config { active_max, passive_max, walk_steps, passive_walk_steps } =
            overlay::Config::default();
        Self {
            active_view_size: active_max,
            passive_view_size: passive_max,
            arwl: walk_steps.into(),
            prwl: passive_walk_steps.into(),
            dispatch_workers: 1,
        }
    }
}

impl Gossip {
    fn check(&self, path: &Path) -> Result<overlay::Config, ConfigError> {
        let number = |name, value: usize, most: usize| {
            if (1..=most).contains(&value) {
                return Ok(value);
            }
            let (path, section) = (path.into(), "gossip");
            Err(ConfigError::OutOfRange {
                path,
                section,
                name,
                value: wide(value),
                least: 1,
                most: wide(most),
            })
        };
        let steps = |name, value, most| {
            number(name, value, most).map(|steps| u8::try_from(steps).unwrap_or(u8::MAX))
        };
        number("dispatch_workers", self.dispatch_workers, DISPATCH_WORKERS_MAX)?;
        Ok(overlay::Config {
            active_max: number("active_view_size", self.active_view_size, overlay::ACTIVE_MAX)?,
            passive_max: number("passive_view_size", self.passive_view_size, overlay::PASSIVE_MAX)?,
            walk_steps: steps("arwl", self.arwl, overlay::WALK_STEPS_MAX.into())?,
            passive_walk_steps: steps("prwl", self.prwl, self.arwl)?,
        })
    }
}

/// What the command line adds to the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The file to read instead of the one in its usual place.
    pub config: Option<PathBuf>,
    /// The name of the instance.
    pub name: Option<InstanceName>,
    /// The port of the API.
    pub api_port: Option<u16>,
    /// More peers to dial at the start and to keep.
    pub peers: Vec<SocketAddr>,
}

/// Everything that a daemon needs to know to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file that it was read from, if there was one.
    pub file: Option<PathBuf>,
    /// The name of the instance.
    pub name: Option<InstanceName>,
    /// Where QUIC listens.
    pub bind_address: SocketAddr,
    /// Where the API listens.
    pub api_address: SocketAddr,
    /// The directory of data.
    pub data_dir: PathBuf,
    /// The directory of keys.
    pub keys_dir: PathBuf,
    /// What is logged: a level, or levels by target as in `RUST_LOG`.
    pub log_level: String,
    /// How it is logged.
    pub log_format: LogFormat,
    /// Who is dialled at the start and kept.
    pub bootstrap_peers: Vec<SocketAddr>,
    /// The key of the human; nothing is made there.
    pub user_key: PathBuf,
    /// How many peers a topic has around this node.
    pub overlay: overlay::Config,
    /// The memory that peers can make the node hold.
    pub memory: MemoryBudget,
    /// How large the recording of the node becomes that is made from its start, in MiB; nothing if
    /// none is made.
    pub record_mib: Option<u64>,
}

impl Config {
    /// Reads the configuration of an instance.
    ///
    /// # Errors
    ///
    /// If a file that was named does not exist, or any file is not a configuration.
    pub fn read(home: &Home, overrides: &Overrides) -> Result<Self, ConfigError> {
        let path = overrides.config.clone().unwrap_or_else(|| home.config(overrides.name.as_ref()));
        let file = match std::fs::read_to_string(&path) {
            Ok(text) => Some(parse(&path, &text)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound && overrides.config.is_none() => {
                None
            }
            Err(error) => return Err(ConfigError::Unreadable { path, error }),
        };
        let is_file = file.is_some();
        let mut config = Self::merge(home, &path, file.unwrap_or_default(), overrides)?;
        config.file = is_file.then_some(path);
        Ok(config)
    }

    fn merge(
        home: &Home,
        path: &Path,
        file: File,
        overrides: &Overrides,
    ) -> Result<Self, ConfigError> {
        let in_file = file.instance_name.as_deref().map(str::parse).transpose()?;
        let name = overrides.name.clone().or(in_file);
        // A named instance lives beside others: the system chooses its ports.
        let default_port = |port| if name.is_some() { 0 } else { port };
        let quic = SocketAddr::from((Ipv6Addr::UNSPECIFIED, default_port(QUIC_PORT)));
        let mut bind_address = file.bind_address.unwrap_or(quic);
        if bind_address.is_ipv4() && bind_address.ip().is_unspecified() {
            bind_address = (Ipv6Addr::UNSPECIFIED, bind_address.port()).into();
        }
        let api = SocketAddr::from(([127, 0, 0, 1], default_port(API_PORT)));
        let mut api_address = file.api_address.unwrap_or(api);
        if let Some(port) = overrides.api_port {
            api_address.set_port(port);
        }
        Ok(Self {
            file: None,
            bind_address,
            api_address,
            data_dir: file.data_dir.unwrap_or_else(|| home.data(name.as_ref())),
            keys_dir: home.keys(name.as_ref()),
            log_level: file.log_level.unwrap_or_else(|| "info".into()),
            log_format: file.log_format,
            bootstrap_peers: [file.bootstrap_peers, overrides.peers.clone()].concat(),
            user_key: file.user_key_path.unwrap_or_else(|| home.user_key()),
            overlay: file.gossip.check(path)?,
            memory: file.memory.check(path)?,
            record_mib: file.record.check(path)?,
            name,
        })
    }
}

fn parse(path: &Path, text: &str) -> Result<File, ConfigError> {
    toml::from_str(text)
        .map_err(|error| ConfigError::Invalid { path: path.into(), error: Box::new(error) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> Home {
        Home::from_env().expect("tests run with a home")
    }

    fn read(text: &str, overrides: &Overrides) -> Config {
        let path = Path::new("config.toml");
        let file = parse(path, text).expect("the file is good");
        Config::merge(&home(), path, file, overrides).expect("the names are good")
    }

    #[test]
    fn an_unnamed_instance_has_the_ports_that_everybody_knows() {
        let config = read("", &Overrides::default());
        assert_eq!(config.bind_address.to_string(), "[::]:5483");
        assert_eq!(config.api_address.to_string(), "127.0.0.1:12700");
        assert_eq!(config.data_dir, home().data(None));
    }

    #[test]
    fn a_named_instance_has_ports_of_its_own_unless_told_otherwise() {
        let name = "alice".parse().ok();
        let config = read("", &Overrides { name: name.clone(), ..Overrides::default() });
        assert_eq!(config.bind_address.to_string(), "[::]:0");
        assert_eq!(config.api_address.to_string(), "127.0.0.1:0");
        assert_eq!(config.keys_dir, home().keys(name.as_ref()));
        let text = "instance_name = 'alice'\nbind_address = '0.0.0.0:7'\nunknown = 1";
        let config = read(text, &Overrides { api_port: Some(9), ..Overrides::default() });
        assert_eq!((config.name, config.bind_address.to_string()), (name, "[::]:7".into()));
        assert_eq!(config.api_address.to_string(), "127.0.0.1:9");
    }

    #[test]
    fn the_views_of_topics_can_be_set_and_are_checked() {
        let config = read("[gossip]\nactive_view_size = 6\narwl = 4", &Overrides::default());
        let expected =
            overlay::Config { active_max: 6, walk_steps: 4, ..overlay::Config::default() };
        assert_eq!(config.overlay, expected);
        for (name, value) in [("active_view_size", 0), ("prwl", 7), ("dispatch_workers", 33)] {
            let path = Path::new("/etc/x.toml");
            let file = parse(path, &format!("[gossip]\n{name} = {value}")).expect("it is TOML");
            let merged = Config::merge(&home(), path, file, &Overrides::default());
            let text = merged.expect_err("it is out of range").to_string();
            assert!(
                text.starts_with(&format!("/etc/x.toml: [gossip] {name} is {value}: ")),
                "{text}"
            );
        }
    }

    #[test]
    fn the_memory_budget_can_be_set_and_is_checked() {
        let bytes = |text| read(text, &Overrides::default()).memory.total();
        assert_eq!(bytes(""), 256 << 20);
        assert_eq!(bytes("[memory]\nmax_mib = 32"), 32 << 20);
        let path = Path::new("/etc/x.toml");
        let file = parse(path, "[memory]\nmax_mib = 31").expect("it is TOML");
        let merged = Config::merge(&home(), path, file, &Overrides::default());
        let text = merged.expect_err("it is out of range").to_string();
        assert_eq!(text, "/etc/x.toml: [memory] max_mib is 31: it must be from 32 to 65536");
    }

    #[test]
    fn a_recording_is_made_only_if_asked_for() {
        let mib = |text| read(text, &Overrides::default()).record_mib;
        assert_eq!(mib(""), None);
        assert_eq!(mib("[record]\nmax_mib = 3"), None);
        assert_eq!(mib("[record]\nenabled = true"), Some(64));
        assert_eq!(mib("[record]\nenabled = true\nmax_mib = 3"), Some(3));
        let path = Path::new("/etc/x.toml");
        let file = parse(path, "[record]\nmax_mib = 0").expect("it is TOML");
        let merged = Config::merge(&home(), path, file, &Overrides::default());
        let text = merged.expect_err("it is out of range").to_string();
        assert_eq!(text, "/etc/x.toml: [record] max_mib is 0: it must be from 1 to 65536");
    }

    #[test]
    fn a_file_that_is_wrong_says_where() {
        let error = parse(Path::new("/etc/x.toml"), "bind_address = 'nowhere'");
        let text = error.expect_err("it is wrong").to_string();
        assert!(text.contains("/etc/x.toml") && text.contains("bind_address"), "{text}");
    }
}
