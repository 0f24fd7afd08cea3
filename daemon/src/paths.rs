//! Where an instance keeps its files.
//!
//! | what | unnamed | named |
//! |---|---|---|
//! | keys | `~/.x0x/` | `~/.x0x-<name>/` |
//! | data | `<data home>/x0x/` | `<data home>/x0x-<name>/` |
//! | configuration | `<config home>/x0x/config.toml` | `<config home>/x0x-<name>/config.toml` |
//!
//! The data home is `$XDG_DATA_HOME` or `~/.local/share`, on macOS `~/Library/Application Support`;
//! the config home is `$XDG_CONFIG_HOME` or `~/.config`, on macOS the same as the data home.

use std::env;
use std::path::{Path, PathBuf};

/// Why there are no paths.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathsError {
    /// Nobody knows where home is.
    #[error("HOME is not set: set it to the directory that holds your keys")]
    NoHome,
    /// The name of an instance has a form that is not allowed.
    #[error(
        "'{0}' is no name of an instance: use 1 to 64 letters, digits and '-', a letter or digit first"
    )]
    InvalidName(String),
}

/// The name of an instance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InstanceName(String);

impl InstanceName {
    /// The longest name, in characters.
    pub const LEN_MAX: usize = 64;

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for InstanceName {
    type Err = PathsError;

    fn from_str(name: &str) -> Result<Self, PathsError> {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
        if starts_well && name.len() <= Self::LEN_MAX && name.chars().all(is_allowed) {
            Ok(Self(name.into()))
        } else {
            Err(PathsError::InvalidName(name.into()))
        }
    }
}

/// The directories of one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    home: PathBuf,
    data_home: PathBuf,
    config_home: PathBuf,
}

impl Home {
    /// Finds them in the environment.
    ///
    /// # Errors
    ///
    /// [`PathsError::NoHome`].
    pub fn from_env() -> Result<Self, PathsError> {
        let directory = |name| env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let home = directory("HOME").ok_or(PathsError::NoHome)?;
        let (data, config) = if cfg!(target_os = "macos") {
            let support = home.join("Library/Application Support");
            (support.clone(), support)
        } else {
            (home.join(".local/share"), home.join(".config"))
        };
        Ok(Self {
            data_home: directory("XDG_DATA_HOME").unwrap_or(data),
            config_home: directory("XDG_CONFIG_HOME").unwrap_or(config),
            home,
        })
    }

    /// The directory of an instance's keys.
    pub fn keys(&self, name: Option<&InstanceName>) -> PathBuf {
        self.home.join(with_name(".x0x", name))
    }

    /// The human's key, the same for all instances.
    pub fn user_key(&self) -> PathBuf {
        self.home.join(".x0x/user.key")
    }

    /// The directory of an instance's data.
    pub fn data(&self, name: Option<&InstanceName>) -> PathBuf {
        self.data_home.join(with_name("x0x", name))
    }

    /// The configuration file of an instance.
    pub fn config(&self, name: Option<&InstanceName>) -> PathBuf {
        self.config_home.join(with_name("x0x", name)).join("config.toml")
    }

    /// Returns the instances that have a data directory, by name; the unnamed one first.
    pub fn instances(&self) -> Vec<(Option<InstanceName>, PathBuf)> {
        let entries = std::fs::read_dir(&self.data_home).into_iter().flatten().flatten();
        let mut found: Vec<_> = entries
            .filter_map(|entry| {
                let file_name = entry.file_name();
                let name = match file_name.to_str()? {
                    "x0x" => None,
                    other => Some(other.strip_prefix("x0x-")?.parse().ok()?),
                };
                Some((name, entry.path()))
            })
            .collect();
        found.sort();
        found
    }
}

fn with_name(base: &str, name: Option<&InstanceName>) -> String {
    name.map_or_else(|| base.into(), |name| format!("{base}-{}", name.as_str()))
}

/// The file that says where the API listens.
pub fn api_port(data: &Path) -> PathBuf {
    data.join("api.port")
}

/// The file that says on which port QUIC listened last.
pub fn quic_port(data: &Path) -> PathBuf {
    data.join("quic.port")
}

/// The Unix socket of the API.
pub fn api_socket(data: &Path) -> PathBuf {
    data.join("api.sock")
}

/// The file with the token of the API.
pub fn api_token(data: &Path) -> PathBuf {
    data.join("api-token")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_plain() {
        let long = "a".repeat(InstanceName::LEN_MAX);
        for good in ["a", "7", "alice", "Alice-2", &long] {
            assert_eq!(good.parse::<InstanceName>().map(|name| name.0), Ok(good.into()));
        }
        let longer = "a".repeat(InstanceName::LEN_MAX + 1);
        for bad in ["", "-a", "a/b", "a.b", "..", "a b", "é", &longer] {
            let error = Err(PathsError::InvalidName(bad.into()));
            assert_eq!(bad.parse::<InstanceName>(), error);
        }
    }

    #[test]
    fn a_named_instance_has_directories_of_its_own() {
        let home = Home { home: "/h".into(), data_home: "/d".into(), config_home: "/c".into() };
        let name = "alice".parse().ok();
        let name = name.as_ref();
        assert_eq!(home.keys(None), Path::new("/h/.x0x"));
        assert_eq!(home.keys(name), Path::new("/h/.x0x-alice"));
        assert_eq!(home.data(None), Path::new("/d/x0x"));
        assert_eq!(home.data(name), Path::new("/d/x0x-alice"));
        assert_eq!(home.config(name), Path::new("/c/x0x-alice/config.toml"));
    }
}
