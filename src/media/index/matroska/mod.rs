//! Matroska and WebM (RFC 9559): every cluster is walked, because nothing but its blocks says how many frames there are.

mod block;
mod ebml;
#[cfg(test)]
mod tests;
mod tracks;

use self::block::Lacing;
use self::ebml::{HEADER_LIMIT, Header, header, unsigned, unsigned_child};
use self::tracks::Track;
use super::order::{IN_DECODE_ORDER, is_of_decoding, presentation};
use super::packet::{self, Coding};
use super::window::Window;
use super::{Care, Codec, Edit, Found, INDEX_LIMIT, IndexError, Sample, SampleTable, StreamFormat, beginnings, limit, opening, sniff};

const SEGMENT: u32 = 0x1853_8067;
const INFO: u32 = 0x1549_a966;
const TRACKS: u32 = 0x1654_ae6b;
const CLUSTER: u32 = 0x1f43_b675;
const TIMESTAMP: u32 = 0xe7;
const SIMPLE_BLOCK: u32 = 0xa3;
const BLOCK_GROUP: u32 = 0xa0;
const BLOCK: u32 = 0xa1;
const REFERENCE_BLOCK: u32 = 0xfb;

/// Read at once: blocks are small and follow each other.
const STRIDE: usize = 4 << 20;
/// Read at once behind an element that was large: the next may be, too.
const STEP: usize = 64 << 10;
/// Elements from this size on are jumped over rather than read through.
const LARGE: u64 = 512 << 10;
/// Timestamps are kept in nanoseconds.
const NANOSECONDS: u32 = 1_000_000_000;

/// Whether a file that begins with `head` is Matroska or WebM.
pub(super) fn recognises(head: &[u8]) -> bool {
    head.starts_with(&[0x1a, 0x45, 0xdf, 0xa3])
}

/// Reads the sample table.
pub(super) fn read(window: &mut Window<'_>, care: Care) -> Result<Found, IndexError> {
    let mut walk = Walk {
        window,
        at: 0,
        ahead: STEP,
        tick: 1_000_000,
        cluster: 0,
        samples: Vec::new(),
        hidden: Vec::new(),
        twofold: false,
        laced: false,
    };
    let Some(tracks) = walk.up_to_tracks()? else {
        return Err(broken("it ends before its tracks are described"));
    };
    let Some(track) = tracks::choose(&tracks)? else {
        let what = if tracks::has_sound(&tracks) { "sound without pictures (matroska)" } else { "a matroska file without a video track" };
        return Ok(Found::Unknown { what: what.to_owned() });
    };
    let (codec, stream_format) = match &track.coding {
        Ok(coding) => *coding,
        Err(why) if why.contains("V_UNCOMPRESSED") => {
            return Err(IndexError::Unsupported(sniff::uncompressed_remedy("V_UNCOMPRESSED in Matroska")));
        }
        Err(why) => return Ok(sequential(why.clone())),
    };
    walk.blocks(&track, codec)?;
    if walk.twofold {
        return Ok(sequential("packets hold several pictures"));
    }
    let Walk { samples, hidden, laced, .. } = walk;
    let coding = Coding { codec, format: stream_format, data: track.codec_data.as_deref() };
    if is_of_decoding(window, coding, &track.prefix, &samples, (care, laced))? {
        return Ok(sequential(IN_DECODE_ORDER));
    }
    let mut begins = |sample: &Sample| beginnings::may_begin(window, coding, &track.prefix, sample);
    let mut shown = presentation(codec, &samples, 0, &mut begins)?;
    let hidden = if codec.hides() { hidden } else { opening::dropped(window, coding, &track.prefix, &samples)? };
    shown.retain(|&at| !hidden.get(at as usize).copied().unwrap_or(false));
    Ok(Found::Table(Box::new(SampleTable {
        container: "matroska",
        codec,
        codec_data: track.codec_data,
        stream_format,
        width: track.width,
        height: track.height,
        turn: track.turn,
        pixel_aspect: track.pixel_aspect,
        crop: track.crop,
        colour: track.colour,
        prefix: track.prefix,
        samples,
        shown,
        timescale: NANOSECONDS,
        edits: vec![Edit { first: 0, origin: 0 }],
    })))
}

struct Walk<'w, 's> {
    window: &'w mut Window<'s>,
    at: u64,
    ahead: usize,
    /// Nanoseconds of a tick.
    tick: u64,
    /// The cluster's timestamp in ticks.
    cluster: u64,
    samples: Vec<Sample>,
    /// Which samples are decoded but not shown.
    hidden: Vec<bool>,
    /// A packet shows more than one picture.
    twofold: bool,
    /// A block has more than one packet.
    laced: bool,
}

impl Walk<'_, '_> {
    /// Goes up to the description of the tracks, and returns it.
    fn up_to_tracks(&mut self) -> Result<Option<Vec<u8>>, IndexError> {
        while let Some(found) = self.next()? {
            match found.id {
                SEGMENT => {}
                INFO => {
                    let info = self.whole(found)?;
                    // Nanoseconds of a tick; 0 cannot be meant.
                    self.tick = unsigned_child(&info, 0x002a_d7b1).filter(|&tick| tick > 0).unwrap_or(1_000_000);
                }
                TRACKS => return self.whole(found).map(Some),
                CLUSTER => return Ok(None),
                _ => self.skip(found),
            }
        }
        Ok(None)
    }

    /// Walks all clusters. Blocks that are cut short, and whatever follows a place that is no element, do not exist.
    fn blocks(&mut self, track: &Track, codec: Codec) -> Result<(), IndexError> {
        while let Some(found) = self.next()? {
            match (found.id, found.size) {
                (SEGMENT | CLUSTER, _) => {}
                (TIMESTAMP, Some(size)) if size <= 8 => {
                    let body = self.window.get(self.at, size as usize, self.ahead)?;
                    self.cluster = unsigned(body).unwrap_or_default();
                    self.skip(found);
                }
                (SIMPLE_BLOCK, Some(size)) if self.fits(size) => {
                    let from = self.samples.len();
                    let key = self.block(self.at, size, track, codec)?;
                    self.begin(from, key, codec);
                    self.skip(found);
                }
                (BLOCK_GROUP, Some(size)) if self.fits(size) => {
                    self.group(self.at + size, track, codec)?;
                }
                (_, Some(size)) if self.fits(size) => self.skip(found),
                _ => break,
            }
        }
        Ok(())
    }

    /// The elements of a block group; a frame that refers to no other is a place to begin.
    fn group(&mut self, end: u64, track: &Track, codec: Codec) -> Result<(), IndexError> {
        let from = self.samples.len();
        let mut refers = false;
        while self.at < end {
            let Some(found) = self.next()? else { break };
            let Some(size) = found.size.filter(|size| self.at.checked_add(*size).is_some_and(|inside| inside <= end)) else { break };
            match found.id {
                BLOCK => {
                    self.block(self.at, size, track, codec)?;
                }
                REFERENCE_BLOCK => refers = true,
                _ => {}
            }
            self.skip(found);
        }
        self.at = end;
        self.begin(from, !refers, codec);
        Ok(())
    }

    /// Says whether decoding can begin at a block, whose samples begin at `from`. That speaks of its first frame: those laced
    /// behind it rest on it, unless the codec's pictures never rest on others.
    fn begin(&mut self, from: usize, key: bool, codec: Codec) {
        for (place, sample) in self.samples[from..].iter_mut().enumerate() {
            sample.sync = key && (place == 0 || codec.intra_only());
        }
    }

    /// Adds the frames of a block of our track; whether its header calls it a place to begin.
    fn block(&mut self, at: u64, size: u64, track: &Track, codec: Codec) -> Result<bool, IndexError> {
        let bytes = self.window.get(at, block::HEADER_LIMIT.min(size as usize), self.ahead)?;
        let Some(head) = block::header(bytes) else { return Ok(false) };
        if head.track != track.number {
            return Ok(false);
        }
        let unusable = || broken(format!("the block at byte {at} is unusable"));
        let frames_at = at + head.length as u64;
        let length = size - head.length as u64;
        let (begin, sizes) = match head.lacing {
            Lacing::None => (0, vec![length]),
            lacing => {
                let body = self.held(frames_at, length)?;
                let (begin, sizes) = block::laced(lacing, body).ok_or_else(unusable)?;
                (begin as u64, sizes.into_iter().map(|size| size as u64).collect())
            }
        };
        self.laced |= sizes.len() > 1;
        limit(self.samples.len() as u64 + sizes.len() as u64, self.window.size(), "matroska")?;
        let ticks = i128::from(self.cluster) + i128::from(head.time);
        let pts = i64::try_from(ticks * i128::from(self.tick)).map_err(|_| unusable())?;
        let step = i64::try_from(track.default_duration).unwrap_or_default().max(1);
        let mut offset = frames_at + begin;
        for (number, size) in (0_i64..).zip(sizes) {
            let shown = self.shown(offset, size, track, codec)?;
            self.twofold |= shown > 1;
            self.hidden.push(shown == 0);
            let pts = step.checked_mul(number).and_then(|later| pts.checked_add(later)).ok_or_else(unusable)?;
            let size_32 = u32::try_from(size).map_err(|_| unusable())?;
            self.samples.push(Sample { offset, size: size_32, pts, sync: false });
            offset += size;
        }
        Ok(head.key)
    }

    /// How many pictures a frame shows.
    fn shown(&mut self, at: u64, size: u64, track: &Track, codec: Codec) -> Result<usize, IndexError> {
        if !codec.hides() {
            return Ok(1);
        }
        let whole = size + track.prefix.len() as u64;
        let coding = Coding { codec, format: StreamFormat::Frame, data: track.codec_data.as_deref() };
        let mut looked_at = size.min(packet::HEAD as u64);
        loop {
            let head = self.held(at, looked_at)?;
            let shown =
                if track.prefix.is_empty() { coding.shown(head, whole) } else { coding.shown(&[&track.prefix, head].concat(), whole) };
            match shown {
                None if looked_at < size => looked_at = size,
                shown => return Ok(shown.unwrap_or(1)),
            }
        }
    }

    /// The header of the element at the walk's place, which moves on to the element's body.
    fn next(&mut self) -> Result<Option<Header>, IndexError> {
        let found = header(self.window.get(self.at, HEADER_LIMIT, self.ahead)?);
        if let Some(found) = found {
            self.at += found.header as u64;
            self.ahead = if found.size.is_some_and(|size| size >= LARGE) { STEP } else { STRIDE };
        }
        Ok(found)
    }

    /// Moves on behind the element whose body the walk is at; one of unknown size is entered instead.
    fn skip(&mut self, found: Header) {
        self.at = self.at.saturating_add(found.size.unwrap_or_default());
    }

    /// Whether that many bytes are there.
    fn fits(&self, size: u64) -> bool {
        self.at.checked_add(size).is_some_and(|end| end <= self.window.size())
    }

    /// The body of an element that must be held whole; the walk moves on behind it.
    fn whole(&mut self, found: Header) -> Result<Vec<u8>, IndexError> {
        let size = found.size.ok_or_else(|| broken("the description of its tracks has no size"))?;
        if !self.fits(size) {
            return Err(broken("it is cut short in the description of its tracks"));
        }
        let body = self.held(self.at, size)?.to_vec();
        self.skip(found);
        Ok(body)
    }

    fn held(&mut self, at: u64, size: u64) -> Result<&[u8], IndexError> {
        if size > INDEX_LIMIT {
            return Err(IndexError::Unsupported(format!("an element has {size} bytes, more than the bound of {INDEX_LIMIT}")));
        }
        Ok(self.window.get(at, size as usize, self.ahead)?)
    }
}

fn sequential(why: impl Into<String>) -> Found {
    Found::Sequential { container: "matroska", why: why.into(), unedited: true }
}

fn broken(cause: impl Into<String>) -> IndexError {
    IndexError::Broken { container: "matroska", cause: cause.into() }
}
