//! A project with a class of objects for each shape, on media whose colours tell where a cut-out is from.

use serde_json::{Value, json};

use crate::spine::World;
use crate::support::backend::GroupImage;
use crate::support::daemon::{Answer, Daemon};
use crate::support::fixture::add_video;
use crate::support::media::VideoRecipe;
use crate::support::model::Picture;

const WIDTH: u32 = 640;
const HEIGHT: u32 = 320;
pub(super) const FRAME: u64 = 7;

/// Red tells how far right a point is and green how far down, so that a cut-out's mean colour tells where it is from.
fn colour_at(x: u32, y: u32) -> [u8; 3] {
    [(x * 255 / (WIDTH - 1)) as u8, (y * 255 / (HEIGHT - 1)) as u8, 128]
}

fn still() -> Vec<u8> {
    let picture = image::RgbImage::from_fn(WIDTH, HEIGHT, |x, y| image::Rgb(colour_at(x, y)));
    let mut file = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut file, image::ImageFormat::Png).unwrap();
    file.into_inner()
}

/// A class for each shape, all with the same attributes: one answered once, with one under an option of it, and two
/// answered per frame; and a class without any.
fn ontology() -> Value {
    let attributes = |class: u32| {
        json!([
            {"id": format!("{class}.1"), "name": "Kind", "type": "radio", "featureNodeHash": format!("Kind/{class}"), "required": true,
             "dynamic": false, "options": [
                {"id": format!("{class}.1.1"), "label": "Car", "value": "car", "featureNodeHash": format!("Car+/{class}")},
                {"id": format!("{class}.1.2"), "label": "Van", "value": "van", "featureNodeHash": format!("Van+/{class}"), "options": [
                    {"id": format!("{class}.1.2.1"), "name": "Firm", "type": "text", "featureNodeHash": format!("Firm/{class}"),
                     "required": false, "dynamic": false}]}]},
            {"id": format!("{class}.2"), "name": "Lights", "type": "radio", "featureNodeHash": format!("Light{class}"), "required": false,
             "dynamic": true, "options": [
                {"id": format!("{class}.2.1"), "label": "On", "value": "on", "featureNodeHash": format!("LightOn{class}")},
                {"id": format!("{class}.2.2"), "label": "Off", "value": "off", "featureNodeHash": format!("LightNo{class}")}]},
            {"id": format!("{class}.3"), "name": "Speed", "type": "numeric", "featureNodeHash": format!("Speed{class}"), "required": false,
             "dynamic": true},
        ])
    };
    let class = |number: u32, (name, shape): (&str, &str)| {
        let attributes = if name == "Bare" { json!([]) } else { attributes(number) };
        json!({"id": number.to_string(), "name": name, "color": "#D33115", "shape": shape, "featureNodeHash": name, "attributes": attributes})
    };
    let classes: Vec<Value> = (1..).zip(CLASSES).map(|(number, one)| class(number, one)).collect();
    json!({"objects": classes, "classifications": []})
}

const CLASSES: [(&str, &str); 6] = [
    ("Box", "bounding_box"),
    ("Tilted", "rotatable_bounding_box"),
    ("Outline", "polygon"),
    ("Mask", "bitmask"),
    ("Spot", "point"),
    ("Bare", "bounding_box"),
];

pub(super) struct Scene {
    pub(super) world: World,
    pub(super) project: String,
    pub(super) image: String,
    pub(super) group: String,
    pub(super) video: String,
}

impl Scene {
    pub(super) fn new() -> Self {
        let world = World::new();
        let mut store = world.fixture.backend.store();
        let project = store.add_project("Objects", ontology());
        let size = (WIDTH, HEIGHT);
        let image = store.add_image(&project, "still.png", "image/png", size, still());
        let one = |title| GroupImage { title, mime: "image/png", size, bytes: still() };
        let group = store.add_group(&project, "two stills", vec![one("a.png"), one("b.png")]);
        let recipe = VideoRecipe { frames: 12, width: WIDTH, height: HEIGHT, ..VideoRecipe::default() };
        let bytes = recipe.painted(|_, x, y| colour_at(x, y));
        let video = add_video(&mut store, &project, "drive.mp4", &recipe, bytes);
        drop(store);
        Self { world, project, image, group, video }
    }

    /// Puts objects on a frame, as a person's save does: class and shape of each.
    pub(super) fn draw(&self, data: &str, frame: u64, objects: &[(&str, &str, Value)]) {
        self.world.fixture.backend.edit_row(data, |row| {
            for (hash, class, shape) in objects {
                let drawn = drawn(hash, class, shape);
                let units = row["data_units"].as_object_mut().unwrap();
                let sequence = |unit: &Value| unit["data_sequence"] == json!(frame.to_string());
                let of_group = units.values().any(|unit| unit["data_sequence"].is_string());
                let unit = units.values_mut().find(|unit| !of_group || sequence(unit)).unwrap();
                let video = unit.get("data_fps").is_some();
                let labels = if video { &mut unit["labels"][frame.to_string()] } else { &mut unit["labels"] };
                if !labels["objects"].is_array() {
                    *labels = json!({"objects": [], "classifications": []});
                }
                labels["objects"].as_array_mut().unwrap().push(drawn);
                row["object_answers"][hash] = json!({"objectHash": hash, "classifications": [], "objectNumber": 4});
                row["object_actions"][hash] = json!({"objectHash": hash, "actions": []});
            }
        });
    }

    pub(super) fn click(&self, daemon: &Daemon, data: &str, frame: u64, objects: &[&str]) -> Answer {
        let body = json!({"projectHash": self.project, "dataHash": data, "frame": frame, "objectHashes": objects});
        daemon.post("/", &body.to_string(), &[])
    }

    /// What is answered once about an object, and what on frames: attribute → answers.
    pub(super) fn answers(&self, data: &str, hash: &str) -> (Value, Value) {
        let row = self.world.fixture.backend.row(data).unwrap();
        let list = |entries: &Value| {
            let entries = entries.as_array().unwrap().iter();
            let plain = |answers: &Value| if answers.is_array() { answers[0]["name"].clone() } else { answers.clone() };
            entries.map(|entry| json!([entry["name"], plain(&entry["answers"]), entry["range"]])).collect::<Value>()
        };
        (list(&row["object_answers"][hash]["classifications"]), list(&row["object_actions"][hash]["actions"]))
    }

    pub(super) fn agent(&self, more: &str) -> Daemon {
        self.world.setup().agent("/", "*", &format!("target = \"objects\"\n{more}")).start()
    }

    pub(super) fn pictures(&self) -> Vec<Picture> {
        self.world.model.questions().iter().map(|question| question.pictures[0].clone()).collect()
    }
}

fn drawn(hash: &str, class: &str, shape: &Value) -> Value {
    let (_, kind) = CLASSES.iter().find(|(name, _)| *name == class).unwrap();
    let mut object = json!({
        "objectHash": hash, "featureHash": class, "name": class, "color": "#D33115", "shape": kind, "value": class.to_lowercase(),
        "createdAt": "Mon, 02 Nov 2026 10:00:00 UTC", "createdBy": "annotator@example.com", "confidence": 1.0, "manualAnnotation": true,
    });
    object.as_object_mut().unwrap().extend(shape.as_object().unwrap().clone());
    object
}

pub(super) fn upright(x: f64, y: f64, w: f64, h: f64) -> Value {
    json!({"boundingBox": {"h": h, "w": w, "x": x, "y": y}})
}

pub(super) fn spot() -> Value {
    json!({"point": {"0": {"x": 0.5, "y": 0.5}}})
}

/// A mask of one rectangle, in pixels of the picture, with its run lengths written as the label editor writes them.
pub(super) fn mask(left: u32, top: u32, width: u32, height: u32) -> Value {
    let mut lengths = vec![i64::from(top * WIDTH + left)];
    for row in 0..height {
        lengths.push(width.into());
        let last = row + 1 == height;
        lengths.push(if last { (WIDTH * (HEIGHT - top - height) + WIDTH - left - width).into() } else { (WIDTH - width).into() });
    }
    let mut text = String::new();
    for (place, &length) in lengths.iter().enumerate() {
        let mut rest = if place > 2 { length - lengths[place - 2] } else { length };
        loop {
            let bits = rest & 0x1f;
            rest >>= 5;
            let more = if bits & 0x10 == 0 { rest != 0 } else { rest != -1 };
            text.push(char::from((bits | if more { 0x20 } else { 0 }) as u8 + 48));
            if !more {
                break;
            }
        }
    }
    json!({"bitmask": {"top": 0, "left": 0, "width": WIDTH, "height": HEIGHT, "rleString": text}})
}

/// Left, top, right and bottom of a cut-out in parts of the whole, told from its colour and its size.
#[track_caller]
pub(super) fn assert_from(picture: &Picture, wanted: [f64; 4]) {
    let size = [f64::from(picture.width) / f64::from(WIDTH), f64::from(picture.height) / f64::from(HEIGHT)];
    let middle = [picture.mean[0] / 255.0, picture.mean[1] / 255.0];
    let found = [middle[0] - size[0] / 2.0, middle[1] - size[1] / 2.0, middle[0] + size[0] / 2.0, middle[1] + size[1] / 2.0];
    let near = found.iter().zip(wanted).all(|(found, wanted)| (found - wanted).abs() < 0.02);
    assert!(near, "{found:.3?} instead of {wanted:.3?}");
}
