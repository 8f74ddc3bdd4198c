//! The files of the pictures that wait to be delivered, in a folder beside the database.
//!
//! Whoever delivers a picture, or gives it up, holds a lock on its file. The kernel lets go of it with the process, however that
//! ends: there is no lease that a clock could break, and nothing to clean up after a crash.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::schema::owned_as_its_folder;

/// A picture that nobody else touches for as long as this lives.
#[derive(Debug)]
pub struct Held {
    file: File,
    path: PathBuf,
}

impl Held {
    /// The bytes.
    ///
    /// # Errors
    /// As the disk says.
    pub fn jpeg(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        (&self.file).rewind()?;
        (&self.file).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Gives the room back; the file stays, for its lock.
    pub(super) fn empty(&self) -> io::Result<()> {
        // What it was taken with may be a handle that only reads.
        OpenOptions::new().write(true).open(&self.path)?.set_len(0)
    }

    pub(super) fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// What came of trying to hold a picture's file.
pub(super) enum Grip {
    Mine(Held),
    Others,
    NoFile,
}

/// The folder, and the picture of an id in it.
pub(super) struct Pictures(PathBuf);

impl Pictures {
    pub(super) fn beside(journal: &Path) -> Self {
        Self(journal.with_extension("pictures"))
    }

    /// The folder.
    pub(super) fn folder(&self) -> &Path {
        &self.0
    }

    fn path(&self, id: &str, end: &str) -> PathBuf {
        self.0.join(format!("{id}.{end}"))
    }

    /// Lays a picture down; it is on the disk, and held, when this returns.
    pub(super) fn lay_down(&self, id: &str, jpeg: &[u8]) -> io::Result<Held> {
        self.make()?;
        let (part, path) = (self.path(id, "part"), self.path(id, "jpg"));
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&part)?;
        let written = || -> io::Result<()> {
            file.try_lock()?;
            owned_as_its_folder(&part);
            (&file).write_all(jpeg)?;
            file.sync_all()?;
            fs::rename(&part, &path)?;
            File::open(&self.0)?.sync_all()
        };
        match written() {
            Ok(()) => Ok(Held { file, path }),
            Err(error) => {
                // Nobody knows of it yet.
                let _ = fs::remove_file(&part);
                Err(error)
            }
        }
    }

    fn make(&self) -> io::Result<()> {
        match fs::DirBuilder::new().mode(0o700).create(&self.0) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
            Ok(()) => {
                owned_as_its_folder(&self.0);
                Ok(())
            }
        }
    }

    pub(super) fn hold(&self, id: &str) -> io::Result<Grip> {
        let path = self.path(id, "jpg");
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Grip::NoFile),
            Err(error) => return Err(error),
        };
        match file.try_lock() {
            Ok(()) => Ok(Grip::Mine(Held { file, path })),
            Err(TryLockError::WouldBlock) => Ok(Grip::Others),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Removes what was never laid down whole. Returns the pictures that are there, by id.
    pub(super) fn tidy(&self) -> Vec<String> {
        let mut whole = Vec::new();
        for path in fs::read_dir(&self.0).into_iter().flatten().flatten().map(|entry| entry.path()) {
            let Some(id) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
            match path.extension().and_then(|end| end.to_str()) {
                Some("jpg") => whole.push(id.to_owned()),
                // One that is being written is locked.
                Some("part") if File::open(&path).is_ok_and(|file| file.try_lock().is_ok()) => drop(fs::remove_file(&path)),
                _ => {}
            }
        }
        whole
    }
}
