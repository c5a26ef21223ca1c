//! A volume's bytes, in and out.

use super::Pools;
use super::error::{storage, system};
use super::record::Pool;
use diag::{ErrorCode, VirError};
use rustix::fs::SeekFrom;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// A part of a volume's content.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes.
    Data(Vec<u8>),
    /// So many zeros that take no space.
    Hole(u64),
    /// There is no more.
    End,
}

/// Reads a volume's content from the start to the end.
#[derive(Debug)]
pub struct Download {
    file: File,
    path: String,
    at: u64,
    end: u64,
    sparse: bool,
}

/// Writes a volume's content from the start to the end.
#[derive(Debug)]
pub struct Upload {
    file: File,
    path: String,
    at: u64,
    /// Bytes that may still come; none: as many as there are.
    left: Option<u64>,
    /// The end of the file is where it was: block devices do not grow.
    fixed: bool,
}

impl Pools {
    /// Opens a volume for reading `length` bytes (0: all) from `offset`.
    ///
    /// # Errors
    /// When it is not there or cannot be read.
    pub async fn download(
        &self,
        pool: &Arc<Pool>,
        name: &str,
        offset: u64,
        length: u64,
        sparse: bool,
    ) -> Result<Download, VirError> {
        let volume = self.volume(pool, name).await?;
        crate::blocking(move || {
            let path = volume.target.path.clone().unwrap_or_default();
            let failed = |e: io::Error| system(format!("Unable to open stream for '{path}'"), &e);
            let file = super::dir::open(path.as_ref()).map_err(failed)?;
            if file.metadata().map_err(failed)?.is_dir() {
                return Err(failed(io::Error::from(rustix::io::Errno::ISDIR)));
            }
            let size = rustix::fs::seek(&file, SeekFrom::End(0)).map_err(|e| failed(e.into()))?;
            let end = match length {
                0 => size,
                length => offset.saturating_add(length).min(size),
            };
            Ok(Download { file, path, at: offset, end, sparse })
        })
        .await
    }

    /// Opens a volume for writing `length` bytes (0: as many as come) at `offset`.
    ///
    /// # Errors
    /// When it is not there or cannot be written.
    pub async fn upload(
        &self,
        pool: &Arc<Pool>,
        name: &str,
        offset: u64,
        length: u64,
    ) -> Result<Upload, VirError> {
        let volume = self.volume(pool, name).await?;
        crate::blocking(move || {
            let path = volume.target.path.clone().unwrap_or_default();
            let failed = |e: io::Error| system(format!("Unable to open stream for '{path}'"), &e);
            let file = OpenOptions::new().read(true).write(true).open(&path).map_err(failed)?;
            let fixed = !file.metadata().map_err(failed)?.is_file();
            let left = (length != 0).then_some(length);
            Ok(Upload { file, path, at: offset, left, fixed })
        })
        .await
    }
}

impl Download {
    /// The next piece, of at most `max` bytes of data. May block.
    ///
    /// # Errors
    /// When reading fails.
    pub fn next(&mut self, max: usize) -> Result<Piece, VirError> {
        if self.at >= self.end {
            return Ok(Piece::End);
        }
        let mut stop = self.end;
        if self.sparse {
            let data = match rustix::fs::seek(&self.file, SeekFrom::Data(self.at)) {
                Ok(data) => data.min(self.end),
                // Nothing but a hole up to the end.
                Err(rustix::io::Errno::NXIO) => self.end,
                // The file system knows no holes.
                Err(_) => self.at,
            };
            if data > self.at {
                let hole = data - self.at;
                self.at = data;
                return Ok(Piece::Hole(hole));
            }
            if let Ok(hole) = rustix::fs::seek(&self.file, SeekFrom::Hole(self.at)) {
                stop = hole.clamp(self.at + 1, self.end);
            }
        }
        let length = usize::try_from(stop - self.at).unwrap_or(usize::MAX).min(max);
        let mut data = vec![0; length];
        let read = loop {
            match self.file.read_at(&mut data, self.at) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(system(format!("cannot read '{}'", self.path), &error)),
                Ok(read) => break read,
            }
        };
        if read == 0 {
            // It became shorter meanwhile.
            self.at = self.end;
            return Ok(Piece::End);
        }
        data.truncate(read);
        self.at += read as u64;
        Ok(Piece::Data(data))
    }
}

impl Upload {
    /// Writes data. May block.
    ///
    /// # Errors
    /// When writing fails or more comes than was said.
    pub fn data(&mut self, data: &[u8]) -> Result<(), VirError> {
        self.take(data.len() as u64)?;
        self.file
            .write_all_at(data, self.at)
            .map_err(|error| system(format!("cannot write '{}'", self.path), &error))?;
        self.at += data.len() as u64;
        Ok(())
    }

    /// Leaves a hole. May block.
    ///
    /// # Errors
    /// When it cannot be made, or more comes than was said.
    pub fn hole(&mut self, length: u64) -> Result<(), VirError> {
        use rustix::fs::FallocateFlags;
        self.take(length)?;
        let failed = |e: io::Error| system(format!("cannot punch hole in '{}'", self.path), &e);
        let end = self.at.saturating_add(length);
        if !self.fixed {
            let size = self.file.metadata().map_err(failed)?.len();
            if end > size {
                self.file.set_len(end).map_err(failed)?;
            }
        }
        if length > 0 {
            let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            if rustix::fs::fallocate(&self.file, punch, self.at, length).is_err() {
                self.zeros(length)?;
            }
        }
        self.at = end;
        Ok(())
    }

    /// Writes zeros where a hole cannot be made.
    fn zeros(&self, length: u64) -> Result<(), VirError> {
        let zeros = vec![0; 1 << 20];
        let (mut at, mut left) = (self.at, length);
        while left > 0 {
            let some = usize::try_from(left).unwrap_or(usize::MAX).min(zeros.len());
            self.file
                .write_all_at(zeros.get(..some).unwrap_or_default(), at)
                .map_err(|error| system(format!("cannot write '{}'", self.path), &error))?;
            at += some as u64;
            left -= some as u64;
        }
        Ok(())
    }

    fn take(&mut self, length: u64) -> Result<(), VirError> {
        let Some(left) = &mut self.left else { return Ok(()) };
        match left.checked_sub(length) {
            Some(rest) => {
                *left = rest;
                Ok(())
            }
            None => {
                let detail = format!("more data for '{}' than was announced", self.path);
                Err(storage(ErrorCode::OPERATION_INVALID, detail))
            }
        }
    }
}
