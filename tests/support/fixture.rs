//! One project with an ontology of every kind of classification, an image, an image group and a video: what the
//! tests, the demo and the stand-alone emulator begin with.

use serde_json::Value;
use ssh_key::private::Ed25519Keypair;

use super::backend::{Backend, Clip, GroupImage, Options};
use super::media::{VideoRecipe, jpeg, png};

/// An Ed25519 key pair that was made just now and lets nobody in anywhere else.
pub struct ThrowAwayKey {
    pub public: [u8; 32],
    /// In the OpenSSH container, as `ssh-keygen -t ed25519` writes it.
    pub private_text: String,
}

impl ThrowAwayKey {
    pub fn new() -> Self {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).expect("the system has random numbers");
        let pair = Ed25519Keypair::from_seed(&seed);
        let public = pair.public.0;
        let private_text = ssh_key::PrivateKey::from(pair).to_openssh(ssh_key::LineEnding::LF).expect("a key can be written");
        Self { public, private_text: private_text.to_string() }
    }
}

/// A backend that holds the fixture project.
pub struct Fixture {
    pub backend: Backend,
    pub key: ThrowAwayKey,
    pub project: String,
    /// 640 × 360 JPEG.
    pub image: String,
    /// Three images, two JPEG and one PNG.
    pub group: String,
    /// H.264 in MP4, 30 frames.
    pub video: String,
    /// A storage folder for uploads.
    pub folder: String,
    /// An empty dataset of the project.
    pub dataset: String,
}

/// The colour of the fixture's image.
pub const IMAGE_COLOUR: [u8; 3] = [60, 120, 200];
/// The colours of the images of the fixture's group, by frame.
pub const GROUP_COLOURS: [[u8; 3]; 3] = [[220, 30, 30], [30, 180, 40], [240, 240, 240]];
/// Frames of the fixture's video; the colour of each is `media::colour_of_frame`.
pub const VIDEO_FRAMES: u64 = 30;

impl Fixture {
    pub fn new() -> Self {
        Self::start(Options::default())
    }

    pub fn start(options: Options) -> Self {
        let backend = Backend::start(options).expect("loopback takes a listener");
        let key = ThrowAwayKey::new();
        let mut store = backend.store();
        store.add_key(&key.public, "agent@example.com");
        let project = store.add_project("Road scenes", ontology());
        let image = store.add_image(&project, "crossing.jpg", "image/jpeg", (640, 360), jpeg(640, 360, IMAGE_COLOUR));
        let [left, middle, right] = GROUP_COLOURS;
        let group = store.add_group(
            &project,
            "three views",
            vec![
                GroupImage { title: "left.jpg", mime: "image/jpeg", size: (320, 240), bytes: jpeg(320, 240, left) },
                GroupImage { title: "middle.png", mime: "image/png", size: (300, 200), bytes: png(300, 200, middle) },
                GroupImage { title: "right.jpg", mime: "image/jpeg", size: (320, 240), bytes: jpeg(320, 240, right) },
            ],
        );
        let recipe = VideoRecipe { frames: VIDEO_FRAMES, ..VideoRecipe::default() };
        let video = add_video(&mut store, &project, "drive.mp4", &recipe, recipe.coloured());
        let (folder, dataset) = (store.add_folder(), store.add_dataset(&project));
        drop(store);
        Self { backend, key, project, image, group, video, folder, dataset }
    }
}

/// Puts a video made by `recipe` into a project; returns its data hash.
pub fn add_video(store: &mut super::backend::Store, project: &str, title: &str, recipe: &VideoRecipe, bytes: Vec<u8>) -> String {
    let clip = Clip {
        file: store.add_file(title, "video/mp4", bytes),
        mime: "video/mp4".into(),
        width: recipe.width,
        height: recipe.height,
        fps: f64::from(recipe.fps),
        frames: recipe.frames,
    };
    store.add_video(project, title, clip)
}

/// `editor` with text, radio (flat, and nested down to text and to number), checklist, number, global radio, a title
/// that stands twice, an archived question, and two classes of objects. Hashes hold `+` and `/`, as real ones do.
pub fn ontology() -> Value {
    serde_json::from_str(include_str!("ontology.json")).expect("the ontology is JSON")
}
