//! Where a daemon is, and its token.

use std::io::ErrorKind;
use std::path::Path;

use super::ClientError;
use crate::config::API_PORT;
use crate::paths::{Home, InstanceName, api_port, api_token};

/// What a user says of the daemon that is meant.
#[derive(Clone, Debug, Default)]
pub struct Locator {
    /// The name of the instance.
    pub name: Option<InstanceName>,
    /// The address of its API.
    pub api: Option<String>,
    /// The token, which is not to be read from a file.
    pub token: Option<String>,
}

/// Where a daemon is, and its token.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    authority: String,
    token: Option<String>,
    name: Option<InstanceName>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Endpoint")
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    /// Finds the daemon that is meant: the address that was given, else that in the instance's
    /// `api.port`, else the usual one.
    ///
    /// # Errors
    ///
    /// If the instance has a name and does not run, the address is none, or a token exists and
    /// cannot be read.
    pub fn find(home: &Home, locator: &Locator) -> Result<Self, ClientError> {
        let name = locator.name.clone();
        let data = home.data(name.as_ref());
        let authority = match (&locator.api, std::fs::read_to_string(api_port(&data)), &name) {
            (Some(api), _, _) => parse(api)?,
            (None, Ok(address), _) => parse(address.trim())?,
            (None, Err(_), Some(name)) => {
                return Err(ClientError::InstanceNotRunning { name: name.as_str().into() });
            }
            (None, Err(_), None) => format!("127.0.0.1:{API_PORT}"),
        };
        let token = match &locator.token {
            Some(token) => Some(token.clone()),
            None => read_token(&data)?,
        };
        Ok(Self { authority, token, name: name.filter(|_| locator.api.is_none()) })
    }

    /// Takes an address as it is.
    ///
    /// # Errors
    ///
    /// [`ClientError::Address`].
    pub fn at(api: &str, token: Option<String>) -> Result<Self, ClientError> {
        Ok(Self { authority: parse(api)?, token, name: None })
    }

    /// Host and port.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The URL that all paths begin with.
    pub fn base(&self) -> String {
        format!("http://{}", self.authority)
    }

    /// The token, if there is one.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Says that nobody answers here.
    pub(super) fn not_running(&self) -> ClientError {
        match &self.name {
            Some(name) => ClientError::InstanceNotRunning { name: name.as_str().into() },
            None => ClientError::NotRunning { base: self.base() },
        }
    }
}

/// Reads the token of an instance, if it has one.
fn read_token(data: &Path) -> Result<Option<String>, ClientError> {
    let path = api_token(data);
    match std::fs::read_to_string(&path) {
        Ok(token) => Ok(Some(token.trim().to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ClientError::Token { path, error }),
    }
}

/// Reads `host:port` or a URL of it.
fn parse(api: &str) -> Result<String, ClientError> {
    let wrong = || ClientError::Address(api.into());
    let rest = match api.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
        Some(_) => return Err(wrong()),
        None => api,
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
    let (host, port) = authority.rsplit_once(':').ok_or_else(wrong)?;
    let is_host = !host.is_empty() && (host.starts_with('[') || !host.contains(':'));
    let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
    if is_host && is_port && authority.chars().all(is_plain) {
        Ok(authority.into())
    } else {
        Err(wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_have_a_scheme() {
        for (text, expected) in [
            ("127.0.0.1:12700", "127.0.0.1:12700"),
            ("http://localhost:1/", "localhost:1"),
            ("HTTP://[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(parse(text).expect("it is one"), expected);
        }
        let bad = ["", "localhost", "x:0", "x:65536", ":80", "::1:80", "https://x:1", "x:1/path"];
        for bad in bad.into_iter().chain(["a b:1", "http://http://x:1"]) {
            let error = parse(bad).expect_err(bad).to_string();
            assert!(error.contains("HOST:PORT"), "{error}");
        }
    }

    #[test]
    fn a_token_is_not_shown_for_debugging() {
        let endpoint = Endpoint::at("127.0.0.1:1", Some("secret".into())).expect("it is one");
        assert!(!format!("{endpoint:?}").contains("secret"));
    }
}
