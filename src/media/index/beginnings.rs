//! Places where decoding can begin: what a container calls one is tried by the sample's own bytes before it is relied on.

use std::ops::Range;

use super::super::source::Source;
use super::packet::{self, Begins, Coding};
use super::window::Window;
use super::{IndexError, Sample, SampleTable};

/// Bytes read together on the way back: most of them will be decoded.
const BLOCK: u64 = 1 << 20;

impl SampleTable {
    /// How its samples are coded.
    pub(super) fn coding(&self) -> Coding<'_> {
        Coding { codec: self.codec, format: self.stream_format, data: self.codec_data.as_deref() }
    }

    /// Whether a decoder that begins with sample `at`, whose bytes are `body`, to show sample `target` would lack what these
    /// refer to. The first sample is begun with for want of an earlier one.
    pub fn begins_wrongly(&self, at: usize, body: &[u8], target: usize) -> bool {
        if at == 0 || body.is_empty() {
            return false;
        }
        let stripped = [&self.prefix, body];
        let begins = if self.prefix.is_empty() { self.coding().begins(body) } else { self.coding().begins(&stripped.concat()) };
        match begins {
            Some(Begins::Not) => true,
            Some(Begins::Intra) => at != target,
            Some(Begins::Here) | None => false,
        }
    }

    /// Corrects which samples before and at `at`, which is none, are places to begin, back to the first that is one.
    pub fn find_beginning(&mut self, source: &mut Source, at: usize) -> Result<(), IndexError> {
        let mut window = Window::new(source, Vec::new());
        let mut end = (at + 1).min(self.samples.len());
        while end > 1 {
            let block = self.block_before(end);
            window.get(self.samples[block.start].offset, self.spanned(&block).unwrap_or_default() as usize, 0)?;
            for place in block.clone().rev() {
                let begins = begins(&mut window, self.coding(), &self.prefix, &self.samples[place])?;
                let begins = begins == Some(Begins::Here) && place != at;
                self.samples[place].sync = begins;
                if begins {
                    return Ok(());
                }
            }
            end = block.start;
        }
        Ok(())
    }

    /// As many samples before `end` as follow each other within a block, one at least.
    fn block_before(&self, end: usize) -> Range<usize> {
        let mut block = end - 1..end;
        while block.start > 1 && self.spanned(&(block.start - 1..end)).is_some() {
            block.start -= 1;
        }
        block
    }

    /// How many bytes there are from the first to the last of some samples, if that is a block.
    fn spanned(&self, samples: &Range<usize>) -> Option<u64> {
        let samples = &self.samples[samples.clone()];
        let (first, last) = (samples.first()?, samples.last()?);
        let length = last.offset.saturating_add(last.size.into()).checked_sub(first.offset)?;
        (length <= BLOCK).then_some(length)
    }
}

/// Whether nothing in a sample speaks against that decoding begins with it.
pub(super) fn may_begin(window: &mut Window<'_>, coding: Coding<'_>, prefix: &[u8], sample: &Sample) -> Result<bool, IndexError> {
    Ok(begins(window, coding, prefix, sample)? != Some(Begins::Not))
}

/// Whether decoding can begin with a sample; `None` where its bytes do not say, or are not there.
fn begins(window: &mut Window<'_>, coding: Coding<'_>, prefix: &[u8], sample: &Sample) -> Result<Option<Begins>, IndexError> {
    look(window, prefix, sample, Stretch::Ahead(0), &|head| coding.begins(head))
}

/// How much is read for a look at a sample.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stretch {
    /// So many bytes of it.
    Only(usize),
    /// As many bytes as the look takes, and with them at least so many for the next.
    Ahead(usize),
}

/// What `read` makes of a sample's first bytes, or else of all of them; `None` where they do not say, or are not there.
pub(super) fn look<T>(
    window: &mut Window<'_>,
    prefix: &[u8],
    sample: &Sample,
    stretch: Stretch,
    read: &dyn Fn(&[u8]) -> Option<T>,
) -> Result<Option<T>, IndexError> {
    let size = sample.size as usize;
    let (mut looked_at, ahead) = match stretch {
        Stretch::Only(most) => (size.min(most), 0),
        Stretch::Ahead(ahead) => (size.min(packet::HEAD), ahead),
    };
    loop {
        let head = window.get(sample.offset, looked_at, ahead)?;
        let found = if prefix.is_empty() { read(head) } else { read(&[prefix, head].concat()) };
        if found.is_some() || looked_at == size || head.len() < looked_at || matches!(stretch, Stretch::Only(_)) {
            return Ok(found);
        }
        looked_at = size;
    }
}
