//! Copies between a pipe and a file past the page cache (`O_DIRECT`).
//!
//! Such files take only whole blocks, at whole blocks, from memory that begins at one; what comes
//! through a pipe keeps to nothing of that. Here whole blocks are put together; the rest at the end
//! is written through the cache. The functions block: they belong on a thread of their own.

use rustix::fs::OFlags;
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

/// What offsets, lengths and addresses are multiples of; enough for every disk there is.
pub const BLOCK: usize = 4096;

/// Bytes copied at once.
const CHUNK: usize = 1 << 20;

/// Memory that begins at a block.
struct Aligned {
    bytes: Vec<u8>,
    start: usize,
}

impl Aligned {
    fn new() -> Self {
        let bytes = vec![0_u8; CHUNK + BLOCK];
        let start = bytes.as_ptr().align_offset(BLOCK).min(BLOCK);
        Self { bytes, start }
    }

    fn all(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..self.start + CHUNK).unwrap_or_default()
    }
}

/// Switches a file to and from being used past the page cache.
///
/// # Errors
/// Where the file system cannot.
pub fn set_direct(file: impl AsFd, on: bool) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(&file)?;
    let flags = if on { flags | OFlags::DIRECT } else { flags - OFlags::DIRECT };
    Ok(rustix::fs::fcntl_setfl(file, flags)?)
}

/// Writes `prefix` and then everything that comes through `pipe` to `file`, from its beginning.
///
/// # Errors
/// Those of reading and writing, and of a file system that knows no direct I/O.
pub fn pipe_to_file(prefix: &[u8], pipe: OwnedFd, file: &File) -> io::Result<u64> {
    set_direct(file, true)?;
    let mut input = prefix.chain(File::from(pipe));
    let mut buffer = Aligned::new();
    let mut at = 0;
    loop {
        let chunk = buffer.all();
        let filled = fill(&mut input, chunk)?;
        let whole = filled - filled % BLOCK;
        let (blocks, rest) = chunk.split_at(whole);
        file.write_all_at(blocks, at)?;
        at += whole as u64;
        if filled < CHUNK {
            set_direct(file, false)?;
            let rest = rest.get(..filled - whole).unwrap_or_default();
            file.write_all_at(rest, at)?;
            return Ok(at + rest.len() as u64);
        }
    }
}

/// Writes everything of `file` from `offset` on into `pipe`. A reader that has had enough is no
/// fault.
///
/// # Errors
/// Those of reading, and of a file system that knows no direct I/O.
pub fn file_to_pipe(file: &File, offset: u64, pipe: OwnedFd) -> io::Result<()> {
    set_direct(file, true)?;
    let mut output = File::from(pipe);
    let mut buffer = Aligned::new();
    let block = BLOCK as u64;
    let mut at = offset - offset % block;
    let mut skip = usize::try_from(offset % block).unwrap_or(0);
    loop {
        let chunk = buffer.all();
        let read = retry(|| file.read_at(chunk, at))?;
        let new = chunk.get(skip.min(read)..read).unwrap_or_default();
        match output.write_all(new) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            result => result?,
        }
        // Only the end of the file is no whole block.
        if read % BLOCK != 0 || read == 0 {
            return Ok(());
        }
        at += read as u64;
        skip = 0;
    }
}

fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match retry(|| input.read(rest))? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.raw_os_error() == Some(Errno::INTR.raw_os_error()) => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    /// Lengths around the blocks, through a pipe into a file and out again.
    #[test]
    fn what_goes_in_comes_out() {
        let dir = tempfile::tempdir_in("/var/tmp").expect("a folder on a disk");
        for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 7, CHUNK - 5, CHUNK, CHUNK + 3, 3 * CHUNK] {
            let content: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            let file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .open(dir.path().join("x"))
                .expect("a file");
            if set_direct(&file, true).is_err() {
                return; // A file system without direct I/O.
            }
            let (read, write) = rustix::pipe::pipe().expect("a pipe");
            let sent = content.clone();
            let writer = thread::spawn(move || File::from(write).write_all(&sent));
            let written = pipe_to_file(b"prefix", read, &file).expect("written");
            writer.join().expect("no panic").expect("sent");
            assert_eq!(written, 6 + length as u64);
            let (read, write) = rustix::pipe::pipe().expect("a pipe");
            let whole = file.try_clone().expect("a copy");
            let sender = thread::spawn(move || file_to_pipe(&whole, 6, write));
            let mut back = Vec::new();
            File::from(read).read_to_end(&mut back).expect("read");
            sender.join().expect("no panic").expect("sent");
            assert!(back == content, "{length} bytes");
        }
    }
}
