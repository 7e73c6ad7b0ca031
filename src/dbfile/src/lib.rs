//! redb files on disks that fill up, fail and rot.
//!
//! - [`ensure`] makes a file whole or not at all;
//! - [`DbFile`] opens it again after its disk failed, without a restart, and refuses to write where space is short;
//! - [`DbFile::check`] verifies every checksum of the file while it is in use;
//! - [`DbFile::beside`] begins a file that takes its place while it is in use.
//!
//! redb survives `kill -9` at any point of a file's life but its first milliseconds: a process killed while
//! it lays out a new file leaves one that never opens again. So a new file is laid out beside its place and
//! renamed into it.

mod beside;
mod file;
mod scrub;
mod view;

use std::{fs, io, path::Path};

pub use self::{
    beside::{Beside, Held, Replaced},
    file::{DbFile, Reader, SPARE, Trouble},
    scrub::{Findings, RATE, Scrub, each},
    view::Soundness,
};

use redb::{Database, DatabaseError, StorageError};

/// Makes an empty database file at `path` unless there is a file. After this, opening it is safe against
/// being killed.
pub fn ensure(path: &Path) -> Result<(), DatabaseError> {
    let io_error = |e: io::Error| DatabaseError::Storage(StorageError::Io(e));
    // An empty file is one that was never laid out; redb takes it for new.
    if fs::metadata(path).is_ok_and(|m| m.len() > 0) {
        return Ok(());
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".making");
    let beside = path.with_file_name(name);
    match fs::remove_file(&beside) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io_error(e)),
        _ => {}
    }
    drop(Database::create(&beside)?);
    fs::rename(&beside, path).map_err(io_error)?;
    match path.parent().filter(|p| !p.as_os_str().is_empty()) {
        Some(dir) => fs::File::open(dir).and_then(|d| d.sync_all()).map_err(io_error),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a process killed while it laid the file out leaves behind does no harm.
    #[test]
    fn leftovers_of_a_killed_process_do_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.redb");
        ensure(&path).unwrap();
        let whole = fs::read(&path).unwrap();
        for cut in [0, 1, 64, 512, whole.len() / 2] {
            fs::remove_file(&path).unwrap();
            fs::write(dir.path().join("store.redb.making"), &whole[..cut]).unwrap();
            ensure(&path).unwrap();
            drop(Database::create(&path).unwrap());
        }
        // The reason for all this: redb itself cannot go on from there.
        fs::write(&path, &whole[..64]).unwrap();
        assert!(Database::create(&path).is_err());
    }

    #[test]
    fn an_existing_file_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.redb");
        fs::write(&path, "not a database").unwrap();
        ensure(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"not a database");
    }
}
