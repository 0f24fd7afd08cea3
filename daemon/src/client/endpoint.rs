//! Where a daemon is, how it is reached, and its token.
//!
//! A token that was read from a file goes to the daemon of that data directory and to nobody else. The
//! daemon is reached by the Unix socket in the directory, whose listener must run as this user. Over
//! TCP it proves first that it knows the token ([`crate::proof`]): another program may have its port.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{ClientError, HEALTH_TIMEOUT, challenge};
use crate::config::API_PORT;
use crate::paths::{Home, InstanceName, api_port, api_socket, api_token};
use crate::socket::{self, ConnectError, Stream, own_user};

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
    /// The data directory, if its socket is the way to the daemon.
    data: Option<PathBuf>,
    token: Option<String>,
    name: Option<InstanceName>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Endpoint")
            .field("authority", &self.authority)
            .field("data", &self.data)
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    /// Finds the daemon that is meant: at the address that was given, with the token that was given;
    /// else by the data directory of the instance; else at the usual address.
    ///
    /// # Errors
    ///
    /// If the instance has a name and does not run, the address is none, or a token exists and
    /// cannot be read.
    pub fn find(home: &Home, locator: &Locator) -> Result<Self, ClientError> {
        let Locator { name, api, token } = locator;
        if let Some(api) = api {
            return Self::at(api, token.clone());
        }
        let data = home.data(name.as_ref());
        let usual = format!("127.0.0.1:{API_PORT}");
        let usual = Some(usual.as_str()).filter(|_| name.is_none());
        let Some(mut endpoint) = Self::of_data(&data, token.clone(), usual)? else {
            let name = name.as_ref().map_or_else(String::new, |name| name.as_str().into());
            return Err(ClientError::InstanceNotRunning { name });
        };
        endpoint.name.clone_from(name);
        Ok(endpoint)
    }

    /// Finds the daemon of a data directory: at the address in its `api.port` or its usual one, and by
    /// its socket if it has one. `None` if there is no address.
    ///
    /// # Errors
    ///
    /// If the address is none, or a token exists and cannot be read.
    pub fn of_data(
        data: &Path,
        token: Option<String>,
        usual: Option<&str>,
    ) -> Result<Option<Self>, ClientError> {
        let written = std::fs::read_to_string(api_port(data)).ok();
        let Some(address) = written.as_deref().or(usual) else { return Ok(None) };
        let authority = parse(address.trim())?;
        let token = match token {
            Some(token) => Some(token),
            None => read_token(data)?,
        };
        let data = socket::exists(data).then(|| data.into());
        Ok(Some(Self { authority, data, token, name: None }))
    }

    /// Takes an address as it is, with a token that does not come from a file.
    ///
    /// # Errors
    ///
    /// [`ClientError::Address`].
    pub fn at(api: &str, token: Option<String>) -> Result<Self, ClientError> {
        Ok(Self { authority: parse(api)?, data: None, token, name: None })
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

    /// Connects to the daemon, in at most [`HEALTH_TIMEOUT`]. Once this returns, the token may be
    /// sent.
    ///
    /// # Errors
    ///
    /// If nobody listens, or what listens is not this daemon.
    pub async fn open(&self) -> Result<Stream, ClientError> {
        let open = async {
            match &self.data {
                Some(data) => self.open_unix(data).await,
                None => self.open_tcp().await,
            }
        };
        timeout(HEALTH_TIMEOUT, open).await.unwrap_or_else(|_| Err(self.not_running()))
    }

    async fn open_unix(&self, data: &Path) -> Result<Stream, ClientError> {
        let path = api_socket(data);
        match socket::connect(data).await {
            Ok(stream) => Ok(Stream::Unix(stream)),
            Err(ConnectError::Stale) => Err(self.not_running()),
            Err(ConnectError::Foreign(user)) => {
                Err(ClientError::Foreign { path, user, own: own_user() })
            }
            Err(ConnectError::Io(error)) => Err(ClientError::Socket { path, error }),
        }
    }

    async fn open_tcp(&self) -> Result<Stream, ClientError> {
        let stream = TcpStream::connect(&self.authority).await.map_err(|_| self.not_running())?;
        let broken = |error: io::Error| ClientError::Broken(error.to_string());
        // Requests are small, and somebody waits for each.
        stream.set_nodelay(true).map_err(broken)?;
        let stream = match &self.token {
            Some(token) => challenge::pass(stream, &self.authority, token).await?,
            None => stream,
        };
        Ok(Stream::Tcp(stream))
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
