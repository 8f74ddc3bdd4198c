//! The sample table: where every coded picture of the chosen track lies, and which of them is frame N.

use std::ops::Range;

use indexmap::IndexSet;

/// How the pictures are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// H.264 / AVC.
    H264,
    /// H.265 / HEVC.
    H265,
    /// VP8.
    Vp8,
    /// VP9.
    Vp9,
    /// AV1.
    Av1,
    /// MPEG-1 video.
    Mpeg1,
    /// MPEG-2 video.
    Mpeg2,
    /// MPEG-4 part 2 (DivX, Xvid).
    Mpeg4,
    /// H.263.
    H263,
    /// Motion JPEG.
    Mjpeg,
    /// Apple ProRes; the four-character code says which flavour (`apcn`, `ap4h`, …).
    ProRes([u8; 4]),
}

impl Codec {
    /// The name people know it by, such as `h264`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::H264 => "h264",
            Self::H265 => "h265",
            Self::Vp8 => "vp8",
            Self::Vp9 => "vp9",
            Self::Av1 => "av1",
            Self::Mpeg1 => "mpeg1",
            Self::Mpeg2 => "mpeg2",
            Self::Mpeg4 => "mpeg4",
            Self::H263 => "h263",
            Self::Mjpeg => "mjpeg",
            Self::ProRes(_) => "prores",
        }
    }
}

/// How a sample's bytes are framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamFormat {
    /// H.264 with length prefixes, parameter sets in `codec_data` (avcC).
    Avc,
    /// H.264 with length prefixes, parameter sets also or only in the samples.
    Avc3,
    /// H.265 with length prefixes, parameter sets in `codec_data` (hvcC).
    Hvc1,
    /// H.265 with length prefixes, parameter sets also or only in the samples.
    Hev1,
    /// H.264 or H.265 with start codes, no `codec_data`.
    ByteStream,
    /// One frame as the codec defines it.
    Frame,
}

/// How a decoded picture is turned for display: first mirrored left to right, then turned clockwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Turn {
    /// 0, 90, 180 or 270 degrees.
    pub clockwise: u16,
    /// Mirrored left to right before it is turned.
    pub mirror: bool,
}

/// The part of the coded picture that is shown (`clap`, `PixelCrop*`), in coded pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crop {
    /// Pixels left out on the left.
    pub left: u32,
    /// Pixels left out at the top.
    pub top: u32,
    /// Pixels shown across.
    pub width: u32,
    /// Pixels shown down.
    pub height: u32,
}

/// What the container says about colour, in the code points of ITU-T H.273; `None` where it is silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Colour {
    /// `ColourPrimaries`.
    pub primaries: Option<u16>,
    /// `TransferCharacteristics`.
    pub transfer: Option<u16>,
    /// `MatrixCoefficients`; 0 is GBR.
    pub matrix: Option<u16>,
    /// Whether samples use the full range.
    pub full_range: Option<bool>,
}

/// One coded picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// First byte in the file.
    pub offset: u64,
    /// Length in bytes.
    pub size: u32,
    /// Presentation timestamp on the media's own clock (before any edit list), in units of `timescale`.
    pub pts: i64,
    /// Decoding can begin here.
    pub sync: bool,
}

/// Every coded picture of the chosen track.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleTable {
    /// `mp4` or `matroska`.
    pub container: &'static str,
    /// How pictures are coded.
    pub codec: Codec,
    /// avcC, hvcC, av1C or vpcC without box header; DecoderSpecificInfo of `esds`; Matroska's CodecPrivate.
    pub codec_data: Option<Vec<u8>>,
    /// How samples are framed.
    pub stream_format: StreamFormat,
    /// Coded width in pixels, as the container says.
    pub width: u32,
    /// Coded height in pixels, as the container says.
    pub height: u32,
    /// How the picture is turned for display.
    pub turn: Turn,
    /// Width : height of one pixel, neither 0; `None` where the container is silent (the bitstream may say it).
    pub pixel_aspect: Option<(u32, u32)>,
    /// The part that is shown, if not all.
    pub crop: Option<Crop>,
    /// Colour as the container has it; the bitstream may say more.
    pub colour: Colour,
    /// Bytes that stand before every sample but are stored once (Matroska's header stripping).
    pub prefix: Vec<u8>,
    /// In decode order.
    pub samples: Vec<Sample>,
    /// Frame number → index into `samples`; presentation order, edit list applied, hidden frames left out.
    pub shown: Vec<u32>,
    /// Units of `Sample::pts` in a second; never 0.
    pub timescale: u32,
    /// Where presentation time begins, one entry per edit, first frames ascending.
    pub edits: Vec<Edit>,
}

/// From frame `first` on, presentation time is `pts - origin`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edit {
    /// Frame number the edit begins with.
    pub first: u32,
    /// The `pts` that is shown at time 0, in units of the table's `timescale`.
    pub origin: i64,
}

/// The frame asked for is beyond the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there are {count} frames")]
pub struct OutOfRange {
    /// How many frames there are.
    pub count: u64,
}

/// What must be decoded for one frame to come out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Samples to feed, in decode order: from a sync sample to the target; then end of stream.
    pub samples: Range<usize>,
    /// The sample that is the frame; the last of `samples`, unless pictures share its timestamp.
    pub target: usize,
    /// For each fed sample its rank in presentation order, from 0: a timestamp that is unique and in order whatever the
    /// container's clock says. Samples whose timestamps are equal share a ticket: only the decoder knows their order.
    pub tickets: Vec<u32>,
    /// The target is this-many-th (from 0) of the pictures that come out with its ticket.
    pub nth: usize,
}

impl Plan {
    /// The ticket the wanted picture comes out with.
    pub fn ticket(&self) -> u32 {
        self.tickets[self.target - self.samples.start]
    }
}

/// The samples between two places where decoding can begin: a decoder that is within them can go on to any later one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gop {
    /// In decode order; the first is a sync sample, unless the track begins without.
    pub samples: Range<usize>,
    /// For each sample its rank in presentation order, from 0; all differ.
    pub tickets: Vec<u32>,
    /// So many samples further a decoder must be fed, at most, before a sample's picture can be given out.
    pub reorder: usize,
}

impl SampleTable {
    /// How many frames there are.
    pub fn count(&self) -> u64 {
        self.shown.len() as u64
    }

    /// When frame `frame` is shown, in seconds; 0 beyond the end.
    pub fn seconds(&self, frame: u64) -> f64 {
        let Some(sample) = self.shown_sample(frame) else { return 0.0 };
        let edit = self.edits.partition_point(|edit| u64::from(edit.first) <= frame);
        let origin = edit.checked_sub(1).map_or(0, |edit| self.edits[edit].origin);
        self.samples[sample].pts.saturating_sub(origin) as f64 / f64::from(self.timescale)
    }

    /// What to decode for frame `frame`.
    pub fn plan(&self, frame: u64) -> Result<Plan, OutOfRange> {
        let wanted = self.shown_sample(frame).ok_or(OutOfRange { count: self.count() })?;
        let pts = self.samples[wanted].pts;
        let (tied, nth) = self.tied(frame as usize);
        let first = tied.iter().copied().min().unwrap_or(wanted);
        let last = tied.iter().copied().max().unwrap_or(wanted);
        let samples = self.start(first, pts)..last + 1;

        let mut times: Vec<i64> = self.samples[samples.clone()].iter().map(|sample| sample.pts).collect();
        times.sort_unstable();
        if self.codec.reorders() {
            times.dedup();
        }
        let rank = |pts: i64| times.partition_point(|&time| time < pts) as u32;
        let mut tickets: Vec<u32> = self.samples[samples.clone()].iter().map(|sample| rank(sample.pts)).collect();
        if !self.codec.reorders() {
            number_in_order(&mut tickets);
        }
        Ok(Plan { samples, target: wanted, tickets, nth })
    }

    /// The GOP that all of a plan lies in. None for a leading picture, which lies behind the next sync sample, and where
    /// timestamps are equal.
    pub fn gop(&self, plan: &Plan) -> Option<Gop> {
        let start = plan.samples.start;
        let next = self.samples[start + 1..].iter().position(|sample| sample.sync);
        let samples = start..next.map_or(self.samples.len(), |next| start + 1 + next);
        if plan.samples.end > samples.end {
            return None;
        }
        let mut order: Vec<usize> = (0..samples.len()).collect();
        order.sort_by_key(|&at| self.samples[start + at].pts);
        if order.windows(2).any(|pair| self.samples[start + pair[0]].pts == self.samples[start + pair[1]].pts) {
            return None;
        }
        let mut tickets = vec![0; samples.len()];
        for (rank, &at) in order.iter().enumerate() {
            tickets[at] = rank as u32;
        }
        let reorder = tickets.iter().enumerate().map(|(at, &rank)| at.saturating_sub(rank as usize)).max().unwrap_or(0);
        Some(Gop { samples, tickets, reorder })
    }

    fn shown_sample(&self, frame: u64) -> Option<usize> {
        let sample = *self.shown.get(usize::try_from(frame).ok()?)? as usize;
        (sample < self.samples.len()).then_some(sample)
    }

    /// The samples that share the frame's timestamp (empty where timestamps decide), and the frame's place among them.
    fn tied(&self, frame: usize) -> (Vec<usize>, usize) {
        if !self.codec.reorders() {
            return (Vec::new(), 0);
        }
        let pts = |at: usize| self.samples[self.shown[at] as usize].pts;
        let wanted = pts(frame);
        let before = (0..frame).rev().take_while(|&at| pts(at) == wanted).count();
        let after = (frame + 1..self.shown.len()).take_while(|&at| pts(at) == wanted).count();
        // Two edits may show one sample twice in a row; it comes out once.
        let tied: IndexSet<usize> = self.shown[frame - before..=frame + after].iter().map(|&sample| sample as usize).collect();
        let nth = tied.get_index_of(&(self.shown[frame] as usize)).unwrap_or(0);
        if tied.len() < 2 { (Vec::new(), 0) } else { (tied.into_iter().collect(), nth) }
    }

    /// The sync sample to begin with, so that a picture in sample `at`, shown at `pts`, comes out right.
    ///
    /// A picture shown before its sync sample is a leading picture of an open GOP: it also refers to the GOP before.
    fn start(&self, at: usize, pts: i64) -> usize {
        let begins = |&at: &usize| self.samples[at].sync && self.samples[at].pts <= pts;
        (0..=at).rev().find(begins).unwrap_or(0)
    }
}

impl Codec {
    /// Whether pictures may be coded in another order than they are shown in.
    pub(super) fn reorders(&self) -> bool {
        !matches!(self, Self::Vp8 | Self::Vp9 | Self::Av1 | Self::Mjpeg | Self::ProRes(_))
    }

    /// Whether every picture is coded for itself.
    pub(super) fn intra_only(&self) -> bool {
        matches!(self, Self::Mjpeg | Self::ProRes(_))
    }
}

/// Makes equal tickets ascend in decode order, for codecs that show pictures in the order they are coded in.
fn number_in_order(tickets: &mut [u32]) {
    let mut order: Vec<usize> = (0..tickets.len()).collect();
    order.sort_by_key(|&at| tickets[at]);
    for (rank, at) in order.into_iter().enumerate() {
        tickets[at] = rank as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(codec: Codec, samples: &[(i64, bool)]) -> SampleTable {
        let samples: Vec<Sample> =
            samples.iter().enumerate().map(|(at, &(pts, sync))| Sample { offset: at as u64 * 10, size: 10, pts, sync }).collect();
        let mut shown: Vec<u32> = (0..samples.len() as u32).collect();
        shown.sort_by_key(|&at| samples[at as usize].pts);
        SampleTable {
            container: "mp4",
            codec,
            codec_data: None,
            stream_format: StreamFormat::Avc,
            width: 64,
            height: 48,
            turn: Turn::default(),
            pixel_aspect: None,
            crop: None,
            colour: Colour::default(),
            prefix: Vec::new(),
            samples,
            shown,
            timescale: 10,
            edits: vec![Edit { first: 0, origin: 0 }],
        }
    }

    #[test]
    fn a_plan_runs_from_the_sync_sample_to_the_frame() {
        // Decode order I P b I P b, shown I b P I b P.
        let table = table(Codec::H264, &[(0, true), (2, false), (1, false), (3, true), (5, false), (4, false)]);
        let plan = table.plan(4).unwrap();
        assert_eq!((plan.samples.clone(), plan.target, plan.nth), (3..6, 5, 0));
        assert_eq!((plan.tickets.as_slice(), plan.ticket()), ([0, 2, 1].as_slice(), 1));
        assert_eq!(table.plan(3).unwrap().samples, 3..4);
        assert_eq!(table.plan(6), Err(OutOfRange { count: 6 }));
        assert_eq!(table.plan(u64::MAX), Err(OutOfRange { count: 6 }));
    }

    #[test]
    fn a_leading_picture_of_an_open_gop_begins_one_sync_sample_earlier() {
        let table = table(Codec::H265, &[(0, true), (1, false), (4, true), (3, false), (2, false), (5, false)]);
        assert_eq!(table.plan(2).unwrap().samples, 0..5);
        assert_eq!(table.plan(4).unwrap().samples, 2..3);
        assert_eq!(table.plan(5).unwrap().samples, 2..6);
    }

    #[test]
    fn pictures_with_equal_timestamps_are_told_apart_by_the_order_they_come_out_in() {
        let tied = table(Codec::H264, &[(0, true), (2, false), (1, false), (1, false)]);
        let plan = tied.plan(2).unwrap();
        assert_eq!((plan.samples.clone(), plan.nth, plan.ticket()), (0..4, 1, 1));
        assert_eq!(plan.tickets, [0, 2, 1, 1]);
        // A codec that never reorders needs no such care: decode order decides.
        let vp9 = table(Codec::Vp9, &[(0, true), (1, false), (1, false), (2, false)]);
        let plan = vp9.plan(1).unwrap();
        assert_eq!((plan.samples.clone(), plan.nth, plan.tickets.as_slice()), (0..2, 0, [0, 1].as_slice()));
    }

    #[test]
    fn a_sample_that_two_edits_show_in_a_row_comes_out_once() {
        let mut table = table(Codec::H264, &[(0, true), (2, false), (1, false), (1, false)]);
        table.shown = vec![0, 2, 3, 3, 1];
        let plan = table.plan(3).unwrap();
        assert_eq!((plan.target, plan.nth, plan.ticket()), (3, 1, 1));
        table.shown = vec![0, 0, 1];
        let plan = table.plan(1).unwrap();
        assert_eq!((plan.target, plan.nth, plan.ticket()), (0, 0, 0));
    }

    #[test]
    fn seconds_follow_the_edits() {
        let mut table = table(Codec::H264, &[(20, true), (30, false), (50, true)]);
        table.edits = vec![Edit { first: 0, origin: 20 }, Edit { first: 2, origin: 25 }];
        assert_eq!([0, 1, 2, 3].map(|frame| table.seconds(frame)), [0.0, 1.0, 2.5, 0.0]);
    }
}
