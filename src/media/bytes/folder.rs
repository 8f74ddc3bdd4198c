//! An item's folder on disk, with three files.
//!
//! `data` has the item's size and holds its pieces at their own offsets, with holes between. `log` is text: a first line
//! about the item, then one line for each thing that happened. A piece counts once its line is there, and only as long
//! as its checksum holds, so that neither a crash nor a power cut between the two files can pass wrong bytes. `index`
//! is what the reader of the container wants to keep.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::Span;
use super::version::Version;

/// Bytes are kept in pieces of at most this size, each with its checksum.
pub(super) const LARGEST_PIECE: u64 = 1 << 20;

/// Rough cost in bytes of a folder and its files, beside their content.
pub(super) const FOLDER: u64 = 8 << 10;

/// A longer log is not read: no item has so many pieces.
const LONGEST_LOG: u64 = 16 << 20;

const FORMAT: u32 = 1;

/// The first line of a log.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Header {
    format: u32,
    pub(super) version: Version,
    pub(super) media_type: Option<String>,
}

/// Any other line of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// These bytes are in `data`.
    Piece { span: Span, checksum: u32 },
    /// The piece that begins here is damaged.
    Lost { offset: u64 },
    /// This is in `index`.
    Index(Kept),
    /// The store said then that this is its item.
    Seen(SystemTime),
}

/// How long a file's content is, and its checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) length: u64,
    pub(super) checksum: u32,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Piece { span, checksum } => write!(f, "piece {} {} {checksum:08x}", span.offset, span.length),
            Self::Lost { offset } => write!(f, "lost {offset}"),
            Self::Index(kept) => write!(f, "index {} {:08x}", kept.length, kept.checksum),
            Self::Seen(at) => write!(f, "seen {}", at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()),
        }
    }
}

impl Line {
    fn parse(text: &str) -> Option<Self> {
        let hexadecimal = |text| u32::from_str_radix(text, 16).ok();
        Some(match text.split(' ').collect::<Vec<_>>()[..] {
            ["piece", offset, length, checksum] => {
                let span = Span { offset: offset.parse().ok()?, length: length.parse().ok()? };
                Self::Piece { span, checksum: hexadecimal(checksum)? }
            }
            ["lost", offset] => Self::Lost { offset: offset.parse().ok()? },
            ["index", length, checksum] => Self::Index(Kept { length: length.parse().ok()?, checksum: hexadecimal(checksum)? }),
            ["seen", seconds] => Self::Seen(UNIX_EPOCH.checked_add(Duration::from_secs(seconds.parse().ok()?))?),
            _ => return None,
        })
    }
}

/// What a folder tells of its item.
pub(super) struct Record {
    pub(super) header: Header,
    /// Pieces lie within `data` and are no larger than allowed.
    pub(super) lines: Vec<Line>,
    /// When a trigger last opened the item.
    pub(super) used: Option<SystemTime>,
}

/// Reads a folder's log; none when it is damaged.
pub(super) fn read(dir: &Path) -> Option<Record> {
    let log = File::open(dir.join("log")).ok()?;
    let used = log.metadata().ok()?.modified().ok();
    let mut text = Vec::new();
    log.take(LONGEST_LOG).read_to_end(&mut text).ok()?;
    // The last line may be torn; what does not end in a line feed did not happen.
    let whole = text.iter().rposition(|&byte| byte == b'\n')?;
    let mut lines = std::str::from_utf8(&text[..whole]).ok()?.split('\n');
    let header: Header = serde_json::from_str(lines.next()?).ok().filter(|header: &Header| header.format == FORMAT)?;
    let data_length = fs::metadata(dir.join("data")).ok()?.len();
    let mut lines: Vec<Line> = lines.map(Line::parse).collect::<Option<_>>()?;
    lines.retain(|line| match line {
        Line::Piece { span, .. } => span.end() <= data_length && (1..=LARGEST_PIECE).contains(&span.length),
        _ => true,
    });
    Some(Record { header, lines, used })
}

/// Removes a folder, its log first: without one it is no item, and what an interrupted removal leaves goes at the next start.
pub(super) fn remove(dir: &Path) {
    let _ = fs::remove_file(dir.join("log"));
    let _ = fs::remove_dir_all(dir);
}

/// An index, if it is the one that was kept.
pub(super) fn read_index(dir: &Path, kept: Kept) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(dir.join("index")).ok()?.take(kept.length.saturating_add(1)).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 == kept.length && crc32fast::hash(&bytes) == kept.checksum).then_some(bytes)
}

/// A folder's open files. Whoever has them keeps reading after the folder was removed.
pub(super) struct Files {
    data: File,
    log: File,
}

impl Files {
    /// Makes a folder for an item.
    pub(super) fn create(dir: &Path, version: &Version, media_type: Option<&str>) -> io::Result<Self> {
        DirBuilder::new().mode(0o700).create(dir)?;
        let files = Self::open_with(dir, true)?;
        let header = Header { format: FORMAT, version: version.clone(), media_type: media_type.map(Into::into) };
        files.append(serde_json::to_string(&header)?)?;
        Ok(files)
    }

    /// Opens a folder's files.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        Self::open_with(dir, false)
    }

    fn open_with(dir: &Path, create: bool) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).create_new(create).mode(0o600);
        let data = options.clone().write(true).open(dir.join("data"))?;
        let log = options.append(true).open(dir.join("log"))?;
        Ok(Self { data, log })
    }

    /// Writes a line. Best effort: what is lost with it is fetched again.
    pub(super) fn note(&self, line: Line) {
        let _ = self.append(line.to_string());
    }

    /// In one write, so that lines of concurrent triggers never mix.
    fn append(&self, mut line: String) -> io::Result<()> {
        line.push('\n');
        (&self.log).write_all(line.as_bytes())
    }

    /// Notes when the item was last opened, for the order of eviction after a restart.
    pub(super) fn touch(&self, now: SystemTime) {
        let _ = self.log.set_modified(now);
    }

    /// Writes a piece and then its line; returns its checksum.
    pub(super) fn write(&self, span: Span, bytes: &[u8]) -> io::Result<u32> {
        self.data.write_all_at(bytes, span.offset)?;
        let checksum = crc32fast::hash(bytes);
        self.append(Line::Piece { span, checksum }.to_string())?;
        Ok(checksum)
    }

    /// Reads from a piece whose checksum was compared before.
    pub(super) fn read(&self, offset: u64, out: &mut [u8]) -> bool {
        self.data.read_exact_at(out, offset).is_ok()
    }

    /// A whole piece, if its checksum holds.
    pub(super) fn read_proving(&self, span: Span, checksum: u32) -> Option<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(span.length).ok()?];
        self.data.read_exact_at(&mut bytes, span.offset).ok()?;
        (crc32fast::hash(&bytes) == checksum).then_some(bytes)
    }

    /// Writes an index, beside the old one until it is whole.
    pub(super) fn write_index(&self, dir: &Path, bytes: &[u8]) -> io::Result<Kept> {
        let fresh = dir.join("index.new");
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?.write_all(bytes)?;
        fs::rename(&fresh, dir.join("index"))?;
        let kept = Kept { length: bytes.len() as u64, checksum: crc32fast::hash(bytes) };
        self.append(Line::Index(kept).to_string())?;
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_were_written_and_anything_else_is_damage() {
        for line in [
            Line::Piece { span: Span { offset: 7, length: 9 }, checksum: 0xab },
            Line::Lost { offset: u64::MAX },
            Line::Index(Kept { length: 1, checksum: u32::MAX }),
            Line::Seen(UNIX_EPOCH + Duration::from_secs(1_700_000_000)),
        ] {
            assert_eq!(Line::parse(&line.to_string()), Some(line));
        }
        for damage in ["", "piece 7 9", "piece 7 9 zz", "piece -7 9 ab", "lost", "seen soon", "piece 7 9 ab seen 8", "\0\0"] {
            assert_eq!(Line::parse(damage), None, "{damage:?}");
        }
    }
}
