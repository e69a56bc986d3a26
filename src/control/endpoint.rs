//! Where the control API is reached: a Unix socket for whoever runs the daemon, and a TCP port for whoever looks.

#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::string_slice, clippy::cast_possible_truncation)
)]

use std::fmt;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

/// Connections that the kernel keeps for us until they are accepted.
const BACKLOG: i32 = 64;

/// Only the user whom the daemon runs as may connect.
const MODE: u32 = 0o600;

/// The Unix socket, bound and listening, not blocking. Its file is removed when this is dropped, unless another has taken its place.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    /// Device and number of its file.
    file: (u64, u64),
}

/// Why there is no Unix socket.
#[derive(Debug)]
pub enum NoSocket {
    /// A daemon answers there.
    Live(PathBuf),
    /// Something stands there that is no socket.
    InTheWay(PathBuf),
    /// It cannot be made.
    Failed(PathBuf, io::Error),
}

impl fmt::Display for NoSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoSocket::Live(path) => write!(
                f,
                "{}: a daemon answers on this control socket; stop it, or name another [control] socket",
                path.display()
            ),
            NoSocket::InTheWay(path) => write!(
                f,
                "{}: not a socket; remove it, or name another [control] socket",
                path.display()
            ),
            NoSocket::Failed(path, error) => write!(f, "{}: no control socket can be made: {error}", path.display()),
        }
    }
}

impl ControlSocket {
    /// Binds a path. The file of a daemon that is dead is replaced.
    pub fn bind(path: &Path) -> Result<(Self, UnixListener), NoSocket> {
        let failed = |error| NoSocket::Failed(path.to_owned(), error);
        if let Ok(metadata) = fs::symlink_metadata(path) {
            if !metadata.file_type().is_socket() {
                return Err(NoSocket::InTheWay(path.to_owned()));
            }
            match UnixStream::connect(path) {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(failed)?,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) if error.kind() == ErrorKind::PermissionDenied => return Err(failed(error)),
                // Whatever else: somebody is there.
                _ => return Err(NoSocket::Live(path.to_owned())),
            }
        }
        let socket = listening(path).map_err(failed)?;
        let metadata = fs::symlink_metadata(path).map_err(failed)?;
        let bound = Self {
            path: path.to_owned(),
            file: (metadata.dev(), metadata.ino()),
        };
        Ok((bound, socket.into()))
    }
}

/// Nobody can connect before the mode is set: the socket listens only after that.
fn listening(path: &Path) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    fs::set_permissions(path, Permissions::from_mode(MODE))?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let ours = |metadata: fs::Metadata| (metadata.dev(), metadata.ino()) == self.file;
        if fs::symlink_metadata(&self.path).is_ok_and(ours) {
            // Left behind, it is taken for that of a dead daemon.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A TCP port, listening, not blocking.
pub fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        // Its file is left, and nobody listens.
        drop(UnixListener::bind(&path).unwrap());
        let (bound, listener) = ControlSocket::bind(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        assert!(matches!(ControlSocket::bind(&path), Err(NoSocket::Live(_))));
        drop((bound, listener));
        assert!(!path.exists());
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        fs::write(&path, "text").unwrap();
        assert!(matches!(ControlSocket::bind(&path), Err(NoSocket::InTheWay(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "text");
        let nowhere = folder.path().join("none/s");
        assert!(matches!(ControlSocket::bind(&nowhere), Err(NoSocket::Failed(..))));
    }

    #[test]
    fn anothers_socket_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let (bound, _listener) = ControlSocket::bind(&path).unwrap();
        let kept = folder.path().join("kept");
        fs::rename(&path, &kept).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        drop(bound);
        assert!(path.exists());
    }
}
