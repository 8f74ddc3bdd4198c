//! The door of this room: a link and a wish in, pictures out.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::deadline::{Deadline, Expired};
use crate::http;
use crate::ids::SignedUrl;

use super::Error;
use super::bytes::{Item, Span, Store, StoreSettings};
use super::decode::clips;
use super::frame::{AssetLink, DataType, Frame, Timings, Want};
use super::kind::{self, Claims};
use super::worker::job::{self, Bytes, JobError, NoBytes, Outcome, Sink};
use super::worker::pool::Pool;
use super::worker::proofs::Proofs;
use super::worker::protocol::{Failure, FrameJob, Job, Rectangle};

/// What the configuration says about media.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `auto`, `software`, `vaapi`, `nvdec` or `v4l2`.
    pub decoder: String,
    /// Where ranges and indexes are cached.
    pub cache_dir: PathBuf,
    /// Bound on the cache in bytes.
    pub cache_bytes: u64,
    /// Longest side of a picture for the model; pictures are never enlarged.
    pub max_image_side: u32,
    /// Larger stills are refused before anything is allocated.
    pub max_pixels: u64,
    /// JPEG quality, 1 to 100.
    pub jpeg_quality: u8,
    /// How media links are fetched.
    pub http: http::Settings,
    /// Warm decode workers.
    pub workers: usize,
    /// The program that has the `decode-worker` command: this binary.
    pub program: PathBuf,
}

/// A decoder of this box, and whether it works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecoderState {
    /// GStreamer element, such as `vah264dec`.
    pub element: String,
    /// `vaapi`, `nvdec`, `v4l2` or `software`.
    pub family: String,
    /// Codec, such as `h264`.
    pub codec: String,
    /// Why it is left out; `None` when it made the right picture of the built-in clip.
    pub failure: Option<String>,
}

/// Fetches and decodes. Cheap to clone; clones share workers and cache.
#[derive(Clone)]
pub struct Media {
    settings: Arc<Settings>,
    store: Store,
    pool: Pool,
    proofs: Proofs,
}

impl Media {
    /// The codecs there are built-in clips of, the commonest first.
    pub const PROVABLE: [&str; 5] = ["h264", "h265", "vp8", "vp9", "av1"];

    /// Opens the cache and starts the workers.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let store = Store::open_cache(&StoreSettings {
            cache_dir: settings.cache_dir.clone(),
            cache_bytes: settings.cache_bytes,
            http: settings.http.clone(),
        })?;
        let pool = Pool::new(settings.program.clone(), &settings.cache_dir, settings.workers)?;
        Ok(Self { settings: Arc::new(settings), store, pool, proofs: Proofs::default() })
    }

    /// The wanted picture. `renew` is called at most once, when the store refuses the link as expired.
    pub fn frame(
        &self,
        link: &AssetLink,
        want: &Want,
        renew: &mut dyn FnMut() -> Option<SignedUrl>,
        deadline: &Deadline,
    ) -> Result<Frame, Error> {
        self.frame_of(link, &Claims::of_link(link), want, renew, deadline)
    }

    /// As [`Media::frame`], from a link of which nobody says what it leads to.
    pub fn frame_of_url(&self, url: &SignedUrl, want: &Want, deadline: &Deadline) -> Result<Frame, Error> {
        let title = url.expose().path().rsplit('/').next().unwrap_or_default().to_owned();
        let link = AssetLink { url: url.clone(), data_type: DataType::Video, mime: None, title };
        let claims = Claims { data_type: None, ..Claims::of_link(&link) };
        self.frame_of(&link, &claims, want, &mut || None, deadline)
    }

    fn frame_of(
        &self,
        link: &AssetLink,
        claims: &Claims<'_>,
        want: &Want,
        renew: &mut dyn FnMut() -> Option<SignedUrl>,
        deadline: &Deadline,
    ) -> Result<Frame, Error> {
        let start = Instant::now();
        let mut changed_once = false;
        loop {
            let mut item = self.store.open(link, renew, deadline)?;
            let result = kind::decide(item.head(), claims).and_then(|_| self.decode(&mut item, &link.title, want, deadline));
            // Also a failure counts only when the store still has what was read.
            let result = match (result, item.confirm(deadline)) {
                (Ok(_), Err(error)) | (Err(error), _) => Err(error),
                (frame, Ok(())) => frame,
            };
            // The store has another file under this link than a moment ago: the new one counts, from the start.
            if result.is_err() && item.changed() && !changed_once {
                changed_once = true;
                continue;
            }
            if matches!(result, Err(Error::Unsupported { .. } | Error::Broken { .. })) {
                item.forget();
            }
            return result.map(|frame| finished(frame, &item, start));
        }
    }

    /// As [`Media::frame`], from a local file.
    pub fn frame_of_file(&self, path: &Path, want: &Want, deadline: &Deadline) -> Result<Frame, Error> {
        let start = Instant::now();
        let mut item = self.store.open_file(path)?;
        let claims = Claims::of_file(path);
        kind::decide(item.head(), &claims)?;
        let frame = self.decode(&mut item, claims.title, want, deadline)?;
        Ok(finished(frame, &item, start))
    }

    /// What the requests to media stores came to, by HTTP status.
    pub fn statuses(&self) -> http::Statuses {
        self.store.statuses()
    }

    /// What keeps media from being cached on the disk, if anything does.
    pub fn cache_problem(&self) -> Option<String> {
        self.store.cache_problem()
    }

    /// Bytes in the media cache.
    pub fn cache_bytes(&self) -> u64 {
        self.store.kept_bytes()
    }

    /// Lets a worker decode the built-in clip: proof that the pool works.
    pub fn prove(&self, deadline: &Deadline) -> Result<(), Error> {
        self.prove_codec("h264", deadline).map(drop)
    }

    /// Lets a worker decode the built-in clip of one of [`Media::PROVABLE`]; returns which decoder did it.
    pub fn prove_codec(&self, codec: &str, deadline: &Deadline) -> Result<String, Error> {
        let clip = clips::of(codec).map_or(&[][..], |clip| clip.video);
        let job = FrameJob { frame: clips::FRAME, size: clip.len() as u64, ..self.job(deadline)? };
        let mut bytes = |spans: &[(u64, u64)], _: &Deadline| Ok(clips::cut(clip, spans));
        match job::run(&self.pool, &self.proofs, &Job::Frame(job), &[], &mut bytes, deadline) {
            Ok(outcome) => Ok(outcome.facts.decoder),
            Err(JobError::Here(error)) => Err(error),
            Err(JobError::Failed(failure)) => Err(explain(failure, "the built-in clip", clips::FRAME, self.settings.max_pixels)),
            Err(JobError::Lost { how, .. }) => Err(Error::Worker(how)),
        }
    }

    /// Ends the workers: nothing is decoded any more.
    pub fn close(&self) {
        self.pool.close();
    }

    /// What of their containment the decode workers of this box lack; empty when they have all.
    pub fn uncontained(&self, deadline: &Deadline) -> Result<Vec<String>, Error> {
        self.pool.uncontained(deadline)
    }

    /// Every decoder of this box for the codecs that hardware is used for, each proven now by decoding a built-in clip.
    pub fn decoders(&self, deadline: &Deadline) -> Result<Vec<DecoderState>, Error> {
        let mut nothing = |_: &[(u64, u64)], _: &Deadline| Ok(Vec::new());
        let listed = job::run(&self.pool, &self.proofs, &Job::Candidates, &[], &mut nothing, deadline);
        let candidates = listed.map_err(|error| Error::Worker(format!("its decoders cannot be listed: {error:?}")))?.candidates;
        let mut states = Vec::new();
        for candidate in candidates {
            let budget_ms = deadline.left()?.as_millis() as u64;
            let job = Job::Prove { candidate: candidate.clone(), budget_ms };
            let failure = match job::run(&self.pool, &self.proofs, &job, &[], &mut nothing, deadline) {
                Ok(_) => None,
                Err(JobError::Here(error)) => return Err(error),
                Err(JobError::Failed(failure)) => Some(failure.to_string()),
                Err(JobError::Lost { how, .. }) => Some(how),
            };
            if candidate.family != "software" {
                self.proofs.note(&candidate.key(), failure.clone().map_or(Ok(()), Err));
            }
            states.push(DecoderState { element: candidate.element, family: candidate.family, codec: candidate.codec, failure });
        }
        Ok(states)
    }

    /// A job for the first frame of nothing yet, in the form that models get.
    fn job(&self, deadline: &Deadline) -> Result<FrameJob, Error> {
        Ok(FrameJob {
            frame: 0,
            size: 0,
            item: None,
            regions: Vec::new(),
            lossless: false,
            max_side: self.settings.max_image_side,
            quality: self.settings.jpeg_quality,
            max_pixels: self.settings.max_pixels,
            decoder: self.settings.decoder.clone(),
            proven: self.proofs.proven(),
            left_out: self.proofs.left_out(),
            budget_ms: deadline.left()?.as_millis() as u64,
        })
    }

    fn decode(&self, item: &mut Item<'_>, title: &str, want: &Want, deadline: &Deadline) -> Result<Frame, Error> {
        let settings = &self.settings;
        let mut job = FrameJob {
            frame: want.frame,
            size: item.size(),
            item: item.content(),
            regions: want.regions.iter().map(Rectangle::from).collect(),
            lossless: want.lossless,
            max_side: want.max_side.unwrap_or(u32::MAX).min(settings.max_image_side),
            quality: want.quality.unwrap_or(settings.jpeg_quality),
            ..self.job(deadline)?
        };
        let index = item.index_blob().unwrap_or_default();
        let mut fell_back = Vec::new();
        let mut bytes = ItemBytes { item, fetch: Duration::ZERO };
        loop {
            job.budget_ms = deadline.left()?.as_millis() as u64;
            match job::run(&self.pool, &self.proofs, &Job::Frame(job.clone()), &index, &mut bytes, deadline) {
                Ok(mut outcome) => {
                    if let Some(index) = outcome.index.take() {
                        bytes.item.store_index_blob(&index);
                    }
                    outcome.facts.fell_back.splice(0..0, fell_back);
                    return Ok(frame(outcome, bytes.fetch));
                }
                Err(JobError::Here(error)) => return Err(error),
                Err(JobError::Failed(failure)) => return Err(explain(failure, title, want.frame, settings.max_pixels)),
                Err(JobError::Lost { how, using: Some(hardware) }) if settings.decoder == "auto" && fell_back.is_empty() => {
                    self.proofs.note(&hardware.key(), Err(how.clone()));
                    fell_back.push(format!("{}: {how}", hardware.element));
                    // Once is enough: the rest of the time belongs to software.
                    "software".clone_into(&mut job.decoder);
                }
                Err(JobError::Lost { how, .. }) => {
                    return Err(Error::Broken { title: title.to_owned(), cause: format!("its decoder was stopped: {how}") });
                }
            }
        }
    }
}

/// An item's bytes for a worker, and how long they were waited for.
struct ItemBytes<'a, 'b> {
    item: &'a mut Item<'b>,
    fetch: Duration,
}

impl Bytes for ItemBytes<'_, '_> {
    fn hand_out(&mut self, spans: &[(u64, u64)], deadline: &Deadline, sink: Sink<'_>) -> Result<(), NoBytes> {
        let start = Instant::now();
        let spans: Vec<Span> = spans.iter().map(|&(offset, length)| Span { offset, length }).collect();
        let mut refused = None;
        let result = self.item.stream(&spans, deadline, &mut |piece| {
            if refused.is_none() {
                refused = sink(piece).err();
            }
        });
        self.fetch += start.elapsed();
        refused.map_or(Ok(()), |error| Err(NoBytes::Unwanted(error))).and(result.map_err(NoBytes::Missing))
    }
}

fn frame(outcome: Outcome, fetch: Duration) -> Frame {
    let facts = outcome.facts;
    for failed in &facts.fell_back {
        tracing::warn!(failed, "a hardware decoder failed in the middle, software took over");
    }
    Frame {
        pictures: outcome.pictures,
        width: facts.width,
        height: facts.height,
        pts_seconds: facts.pts_seconds,
        decoder: facts.decoder,
        container: facts.container,
        codec: facts.codec,
        hdr: facts.hdr,
        fell_back: facts.fell_back,
        bytes_fetched: 0,
        requests: 0,
        total_bytes: 0,
        timings: Timings {
            fetch: fetch.as_secs_f64() * 1e3,
            index: facts.index_ms,
            decode: facts.decode_ms,
            encode: facts.encode_ms,
            total: 0.0,
        },
    }
}

fn finished(mut frame: Frame, item: &Item<'_>, start: Instant) -> Frame {
    let facts = item.facts();
    frame.bytes_fetched = facts.bytes_fetched;
    frame.requests = facts.requests;
    frame.total_bytes = facts.total_bytes;
    frame.timings.total = start.elapsed().as_secs_f64() * 1e3;
    frame
}

fn explain(failure: Failure, title: &str, frame: u64, limit: u64) -> Error {
    let title = title.to_owned();
    match failure {
        Failure::OutOfRange { count } => Error::FrameOutOfRange { frame, count, title },
        Failure::Unsupported(cause) => Error::Unsupported { title, cause },
        Failure::Broken(cause) => Error::Broken { title, cause },
        Failure::NoDecoder { codec, remedy } => Error::NoDecoder { codec, remedy },
        Failure::TooLarge { pixels } => Error::TooLarge { title, pixels, limit },
        Failure::Expired => Error::Deadline(Expired::Spent),
        Failure::NoBytes => Error::Worker("it was refused bytes that nobody refused".to_owned()),
        Failure::Internal(cause) => Error::Worker(cause),
    }
}
