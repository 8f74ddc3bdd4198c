//! An annotator steps through a video: the decoder goes on where it stands, and shows just what a new one would.

use std::path::Path;

use edgelabel::deadline::Deadline;
use edgelabel::media::Error;
use edgelabel::media::worker::job::{self, JobError};
use edgelabel::media::worker::pool::Pool;
use edgelabel::media::worker::proofs::Proofs;
use edgelabel::media::worker::protocol::{FrameJob, Job};

use super::{PROGRAM, clip, soon};

/// A pool of one worker and a video in it.
struct Bench {
    pool: Pool,
    video: Vec<u8>,
    index: Vec<u8>,
}

impl Bench {
    fn new(dir: &Path, video: Vec<u8>) -> Self {
        Self { pool: Pool::new(PROGRAM.into(), dir, 1).unwrap(), video, index: Vec::new() }
    }

    /// The picture of a frame, and how many bytes were asked for.
    fn frame(&mut self, item: Option<&str>, frame: u64) -> Result<(Vec<u8>, u64), String> {
        let job = FrameJob {
            frame,
            size: self.video.len() as u64,
            item: item.map(str::to_owned),
            regions: Vec::new(),
            lossless: true,
            max_side: 1000,
            quality: 90,
            max_pixels: 1_000_000,
            decoder: "software".to_owned(),
            proven: Vec::new(),
            left_out: Vec::new(),
            budget_ms: 60_000,
        };
        let mut asked = 0;
        let video = &self.video;
        let mut bytes = |spans: &[(u64, u64)], _: &Deadline| -> Result<Vec<u8>, Error> {
            asked += spans.iter().map(|span| span.1).sum::<u64>();
            let cut =
                |&(offset, length): &(u64, u64)| &video[(offset as usize).min(video.len())..((offset + length) as usize).min(video.len())];
            Ok(spans.iter().flat_map(cut).copied().collect())
        };
        match job::run(&self.pool, &Proofs::default(), &Job::Frame(job), &self.index, &mut bytes, &soon()) {
            Ok(outcome) => {
                self.index = outcome.index.unwrap_or_else(|| std::mem::take(&mut self.index));
                Ok((outcome.pictures[0].bytes.clone(), asked))
            }
            Err(JobError::Failed(failure)) => Err(failure.to_string()),
            Err(other) => panic!("{other:?}"),
        }
    }

    fn shown(&mut self, item: &str, frame: u64) -> u64 {
        clip::shown(&self.frame(Some(item), frame).unwrap().0)
    }

    fn asked(&mut self, item: &str, frame: u64) -> u64 {
        let (picture, asked) = self.frame(Some(item), frame).unwrap();
        assert_eq!(clip::shown(&picture), frame);
        asked
    }
}

/// Long GOPs with pictures that others refer to and pictures that none does.
fn h264(dir: &Path, frames: u64) -> Vec<u8> {
    let made = clip::make(dir, "long.mp4", frames, "x264enc bframes=3 b-pyramid=true key-int-max=60 option-string=scenecut=0 ! mp4mux");
    std::fs::read(made).unwrap()
}

/// Numbers that look random and are the same each time.
fn random(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    }
}

#[test]
fn a_later_frame_of_the_same_gop_costs_the_samples_between() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::new(dir.path(), h264(dir.path(), 120));
    let _ = bench.asked("a", 0);
    let whole = bench.asked("a", 30);
    let after = bench.asked("a", 33);
    assert!(after * 4 < whole, "{after} bytes after {whole}");
    // Once more the same, which another agent may be asked about.
    assert_eq!(bench.asked("a", 33), 0);
    // Another content under the same sample table, and what lies behind: from the sync sample.
    assert!(bench.asked("b", 36) >= whole, "a decoder of another content went on");
    let _ = bench.asked("b", 40);
    let back = bench.asked("b", 31);
    assert!(back >= whole, "{back} bytes to go back");
}

#[test]
fn any_walk_through_a_video_shows_what_a_fresh_decoder_shows() {
    let dir = tempfile::tempdir().unwrap();
    for (name, video) in [("h264", h264(dir.path(), 150)), ("h265", h265(dir.path(), 150))] {
        let mut fresh = Bench::new(dir.path(), video.clone());
        let mut walk = Bench::new(dir.path(), video);
        let mut next = random(0x2545_f491_4f6c_dd1d);
        let (mut at, mut went_on) = (0, 0);
        for _ in 0..70 {
            at = match next(6) {
                0 => next(150),
                1 => at.saturating_sub(next(5)),
                _ => (at + next(8)).min(149),
            };
            let item = if next(12) == 0 { "b" } else { "a" };
            let (picture, asked) = walk.frame(Some(item), at).unwrap();
            let (truth, all) = fresh.frame(None, at).unwrap();
            assert!(picture == truth, "{name}: frame {at} shows {}", clip::shown(&picture));
            went_on += u32::from(asked < all);
        }
        assert!(went_on > 15, "{name}: the decoder went on {went_on} times");
    }
}

#[test]
fn every_frame_in_turn_shows_itself_also_across_gops_and_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::new(dir.path(), h264(dir.path(), 130));
    for frame in 0..130 {
        assert_eq!(bench.shown("a", frame), frame);
    }
}

#[test]
fn damage_is_told_as_by_a_fresh_decoder() {
    let dir = tempfile::tempdir().unwrap();
    let intact = h264(dir.path(), 100);
    for seed in 1..4_u64 {
        let mut damaged = intact.clone();
        let mut next = random(seed * 0x9e37_79b9);
        // The index stays as it is: it lies at the end of these files.
        let media = intact.len() as u64 / 2;
        for _ in 0..12 {
            let at = (64 + next(media)) as usize;
            damaged[at] ^= 1 << next(8);
        }
        let mut fresh = Bench::new(dir.path(), damaged.clone());
        let mut walk = Bench::new(dir.path(), damaged);
        let mut refused = 0;
        for frame in (0..100).step_by(3) {
            let truth = fresh.frame(None, frame).map(|(picture, _)| picture);
            let picture = walk.frame(Some("a"), frame).map(|(picture, _)| picture);
            refused += u32::from(truth.is_err());
            assert!(
                picture == truth,
                "seed {seed}, frame {frame}: {:?} instead of {:?}",
                picture.map(|p| clip::shown(&p)),
                truth.map(|p| clip::shown(&p))
            );
        }
        assert!(refused > 0, "seed {seed} damaged nothing");
    }
}

fn h265(dir: &Path, frames: u64) -> Vec<u8> {
    let made = clip::make(
        dir,
        "long265.mp4",
        frames,
        "x265enc key-int-max=60 option-string=temporal-layers=1:bframes=3:scenecut=0 ! h265parse ! mp4mux",
    );
    std::fs::read(made).unwrap()
}
