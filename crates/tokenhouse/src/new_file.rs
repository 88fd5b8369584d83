//! A file that appears under its name whole or not at all, and never in the place of another.
//!
//! The one thing to know: it is written under another name first. Half a keyring, after a crash or on a full disk, would be
//! refused for ever; half a list of credentials would pass for all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Lets `content` appear at `path`, readable by its owner alone and on disk when this returns; `false` if something is there
/// already, which stays as it is. `unfinished` is in the same directory, and nobody else's.
pub(crate) fn appear(path: &Path, unfinished: &Path, content: &[u8]) -> io::Result<bool> {
    // A crash may have left one, of whatever mode.
    match fs::remove_file(unfinished) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(unfinished)?;
    file.write_all(content)?;
    file.sync_all()?;
    // Unlike a rename, a link never takes the place of a file that somebody else has made meanwhile.
    let linked = fs::hard_link(unfinished, path);
    fs::remove_file(unfinished)?;
    let directory = path.parent().filter(|above| !above.as_os_str().is_empty());
    // Without this the name may be lost although the content is on disk.
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
    match linked {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}
