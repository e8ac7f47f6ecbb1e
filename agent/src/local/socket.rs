//! The Unix socket: where it is, asking over it, and listening on it.

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::client::AskError;
use super::protocol::{Answer, HEAD_BYTES, length};

/// Beside identity and spool.
pub(super) const NAME: &str = "agent.sock";
/// The system's bound is 108 bytes with the closing zero on Linux, 104 elsewhere.
const PATH_BYTES_MAX: usize = 103;

/// A name of the socket that the system takes, however long the state directory's is.
struct Address {
    path: PathBuf,
    /// What the name leads through.
    _folder: Option<OwnedFd>,
}

impl Address {
    fn of(state_dir: &Path) -> io::Result<Self> {
        let path = state_dir.join(NAME);
        if path.as_os_str().len() <= PATH_BYTES_MAX {
            return Ok(Self { path, _folder: None });
        }
        if !cfg!(target_os = "linux") {
            let why = format!("{} has more than {PATH_BYTES_MAX} bytes", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let folder = std::fs::File::open(state_dir)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{NAME}", folder.as_raw_fd()));
        Ok(Self { path, _folder: Some(folder.into()) })
    }
}

/// Listens. Whoever calls holds the lock of the state directory, so a socket that is there is a dead one's.
pub(super) fn bind(state_dir: &Path) -> io::Result<UnixListener> {
    remove(state_dir);
    let address = Address::of(state_dir)?;
    let listener = UnixListener::bind(&address.path)?;
    // The folder is 0700, so nobody came in between.
    std::fs::set_permissions(&address.path, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Takes the socket away.
pub(super) fn remove(state_dir: &Path) {
    // One that is not there is as good as one that was removed.
    let _ = std::fs::remove_file(state_dir.join(NAME));
}

/// Sends a framed request and reads the answer.
pub(super) fn ask(
    state_dir: &Path,
    request: &[u8],
    timeout: Duration,
    answer_bytes_max: usize,
) -> Result<Answer, AskError> {
    let mut stream = connect(state_dir).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => {
            AskError::Unclear("the agent has more connections waiting than it takes".to_owned())
        }
        // What else is wrong with the folder, opening the spool tells better.
        _ => AskError::Absent,
    })?;
    let unclear = |what: &str| AskError::Unclear(format!("the agent does not answer: {what}"));
    let spoken = || -> io::Result<Vec<u8>> {
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        stream.write_all(request)?;
        let mut head = [0; HEAD_BYTES];
        stream.read_exact(&mut head)?;
        let length = length(head, answer_bytes_max).map_err(io::Error::other)?;
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    };
    // Between its check and ours it may have gone: then somebody else answers the next time.
    let answer = { spoken }().map_err(|error| unclear(&error.to_string()))?;
    serde_json::from_slice(&answer).map_err(|error| unclear(&error.to_string()))
}

/// Connects without waiting: a stuck agent's queue of connections may be full.
fn connect(state_dir: &Path) -> io::Result<UnixStream> {
    let address = Address::of(state_dir)?;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags(), None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(address.path.as_path())?)?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

fn flags() -> SocketFlags {
    SocketFlags::NONBLOCK | SocketFlags::CLOEXEC
}
