//! The control socket: how the command line reaches a running server.
//!
//! The one thing to know: the path of a socket has at most 107 bytes. Where the data directory's is longer, the socket
//! lies in a directory of its own below the runtime directory, and `control.path` in the data directory says where.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::net::{UnixListener, UnixStream};

use crate::data_dir::DataDir;

const SOCKET: &str = "control.sock";
const POINTER: &str = "control.path";

/// `sun_path` has 108 bytes on Linux and 104 on others, the final zero included.
const PATH_BYTES_MAX: usize = 103;

/// The files of a bound control socket, which go with it.
#[derive(Debug)]
pub(crate) struct ControlFiles {
    socket: PathBuf,
    pointer: Option<PathBuf>,
    /// Removed with the value.
    elsewhere: Option<TempDir>,
}

impl Drop for ControlFiles {
    fn drop(&mut self) {
        for path in [Some(&self.socket), self.pointer.as_ref()]
            .into_iter()
            .flatten()
        {
            // Left behind it does no harm: the next server removes it under the lock.
            let _ = fs::remove_file(path);
        }
        drop(self.elsewhere.take());
    }
}

/// Binds the socket. Whoever calls it owns the data directory, so that a socket that is there is a dead one's.
pub(crate) fn bind(
    data: &DataDir,
    runtime_dir: Option<&Path>,
) -> io::Result<(UnixListener, ControlFiles)> {
    let pointer = data.path().join(POINTER);
    remove(&pointer)?;
    let mut files = ControlFiles {
        socket: data.path().join(SOCKET),
        pointer: None,
        elsewhere: None,
    };
    remove(&files.socket)?;
    if too_long(&files.socket) {
        let mut builder = tempfile::Builder::new();
        builder.prefix("tokenhouse-");
        // Made with mode 0700.
        let directory = match runtime_dir {
            Some(runtime) => builder.tempdir_in(runtime)?,
            None => builder.tempdir()?,
        };
        files.socket = directory.path().join(SOCKET);
        fs::write(&pointer, files.socket.as_os_str().as_encoded_bytes())?;
        files.pointer = Some(pointer);
        files.elsewhere = Some(directory);
    }
    let listener = UnixListener::bind(&files.socket)?;
    fs::set_permissions(&files.socket, Permissions::from_mode(0o600))?;
    Ok((listener, files))
}

/// Connects to the server that owns a data directory.
pub(crate) async fn connect(data: &Path) -> io::Result<UnixStream> {
    let mut socket = data.join(SOCKET);
    if let Ok(elsewhere) = fs::read_to_string(data.join(POINTER)) {
        socket = PathBuf::from(elsewhere);
    }
    UnixStream::connect(socket).await
}

fn too_long(path: &Path) -> bool {
    path.as_os_str().len() > PATH_BYTES_MAX
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_long_path_is_pointed_to() {
        let above = tempfile::tempdir().unwrap();
        let runtime = tempfile::tempdir().unwrap();
        for name in ["short", &"long".repeat(30)] {
            let path = above.path().join(name);
            let data = DataDir::create(&path).unwrap();
            // A dead server's.
            fs::write(path.join(SOCKET), "").unwrap();
            fs::write(path.join(POINTER), "/nowhere/at/all").unwrap();
            let (listener, files) = bind(&data, Some(runtime.path())).unwrap();
            let mode = fs::metadata(&files.socket).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            assert_eq!(files.socket.starts_with(&path), name == "short");
            let (client, accepted) = tokio::join!(connect(&path), listener.accept());
            assert!(client.is_ok() && accepted.is_ok(), "{name}");
            drop((listener, files));
            assert!(connect(&path).await.is_err());
            assert!(!path.join(POINTER).exists());
            assert_eq!(fs::read_dir(runtime.path()).unwrap().count(), 0);
        }
    }
}
