//! Calls a node's methods over HTTP, and the cookie that nodes beyond loopback ask for.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use jsonrpsee::http_client::{HeaderMap, HeaderValue, HttpClient};
use thiserror::Error;

use super::serve::{MAX_REQUEST, MAX_RESPONSE};
use crate::files::{self, Readers};

/// How long a call may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why no client could be made.
#[derive(Debug, Error)]
#[error("`{url}` is no RPC address, such as http://127.0.0.1:8080: {why}")]
pub struct ConnectError {
    url: String,
    why: String,
}

/// A client for the node at a URL, such as `http://127.0.0.1:8080`. Nothing is sent yet; a call takes at most 10
/// seconds. Its methods are those of [`super::ApiClient`].
pub fn connect(url: &str, cookie: Option<&Cookie>) -> Result<HttpClient, ConnectError> {
    let fail = |why: String| ConnectError { url: url.to_owned(), why };
    let mut headers = HeaderMap::new();
    if let Some(cookie) = cookie {
        let mut value =
            HeaderValue::from_str(&format!("Bearer {}", cookie.0)).map_err(|error| fail(error.to_string()))?;
        value.set_sensitive(true);
        headers.insert("authorization", value);
    }
    HttpClient::builder()
        .request_timeout(TIMEOUT)
        .max_request_size(MAX_REQUEST)
        .max_response_size(MAX_RESPONSE)
        .set_headers(headers)
        .build(url)
        .map_err(|error| fail(error.to_string()))
}

/// The secret that a node beyond loopback asks for.
#[derive(Clone, PartialEq, Eq)]
pub struct Cookie(String);

/// Why a cookie could not be made or read.
#[derive(Debug, Error)]
pub enum CookieError {
    /// The system gives no randomness.
    #[error("the system gives no random bytes for the RPC cookie: {0}")]
    Random(getrandom::Error),
    /// The file cannot be written or read.
    #[error("the RPC cookie {path} cannot be {action}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl Cookie {
    /// The file's name in a data directory.
    pub const FILE_NAME: &str = "rpc.cookie";

    /// A new one.
    pub(super) fn random() -> Result<Self, CookieError> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(CookieError::Random)?;
        Ok(Self(hex::encode(bytes)))
    }

    /// Makes a new one and writes it, for its owner only, in place of any old one.
    pub(super) fn create(path: &Path) -> Result<Self, CookieError> {
        let cookie = Self::random()?;
        files::replace(path, cookie.0.as_bytes(), Readers::Owner).map_err(|source| CookieError::File {
            path: path.to_owned(),
            action: "written",
            source,
        })?;
        Ok(cookie)
    }

    /// Reads one that a node has written; `None` if there is none.
    pub fn read(path: &Path) -> Result<Option<Self>, CookieError> {
        match fs::read_to_string(path) {
            Ok(text) => Ok(Some(Self(text.trim().to_owned()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(CookieError::File { path: path.to_owned(), action: "read", source }),
        }
    }

    /// Removes the file, if there is one.
    pub fn remove(path: &Path) -> Result<(), CookieError> {
        match fs::remove_file(path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(CookieError::File { path: path.to_owned(), action: "removed", source })
            }
            _ => Ok(()),
        }
    }

    /// Whether a text is this cookie. Takes as long wherever they first differ.
    pub(super) fn is(&self, text: &str) -> bool {
        let differences = self.0.bytes().zip(text.bytes()).fold(0, |all, (a, b)| all | (a ^ b));
        self.0.len() == text.len() && differences == 0
    }

    #[cfg(test)]
    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cookie(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(Cookie::FILE_NAME);
        assert_eq!(Cookie::read(&path).unwrap(), None);
        let cookie = Cookie::create(&path).unwrap();
        assert_eq!(Cookie::read(&path).unwrap(), Some(cookie.clone()));
        assert!(cookie.is(&cookie.0) && !cookie.is("") && !cookie.is(&cookie.0[1..]));
        assert_ne!(Cookie::create(&path).unwrap(), cookie);
    }

    #[test]
    fn wrong_urls_are_named() {
        let error = connect("ftp://x", None).unwrap_err().to_string();
        assert!(error.contains("ftp://x"), "{error}");
    }
}
