//! A file that appears under its name whole or not at all: never in the place of another, or in the place of the one that
//! it was made from.
//!
//! The one thing to know: it is written under another name first. Half a keyring, after a crash or on a full disk, would be
//! refused for ever; half a list of credentials would pass for all.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::Path;

/// Lets `content` appear at `path`, readable by its owner alone and on disk when this returns; `false` if something is there
/// already, which stays as it is. `unfinished` is in the same directory, and nobody else's.
pub(crate) fn appear(path: &Path, unfinished: &Path, content: &[u8]) -> io::Result<bool> {
    written(unfinished, content, None)?;
    // Unlike a rename, a link never takes the place of a file that somebody else has made meanwhile.
    let linked = fs::hard_link(unfinished, path);
    fs::remove_file(unfinished)?;
    sync_above(path)?;
    match linked {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Puts `content` in the place of the file at `path`, on disk when this returns: whoever reads sees the one or the other. It
/// belongs to whom the former file, which `former` describes, belonged to. `unfinished` as in [`appear`].
pub(crate) fn replace(
    path: &Path,
    unfinished: &Path,
    content: &[u8],
    former: &Metadata,
) -> io::Result<()> {
    written(unfinished, content, Some(former))?;
    if let Err(error) = fs::rename(unfinished, path) {
        // It holds what the file would hold; the reason is what counts.
        let _ = fs::remove_file(unfinished);
        return Err(error);
    }
    sync_above(path)
}

/// A file of its own, on disk.
fn written(path: &Path, content: &[u8], like: Option<&Metadata>) -> io::Result<()> {
    // A crash may have left one, of whatever mode.
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    let own = file.metadata()?;
    if let Some(like) = like.filter(|like| (like.uid(), like.gid()) != (own.uid(), own.gid())) {
        // Root adds to what the server's user must be able to read.
        fchown(&file, Some(like.uid()), Some(like.gid()))?;
    }
    file.write_all(content)?;
    file.sync_all()
}

/// Without this the name may be lost although the content is on disk.
fn sync_above(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|above| !above.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}
