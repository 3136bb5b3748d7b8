//! A segment: one file of the journal, allocated in advance.
//!
//! A new file is filled with zeros; a reused file was another segment before. So a commit
//! overwrites allocated pages: its fdatasync writes no metadata, and it works on a full disk.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::sync;

/// The name of an unused segment that becomes the next one.
const SPARE: &str = "spare";

/// The active segment.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) file: File,
    /// The same file, opened once more for syncs without the lock: the kernel reports a failed
    /// write once to each opening of a file, so neither sync hides it from the other.
    pub(super) sync_file: Arc<File>,
    /// The offset of the next frame.
    pub(super) end: u64,
    /// The number of the next frame.
    pub(super) frame: u64,
    length: u64,
}

impl Segment {
    /// Creates a segment of at least `length` bytes, from the spare segment if there is one, and
    /// syncs its name.
    pub(super) fn create(directory: &Path, number: u64, length: u64) -> io::Result<Self> {
        let (path, spare) = (file_of(directory, number), directory.join(SPARE));
        if !spare.exists() {
            File::create(&spare)?;
        }
        let file = File::options().read(true).write(true).open(&spare)?;
        fill(&file, length)?;
        fs::rename(&spare, &path)?;
        sync::directory(directory)?;
        Self::with(file, &path, number, 0, 0)
    }

    /// Opens a segment to append frames from offset `end` on, the first with number `frame`.
    pub(super) fn resume(directory: &Path, number: u64, end: u64, frame: u64) -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(file_of(directory, number))?;
        Self::with(file, &file_of(directory, number), number, end, frame)
    }

    fn with(file: File, path: &Path, number: u64, end: u64, frame: u64) -> io::Result<Self> {
        let (length, sync_file) = (file.metadata()?.len(), Arc::new(File::open(path)?));
        Ok(Self { number, file, sync_file, end, frame, length })
    }

    /// Returns whether a frame of so many bytes fits.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.end + bytes as u64 <= self.length
    }

    /// Writes a frame without a sync. Returns its offset.
    pub(super) fn append(&mut self, frame: &[u8]) -> io::Result<u64> {
        let begin = self.end;
        self.file.write_all_at(frame, begin)?;
        self.end += frame.len() as u64;
        self.frame += 1;
        Ok(begin)
    }
}

/// Fills a file with zeros up to `length`, one page at a time: some kernels cache one write as one
/// large folio, and would then write the whole folio for each frame.
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

/// Returns the path of a segment.
pub(super) fn file_of(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("journal-{number:010}"))
}

/// Returns the numbers of all segments, in order.
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

/// Removes a segment. It becomes the spare segment, unless there is one or its size is not usual.
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
