//! Inside a decode worker: bytes from the daemon in, pictures out.
//!
//! Media is hostile and decoders are written in C, so all of this runs in a process of its own that can do nothing but ask
//! the daemon for bytes of the one file it works on.

mod choice;
pub mod clips;
mod colour;
mod damage;
mod disposable;
mod elements;
mod hardware;
mod kept;
mod link;
mod picture;
mod pipeline;
mod sandbox;
mod sequential;
mod table;
mod watch;

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use gstreamer as gst;

use self::kept::{Keeper, Wanted};
use self::link::Link;
use self::picture::{Display, Encoded, Rgb};
use self::table::{Contradiction, Samples, Stop};
use super::index::{self, Found, IndexError, SampleTable};
use super::still::{self, StillError};
use super::worker::protocol::{Candidate, Facts, Failure, FrameJob, FromWorker, Job, MAX_INDEX};
use super::worker::wire::WireError;
use crate::deadline::Deadline;

/// How long a decoder is kept for the next frame of the same GOP.
const KEEP: Duration = Duration::from_secs(60);

/// Why a worker could not begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It was started by hand: the daemon gives it a socket as standard input.
    #[error("this command is for the daemon's own use: standard input is not its socket ({0})")]
    NotASocket(std::io::Error),
    /// GStreamer does not work on this box.
    #[error("GStreamer cannot be used: {0}")]
    GStreamer(#[from] gst::glib::Error),
    /// The daemon spoke out of turn.
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// Whether GStreamer has an element of this name here; for commands, as it scans the plugins. The daemon leaves that to
/// its workers.
pub fn has_element(name: &str) -> bool {
    gst::init().is_ok() && elements::exists(name)
}

/// Works until the daemon closes the connection.
pub fn serve() -> Result<(), StartError> {
    let socket = std::io::stdin().as_fd().try_clone_to_owned().map_err(StartError::NotASocket)?;
    rustix::net::getsockname(&socket).map_err(|e| StartError::NotASocket(e.into()))?;
    // Scans the plugins if need be, for which it starts a helper program: the last time that this process may.
    gst::init()?;
    damage::listen();
    let uncontained = sandbox::enclose();
    watch::exit_with_the_daemon(&socket).map_err(StartError::NotASocket)?;
    let link = Link::new(UnixStream::from(socket));
    link.send(&FromWorker::Ready { uncontained }, &[])?;
    let mut keeper = Keeper::default();
    loop {
        let (job, index) = match link.next_job(KEEP) {
            Ok(Some(job)) => job,
            Ok(None) => {
                keeper.clear();
                continue;
            }
            Err(WireError::Closed) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        match job {
            Job::Frame(job) => answer_frame(&link, &job, &index, &mut keeper)?,
            Job::Candidates => link.send(&FromWorker::Candidates(hardware::all()), &[])?,
            Job::Prove { candidate, budget_ms } => {
                keeper.clear();
                let budget = Duration::from_millis(budget_ms);
                sandbox::limit_cpu(budget);
                let proof = hardware::prove(&candidate, &Deadline::after(budget));
                link.send(&proof.map_or_else(FromWorker::Failed, |()| FromWorker::Proven), &[])?;
            }
        }
    }
}

fn answer_frame(link: &Link, job: &FrameJob, index: &[u8], keeper: &mut Keeper) -> Result<(), WireError> {
    match frame(link, job, index, keeper) {
        Ok((facts, pictures)) => {
            for picture in pictures {
                let header = FromWorker::Picture { png: picture.png, width: picture.width, height: picture.height };
                link.send(&header, &picture.bytes)?;
            }
            link.send(&FromWorker::Done(facts), &[])
        }
        // Whatever a reader or demuxer made of it: the cause is that there were no bytes.
        Err(_) if link.refused() => link.send(&FromWorker::Failed(Failure::NoBytes), &[]),
        Err(failure) => link.send(&FromWorker::Failed(failure), &[]),
    }
}

fn frame(link: &Link, job: &FrameJob, index: &[u8], keeper: &mut Keeper) -> Result<(Facts, Vec<Encoded>), Failure> {
    let budget = Duration::from_millis(job.budget_ms);
    sandbox::limit_cpu(budget);
    let deadline = Deadline::after(budget);
    let clock = Clock::start(link);
    let found = find(link, job, index)?;
    if !matches!(found, Found::Table(_)) {
        keeper.clear();
    }
    let index_ms = clock.lap(link);
    let clock = Clock::start(link);
    let (facts, picture) = match found {
        Found::Table(table) => from_tables(link, job, table, keeper, &deadline)?,
        Found::Sequential { container, unedited, .. } => from_count(link, job, (container, unedited), &deadline)?,
        Found::Still(_) => return from_still(link, job, index_ms),
        // GStreamer knows more kinds of files than are told apart here.
        Found::Unknown { what } => from_count(link, job, ("unknown", false), &deadline).map_err(|failure| unknown(failure, &what))?,
    };
    finish(link, job, (index_ms, clock.lap(link)), facts, picture)
}

/// Encodes the picture; reading the index and decoding took so many milliseconds.
fn finish(link: &Link, job: &FrameJob, took: (f64, f64), mut facts: Facts, picture: Rgb) -> Result<(Facts, Vec<Encoded>), Failure> {
    (facts.index_ms, facts.decode_ms) = took;
    (facts.width, facts.height) = picture.displayed();
    facts.hdr = picture.hdr;
    let clock = Clock::start(link);
    let pictures = picture.encode(job)?;
    facts.encode_ms = clock.lap(link);
    Ok((facts, pictures))
}

/// What the item is: from the table that an earlier job left, or else from the file.
fn find(link: &Link, job: &FrameJob, index: &[u8]) -> Result<Found, Failure> {
    if let Some(table) = SampleTable::from_bytes(index) {
        return Ok(Found::Table(Box::new(table)));
    }
    let found = index::read(&mut link.source(job.size)).map_err(unreadable)?;
    if let Found::Table(table) = &found {
        keep(link, table)?;
    }
    Ok(found)
}

/// Leaves a table with the daemon for a later job.
fn keep(link: &Link, table: &SampleTable) -> Result<(), Failure> {
    let bytes = table.to_bytes();
    if bytes.len() <= MAX_INDEX {
        link.send(&FromWorker::Index, &bytes).map_err(|error| Failure::Internal(error.to_string()))?;
    }
    Ok(())
}

/// The frame by a table, which is mended as long as its samples contradict it.
fn from_tables(
    link: &Link,
    job: &FrameJob,
    mut table: Box<SampleTable>,
    keeper: &mut Keeper,
    deadline: &Deadline,
) -> Result<(Facts, Rgb), Failure> {
    let mut closely = false;
    loop {
        let contradiction = match from_table(link, job, &table, keeper, deadline) {
            Err(Stop::Contradicted(contradiction)) if !closely || contradiction != Contradiction::Count => contradiction,
            made => return made.map_err(Stop::failure),
        };
        keeper.clear();
        deadline.left().map_err(|_| Failure::Expired)?;
        let mut source = link.source(job.size);
        match contradiction {
            Contradiction::Count => match index::read_closely(&mut source).map_err(unreadable)? {
                Found::Table(true_one) => (table, closely) = (true_one, true),
                Found::Sequential { container, unedited, .. } => return from_count(link, job, (container, unedited), deadline),
                Found::Still(_) | Found::Unknown { .. } => return Err(Stop::Contradicted(contradiction).failure()),
            },
            // Each time there are fewer such places, so this ends.
            Contradiction::Beginning(at) => table.find_beginning(&mut source, at).map_err(unreadable)?,
        }
        keep(link, &table)?;
    }
}

fn from_table(link: &Link, job: &FrameJob, table: &SampleTable, keeper: &mut Keeper, deadline: &Deadline) -> Result<(Facts, Rgb), Stop> {
    if elements::caps(table).is_none() {
        return Ok(from_count(link, job, (table.container, false), deadline)?);
    }
    let plan = table.plan(job.frame).map_err(|beyond| Failure::OutOfRange { count: beyond.count })?;
    let display = Display { turn: table.turn, pixel_aspect: table.pixel_aspect, crop: table.crop, colour: table.colour };
    if damage::complaints() > 0 {
        keeper.clear();
    }
    let mut samples = Samples::new(table, &plan);
    let mut read = |spans: &[(u64, u64)], sink: &mut dyn FnMut(&[u8])| link.stream(spans, sink);
    let mut decode = |candidate: &Candidate| {
        let hardware = candidate.family != "software";
        if let (Some(item), false) = (&job.item, hardware) {
            let wanted = Wanted { item, table, plan: &plan, decoder: &candidate.element };
            if let Some(sample) = keeper.picture(&wanted, &mut read, deadline)? {
                return picture::rgb(&sample, &display, job.max_pixels);
            }
        }
        keeper.clear();
        let sample = table::decode(&mut samples, &mut read, &candidate.element, hardware, deadline)?;
        picture::rgb(&sample, &display, job.max_pixels)
    };
    let choice = choice::first_that_works(link, job, &table.codec, deadline, &mut decode);
    let choice = choice.map_err(|failure| samples.contradiction().map_or(Stop::Failed(failure), Stop::Contradicted))?;
    let facts = Facts {
        pts_seconds: table.seconds(job.frame),
        decoder: format!("{} ({})", choice.candidate.family, choice.candidate.element),
        container: table.container.to_owned(),
        codec: table.codec.name().to_owned(),
        fell_back: choice.fell_back,
        ..Facts::default()
    };
    Ok((facts, choice.picture))
}

fn from_count(link: &Link, job: &FrameJob, (container, unedited): (&str, bool), deadline: &Deadline) -> Result<(Facts, Rgb), Failure> {
    if job.decoder != "auto" && job.decoder != "software" {
        let remedy =
            format!("media.decoder is {:?}, but {container} has no index and is decoded in software; choose \"auto\"", job.decoder);
        return Err(Failure::NoDecoder { codec: format!("video in {container}"), remedy });
    }
    if let Some(failure) = elements::missing_demuxer(container) {
        return Err(failure);
    }
    let counted = sequential::decode(link, job.size, (job.frame, unedited), deadline)?;
    let facts = Facts {
        pts_seconds: counted.seconds,
        decoder: format!("software ({})", counted.decoder),
        container: container.to_owned(),
        codec: counted.codec,
        ..Facts::default()
    };
    Ok((facts, picture::rgb(&counted.sample, &Display::default(), job.max_pixels)?))
}

fn from_still(link: &Link, job: &FrameJob, index_ms: f64) -> Result<(Facts, Vec<Encoded>), Failure> {
    if job.frame > 0 {
        return Err(Failure::OutOfRange { count: 1 });
    }
    let clock = Clock::start(link);
    let bytes = link.read(0, job.size as usize).map_err(|e| Failure::Broken(e.to_string()))?;
    // Regions are cut from the full picture, so that small ones stay sharp.
    let whole = job.lossless || !job.regions.is_empty();
    let limits = still::Limits { max_pixels: job.max_pixels, max_side: if whole { u32::MAX } else { job.max_side }, passthrough: !whole };
    let still = still::read(&bytes, &limits).map_err(|error| match error {
        StillError::TooLarge { pixels, .. } => Failure::TooLarge { pixels },
        StillError::Broken { .. } => Failure::Broken(error.to_string()),
        StillError::Unsupported(cause) => Failure::Unsupported(cause),
    })?;
    let mut facts = Facts {
        width: still.full_width,
        height: still.full_height,
        decoder: format!("still ({})", still.kind.name()),
        container: still.kind.name().to_owned(),
        codec: still.kind.name().to_owned(),
        index_ms,
        decode_ms: clock.lap(link),
        ..Facts::default()
    };
    let clock = Clock::start(link);
    let pictures = match still.passthrough {
        Some(bytes) if !whole => vec![Encoded { png: false, bytes, width: still.width, height: still.height }],
        Some(_) => return Err(Failure::Internal("a still without pixels".to_owned())),
        None => Rgb { pixels: still.rgb, width: still.width, height: still.height, aspect: (1, 1), hdr: None }.encode(job)?,
    };
    facts.encode_ms = clock.lap(link);
    Ok((facts, pictures))
}

/// What to say about a file that nobody could make anything of.
fn unknown(failure: Failure, what: &str) -> Failure {
    match failure {
        Failure::OutOfRange { .. } | Failure::TooLarge { .. } | Failure::Expired => failure,
        _ => Failure::Unsupported(format!("it is {what}")),
    }
}

fn unreadable(error: IndexError) -> Failure {
    match error {
        IndexError::Source(_) | IndexError::Broken { .. } => Failure::Broken(error.to_string()),
        IndexError::Unsupported(cause) => Failure::Unsupported(cause),
    }
}

/// Time spent working: waits for bytes are the daemon's to count.
struct Clock {
    start: Instant,
    waited: Duration,
}

impl Clock {
    fn start(link: &Link) -> Self {
        Self { start: Instant::now(), waited: link.waited() }
    }

    /// Milliseconds since the start.
    fn lap(&self, link: &Link) -> f64 {
        self.start.elapsed().saturating_sub(link.waited() - self.waited).as_secs_f64() * 1e3
    }
}
