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
    let size = sample.size as usize;
    let mut looked_at = size.min(packet::HEAD);
    loop {
        let head = window.get(sample.offset, looked_at, 0)?;
        let begins = if prefix.is_empty() { coding.begins(head) } else { coding.begins(&[prefix, head].concat()) };
        if begins.is_some() || looked_at == size || head.len() < looked_at {
            return Ok(begins);
        }
        looked_at = size;
    }
}
