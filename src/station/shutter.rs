//! The daemon's cameras: a thread for each, which takes pictures on demand and at the camera's interval, one after the other,
//! and writes each into the journal. Nobody waits for a camera that hangs: neither who asked, beyond a deadline, nor a reload,
//! nor the daemon's end.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::camera::{self, Camera, DRIVERS_GRACE, Times};
use crate::deadline::Deadline;
use crate::encord::{Arrived, Encord, Picture, Shelf};
use crate::http;
use crate::journal::{self, Bell, Capture, Held, Journal, Labelling};
use crate::telemetry::{CameraStep, Metrics};

use super::sight::Memory;
use super::{Failure, Labelled, Labeller, Route, Sight, entry, finish, label, picture_of};

/// So many may wait for a camera, besides the one whose picture is being taken.
const QUEUE: usize = 4;

/// For those ahead in the queue, and for the disk, on top of the time that the camera may take.
const ALLOWANCE: Duration = Duration::from_secs(10);

/// A camera that gave no picture at its interval is tried again after so long, or its interval if that is shorter.
const RETRY: Duration = Duration::from_secs(10);

/// What the daemon does with one camera.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duty {
    /// The camera.
    pub camera: camera::Settings,
    /// Where its pictures go.
    pub shelf: Option<Shelf>,
    /// Who labels them there.
    pub labelling: Option<Labelling>,
    /// How often a picture is taken unasked.
    pub interval: Option<Duration>,
}

/// A picture that is in the journal, and held by whoever has this.
#[derive(Debug)]
pub struct Taken {
    /// As it was written down.
    pub capture: Capture,
    /// Until this is dropped nobody else delivers it.
    pub held: Held,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Whether the exposure had settled.
    pub settled: bool,
    /// How long the camera took.
    pub times: Times,
}

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// No such camera.
    #[error("the configuration has no camera {camera:?}: {known}")]
    Unknown {
        /// As it was asked for.
        camera: String,
        /// Those that there are.
        known: String,
    },
    /// Its pictures go nowhere.
    #[error("camera {camera:?} has no folder and dataset in the configuration: add both, and reload")]
    NoShelf {
        /// The camera.
        camera: String,
    },
    /// Its queue is full.
    #[error("camera {camera:?} is busy: {QUEUE} pictures are already asked for; try again once they are taken")]
    Busy {
        /// The camera.
        camera: String,
    },
    /// It did not get round to it.
    #[error("camera {camera:?} took no picture within {} s: another picture, or its driver, takes too long; try again", patience.as_secs())]
    Late {
        /// The camera.
        camera: String,
        /// How long was waited.
        patience: Duration,
    },
    /// The daemon has not come so far.
    #[error("camera {camera:?} is not at work yet, as edgelabel starts: try again")]
    Starting {
        /// The camera.
        camera: String,
    },
    /// The daemon ends, or the camera is no longer what it was.
    #[error("camera {camera:?} is being put away, as edgelabel ends or takes a new configuration: try again")]
    Over {
        /// The camera.
        camera: String,
    },
    /// The camera.
    #[error(transparent)]
    Camera(#[from] camera::Error),
    /// The picture could not be written down.
    #[error("the picture could not be kept: {0}")]
    Journal(#[from] journal::Error),
}

impl Trouble {
    /// For metrics; nothing if no picture was tried.
    pub(super) fn word(&self) -> Option<&'static str> {
        match self {
            Self::Camera(error) => Some(error.word()),
            Self::Journal(_) => Some("not_kept"),
            _ => None,
        }
    }
}

/// Makes a camera of its settings; touches no device.
pub type Make = dyn Fn(camera::Settings) -> Camera + Send + Sync;

/// All cameras.
pub struct Shutters {
    posts: Mutex<BTreeMap<String, Post>>,
    begun: AtomicBool,
    ended: AtomicBool,
    journal: Arc<Journal>,
    courier: Bell,
    make: Box<Make>,
    metrics: Arc<Metrics>,
}

struct Post {
    duty: Duty,
    presses: SyncSender<Press>,
    memory: Arc<Memory>,
    over: Arc<AtomicBool>,
}

impl Drop for Post {
    fn drop(&mut self) {
        // The thread learns it from the closed queue, at once unless its camera hangs; it is not waited for.
        self.over.store(true, Ordering::SeqCst);
    }
}

struct Press {
    until: Instant,
    answer: std::sync::mpsc::Sender<Result<Taken, Trouble>>,
}

impl Shutters {
    /// No cameras yet. `courier` is rung when a picture waits for it.
    pub fn new(journal: Arc<Journal>, courier: Bell, make: Box<Make>, metrics: Arc<Metrics>) -> Self {
        Self { posts: Mutex::default(), begun: AtomicBool::default(), ended: AtomicBool::default(), journal, courier, make, metrics }
    }

    /// From now on these cameras. One whose duty did not change goes on undisturbed.
    ///
    /// # Errors
    /// No thread can be made; the cameras before it are at work.
    pub fn change(&self, duties: Vec<Duty>) -> std::io::Result<()> {
        let mut posts = self.posts();
        if self.ended.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.begun.store(true, Ordering::SeqCst);
        posts.retain(|_, post| duties.contains(&post.duty));
        for duty in duties {
            if let Entry::Vacant(place) = posts.entry(duty.camera.name.clone()) {
                place.insert(self.post(duty)?);
            }
        }
        Ok(())
    }

    /// Takes no more pictures; returns at once.
    pub fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        self.posts().clear();
    }

    /// Takes a picture and writes it down.
    ///
    /// # Errors
    /// There is no picture, or it could not be written down.
    pub fn press(&self, camera: &str) -> Result<Taken, Trouble> {
        let named = || camera.to_owned();
        let (answer, taken) = channel();
        let patience;
        {
            let posts = self.posts();
            if self.ended.load(Ordering::SeqCst) {
                return Err(Trouble::Over { camera: named() });
            }
            if !self.begun.load(Ordering::SeqCst) {
                return Err(Trouble::Starting { camera: named() });
            }
            let Some(post) = posts.get(camera) else {
                let names = posts.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                let known = if names.is_empty() { "there is no [[camera]] in it".into() } else { format!("it has {names}") };
                return Err(Trouble::Unknown { camera: named(), known });
            };
            if post.duty.shelf.is_none() {
                return Err(Trouble::NoShelf { camera: named() });
            }
            patience = post.duty.camera.timeout + DRIVERS_GRACE + ALLOWANCE;
            match post.presses.try_send(Press { until: Instant::now() + patience, answer }) {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => return Err(Trouble::Busy { camera: named() }),
                Err(TrySendError::Disconnected(_)) => return Err(Trouble::Over { camera: named() }),
            }
        }
        match taken.recv_timeout(patience) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => Err(Trouble::Late { camera: named(), patience }),
            Err(RecvTimeoutError::Disconnected) => Err(Trouble::Over { camera: named() }),
        }
    }

    /// Delivers a picture that was just taken. One that is not delivered in time waits for the courier.
    ///
    /// # Errors
    /// As noted in the journal.
    pub fn deliver(&self, taken: &Taken, encord: &Encord, store: &http::Client, patience: Duration) -> Result<Arrived, Failure> {
        finish(Route { encord, store }, &self.journal, &taken.capture, &taken.held, &Deadline::after(patience))
    }

    /// Has a picture labelled that was just delivered; nothing if that is not wanted. One that is not labelled waits.
    ///
    /// # Errors
    /// As noted in the journal.
    pub fn label(&self, taken: &Taken, labeller: &Labeller) -> Option<Result<Labelled, Failure>> {
        taken.capture.labelling.as_ref()?;
        Some(label(&self.journal, &taken.capture, &taken.held, &Bell::default(), labeller))
    }

    /// How all cameras are, by name.
    pub fn sights(&self) -> Vec<Sight> {
        self.posts().values().map(|post| post.memory.sight(&post.duty)).collect()
    }

    fn post(&self, duty: Duty) -> std::io::Result<Post> {
        let (presses, queue) = sync_channel(QUEUE);
        let (over, memory) = (Arc::<AtomicBool>::default(), Arc::<Memory>::default());
        let watch = Watch {
            camera: (self.make)(duty.camera.clone()),
            duty: duty.clone(),
            journal: Arc::clone(&self.journal),
            courier: self.courier.clone(),
            metrics: Arc::clone(&self.metrics),
            memory: Arc::clone(&memory),
            over: Arc::clone(&over),
        };
        std::thread::Builder::new().name(format!("shutter {}", duty.camera.name)).spawn(move || watch.keep(&queue))?;
        Ok(Post { duty, presses, memory, over })
    }

    fn posts(&self) -> MutexGuard<'_, BTreeMap<String, Post>> {
        self.posts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a camera's thread has.
struct Watch {
    camera: Camera,
    duty: Duty,
    journal: Arc<Journal>,
    courier: Bell,
    metrics: Arc<Metrics>,
    memory: Arc<Memory>,
    over: Arc<AtomicBool>,
}

impl Watch {
    fn keep(&self, queue: &Receiver<Press>) {
        let mut due = self.duty.interval.map(|_| Instant::now());
        let mut trouble = None;
        while !self.over.load(Ordering::SeqCst) {
            let press = match due {
                Some(due) => queue.recv_timeout(due.saturating_duration_since(Instant::now())),
                None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match press {
                Ok(press) => self.answer(&press),
                Err(RecvTimeoutError::Timeout) => due = self.unasked(due, &mut trouble),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn answer(&self, press: &Press) {
        // Whoever asked has been told that it is too late, and a picture now would be one too many.
        if Instant::now() >= press.until {
            return;
        }
        if press.answer.send(self.take()).is_err() {
            self.courier.ring();
        }
    }

    /// The picture that is due, and when the next one is. A trouble is logged once, however often it is met.
    fn unasked(&self, due: Option<Instant>, trouble: &mut Option<String>) -> Option<Instant> {
        let (interval, now) = (self.duty.interval?, Instant::now());
        let camera = &self.duty.camera.name;
        match self.take() {
            Ok(Taken { capture, held, times, .. }) => {
                if trouble.take().is_some() {
                    tracing::info!(%camera, "the camera gives pictures again");
                }
                tracing::info!(
                    %camera, picture = %capture.id, title = %capture.title, bytes = capture.bytes, ms = times.total.as_millis() as u64,
                    steps = %times, "a picture is taken"
                );
                drop(held);
                self.courier.ring();
                // In step with the first one; those that were missed are not made up for.
                let next = due.unwrap_or(now) + interval;
                Some(if next > Instant::now() { next } else { Instant::now() + interval })
            }
            Err(error) => {
                let told = error.to_string();
                if trouble.as_ref() != Some(&told) && !self.over.load(Ordering::SeqCst) {
                    tracing::warn!(%camera, cause = %told, "the camera gave no picture at its interval; it is tried again and again");
                    *trouble = Some(told);
                }
                Some(Instant::now() + interval.min(RETRY))
            }
        }
    }

    fn take(&self) -> Result<Taken, Trouble> {
        let result = self.try_take();
        let outcome = match &result {
            Ok(taken) => {
                self.memory.note_picture();
                taken.times.steps().iter().for_each(|(step, took)| self.metrics.camera_step(*step, *took));
                self.metrics.camera_step(CameraStep::Total, taken.times.total);
                Some("taken")
            }
            Err(trouble) => {
                self.memory.note_trouble(trouble);
                trouble.word()
            }
        };
        if let Some(outcome) = outcome {
            self.metrics.capture(&self.duty.camera.name, outcome);
        }
        result
    }

    fn try_take(&self) -> Result<Taken, Trouble> {
        let over = || Trouble::Over { camera: self.duty.camera.name.clone() };
        let shelf = self.duty.shelf.as_ref().ok_or_else(|| Trouble::NoShelf { camera: self.duty.camera.name.clone() })?;
        let shot = self.camera.take()?;
        // Nothing is begun that the daemon's end would cut short.
        if self.over.load(Ordering::SeqCst) {
            return Err(over());
        }
        let (width, height, settled, times) = (shot.width, shot.height, shot.settled, shot.times);
        let picture: Picture = picture_of(&self.duty.camera, shot);
        let capture = entry(&self.duty.camera.name, shelf, self.duty.labelling.clone(), &picture);
        let held = self.journal.put_capture(&capture, &picture.jpeg)?;
        Ok(Taken { capture, held, width, height, settled, times })
    }
}

#[cfg(test)]
#[path = "shutter_tests.rs"]
mod tests;
