//! A segment: one file of the journal, with room that was made beforehand.
//!
//! The file is filled with zeros, or was another segment before, so that a commit overwrites blocks that exist: its fdatasync
//! brings no metadata to the disk, and it needs no space on a disk that is full.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::sync;

/// A segment that is done with, kept for the next.
const SPARE: &str = "spare";

/// The segment that is written.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) file: File,
    /// Where the next frame goes.
    pub(super) end: u64,
    /// The number of the next frame.
    pub(super) frame: u64,
    length: u64,
}

impl Segment {
    /// Makes a segment of at least `length` bytes, from the spare one if there is one. Its name is on the disk when this returns.
    pub(super) fn create(directory: &Path, number: u64, length: u64) -> io::Result<Self> {
        let (path, spare) = (file_of(directory, number), directory.join(SPARE));
        if !spare.exists() {
            File::create(&spare)?;
        }
        let file = File::options().read(true).write(true).open(&spare)?;
        fill(&file, length)?;
        fs::rename(&spare, &path)?;
        sync::directory(directory)?;
        let length = file.metadata()?.len();
        Ok(Self { number, file, end: 0, frame: 0, length })
    }

    /// Continues a segment after its last frame.
    pub(super) fn resume(
        directory: &Path,
        number: u64,
        (end, frame): (u64, u64),
    ) -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(file_of(directory, number))?;
        let length = file.metadata()?.len();
        Ok(Self { number, file, end, frame, length })
    }

    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.end + bytes as u64 <= self.length
    }

    /// Writes a frame; returns where it begins.
    pub(super) fn append(&mut self, frame: &[u8]) -> io::Result<u64> {
        let begin = self.end;
        self.file.write_all_at(frame, begin)?;
        self.end += frame.len() as u64;
        self.frame += 1;
        Ok(begin)
    }
}

/// Fills up to `length` with zeros, a page at a time: a kernel that keeps what is written at once as one piece would take each frame
/// for a change of that piece.
fn fill(file: &File, length: u64) -> io::Result<()> {
    let zeros = [0; 4 << 10];
    let mut at = file.metadata()?.len();
    while at < length {
        let count = usize::try_from(length - at).unwrap_or(zeros.len()).min(zeros.len());
        file.write_all_at(zeros.get(..count).unwrap_or_default(), at)?;
        at += count as u64;
    }
    sync::all(file)
}

/// The file of a segment.
pub(super) fn file_of(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("journal-{number:010}"))
}

/// The numbers of the segments that are there.
pub(super) fn numbers(directory: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("journal-"));
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Lets a segment go: it becomes the spare one, unless there is one or it is larger than usual.
pub(super) fn release(directory: &Path, number: u64, usual: u64) -> io::Result<()> {
    let (path, spare) = (file_of(directory, number), directory.join(SPARE));
    let is_usual = fs::metadata(&path).is_ok_and(|metadata| metadata.len() == usual);
    if is_usual && !spare.exists() {
        return fs::rename(path, spare);
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
