//! Reading a page of a running agent or collector: one GET over HTTP/1.0, which needs no client library.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// A page is rendered within a second; more than this is no page of ours.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A page of a million series has about 300 MiB.
const PAGE_BYTES_MAX: u64 = 1 << 30;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// The address cannot be understood or resolved.
    #[error("{0:?} is not ADDRESS:PORT")]
    Address(String),
    /// Nobody answers there.
    #[error("nobody answers on {address}: {source}")]
    Connect {
        /// The address.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The answer ended early or is no text.
    #[error("cannot read from {address}: {source}")]
    Read {
        /// The address.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// Something else listens there.
    #[error("{0} does not speak HTTP")]
    NotHttp(String),
    /// The page answered something else than 200.
    #[error("{address}{path} answered {status}: {body}")]
    Status {
        /// The address.
        address: String,
        /// The page.
        path: String,
        /// The HTTP status.
        status: u16,
        /// What it said, cut.
        body: String,
    },
}

/// The body of `http://address/path`.
pub fn get(address: &str, path: &str) -> Result<String, PageError> {
    let resolved = address.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
    let target: SocketAddr = resolved.ok_or_else(|| PageError::Address(address.to_owned()))?;
    let connect = |source| PageError::Connect { address: address.to_owned(), source };
    let read = |source| PageError::Read { address: address.to_owned(), source };
    let mut stream = TcpStream::connect_timeout(&target, CONNECT_TIMEOUT).map_err(connect)?;
    stream.set_read_timeout(Some(READ_TIMEOUT)).map_err(read)?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").map_err(read)?;
    let mut response = String::new();
    stream.take(PAGE_BYTES_MAX).read_to_string(&mut response).map_err(read)?;
    let not_http = || PageError::NotHttp(address.to_owned());
    let (head, body) = response.split_once("\r\n\r\n").ok_or_else(not_http)?;
    let status = head.split_whitespace().nth(1).and_then(|s| s.parse().ok()).ok_or_else(not_http)?;
    if status == 200 {
        return Ok(body.to_owned());
    }
    let body = body.trim().chars().take(200).collect();
    Err(PageError::Status { address: address.to_owned(), path: path.to_owned(), status, body })
}
