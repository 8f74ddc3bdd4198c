//! Ontologies of very different size through the whole daemon: `edgelabel schema` word for word, and questions that need
//! several calls and end in one save.

use std::path::Path;

use serde_json::{Value, json};

use crate::spine::{World, attribute};
use crate::support::backend::Call;
use crate::support::media::jpeg;

/// An ontology under construction: hashes and ids come by themselves.
struct Editor {
    classifications: Vec<Value>,
    made: u32,
}

impl Editor {
    fn new() -> Self {
        Self { classifications: Vec::new(), made: 0 }
    }

    fn hash(&mut self) -> String {
        self.made += 1;
        format!("Node{:04}", self.made)
    }

    fn attribute(&mut self, name: &str, kind: &str, required: bool, options: Vec<Value>) -> Value {
        let hash = self.hash();
        let mut attribute =
            json!({"id": "1.1", "name": name, "type": kind, "featureNodeHash": hash, "required": required, "dynamic": false});
        if !options.is_empty() {
            attribute["options"] = Value::Array(options);
        }
        attribute
    }

    fn option(&mut self, label: &str, nested: Vec<Value>) -> Value {
        let value = label.to_lowercase().replace(' ', "_");
        json!({"id": "1.1.1", "label": label, "value": value, "featureNodeHash": self.hash(), "options": nested})
    }

    fn options(&mut self, labels: &[&str]) -> Vec<Value> {
        labels.iter().map(|label| self.option(label, Vec::new())).collect()
    }

    fn ask(&mut self, attribute: Value) {
        let hash = self.hash();
        self.classifications
            .push(json!({"id": self.classifications.len().to_string(), "featureNodeHash": hash, "attributes": [attribute]}));
    }

    fn finish(self) -> Value {
        json!({"objects": [], "classifications": self.classifications})
    }
}

fn description() -> Value {
    let mut editor = Editor::new();
    let scene = editor.attribute("Scene description", "text", true, Vec::new());
    editor.ask(scene);
    editor.finish()
}

/// Nested as deep as driving ontologies are: weather down to the depth of snow, manoeuvres of the car ahead.
fn driving() -> Value {
    let mut editor = Editor::new();
    let intensity = editor.options(&["Light", "Heavy"]);
    let intensity = editor.attribute("Rain intensity", "radio", false, intensity);
    let depth = editor.attribute("Snow depth in cm", "numeric", true, Vec::new());
    let covered = editor.option("Covered", vec![depth]);
    let clear = editor.option("Cleared", Vec::new());
    let road = editor.attribute("Road under snow", "radio", true, vec![covered, clear]);
    let weather = vec![
        editor.option("Sunny", Vec::new()),
        editor.option("Rain", vec![intensity]),
        editor.option("Snow", vec![road]),
        editor.option("雾", Vec::new()),
    ];
    let weather = editor.attribute("Weather", "radio", true, weather);
    editor.ask(weather);
    let hazards = editor.options(&["Ice", "Debris", "Road works", "12\" hole"]);
    let hazards = editor.attribute("Hazards", "checklist", false, hazards);
    editor.ask(hazards);
    let lanes = editor.options(&["Left", "Right"]);
    let lanes = editor.attribute("To which side", "radio", true, lanes);
    let sign = editor.attribute("Reading of its plate", "text", false, Vec::new());
    let ahead = vec![editor.option("Changes lane", vec![lanes]), editor.option("Brakes", vec![sign]), editor.option("None", Vec::new())];
    let ahead = editor.attribute("Vehicle ahead", "radio", false, ahead);
    editor.ask(ahead);
    let cars = editor.attribute("Number of cars", "numeric", false, Vec::new());
    editor.ask(cars);
    let note = editor.attribute("Note", "text", false, Vec::new());
    editor.ask(note);
    editor.finish()
}

fn species(count: usize) -> Value {
    let mut editor = Editor::new();
    let labels: Vec<String> = (1..=count).map(|number| format!("Species number {number}")).collect();
    let options = editor.options(&labels.iter().map(String::as_str).collect::<Vec<_>>());
    let species = editor.attribute("Species", "radio", true, options);
    editor.ask(species);
    editor.finish()
}

/// A radio of three options on each of `levels` levels, every option with the next level under it.
fn tree(editor: &mut Editor, levels: usize) -> Value {
    let options = (1..=3)
        .map(|number| {
            let below = if levels > 1 { vec![tree(editor, levels - 1)] } else { Vec::new() };
            editor.option(&format!("Kind {number}"), below)
        })
        .collect();
    editor.attribute(&format!("Level {levels}"), "radio", true, options)
}

struct Made {
    world: World,
    project: String,
    image: String,
}

fn made(editor: Value) -> Made {
    let world = World::new();
    let mut store = world.fixture.backend.store();
    let project = store.add_project("Roads", editor);
    let image = store.add_image(&project, "crossing.jpg", "image/jpeg", (64, 48), jpeg(64, 48, [90, 90, 90]));
    drop(store);
    Made { world, project, image }
}

/// Properties, values of enums and levels of a schema.
fn measure(schema: &Value) -> (usize, usize, usize) {
    let inner: Vec<&Value> = match schema {
        Value::Object(object) => ["properties", "anyOf", "items"]
            .iter()
            .filter_map(|key| object.get(*key))
            .flat_map(|found| match found {
                Value::Object(properties) if object["type"] == "object" => properties.values().collect(),
                Value::Array(branches) => branches.iter().collect(),
                one => vec![one],
            })
            .collect(),
        _ => Vec::new(),
    };
    let own = schema["enum"].as_array().map_or(0, Vec::len);
    let properties = schema["properties"].as_object().map_or(0, serde_json::Map::len);
    let level = usize::from(schema["type"] == "object" || schema["type"] == "array");
    let (below, values, levels) = inner.into_iter().map(measure).fold((0, 0, 0), |(a, b, c), (x, y, z)| (a + x, b + y, c.max(z)));
    (properties + below, own + values, level + levels)
}

#[test]
fn schemas_of_three_ontologies_are_printed_word_for_word() {
    for (name, editor) in [("description", description()), ("driving", driving()), ("300-options", species(300))] {
        let made = made(editor);
        let setup = made.world.setup().agent("/", "*", "");
        setup.write();
        let output = setup.command(&["schema", "--project", &made.project, "--config"]).arg(setup.config_file()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut shown: Value = serde_json::from_slice(&output.stdout).unwrap();
        shown["url"] = json!("(where the endpoint is)");
        let text = format!("{}\n", serde_json::to_string_pretty(&shown).unwrap());
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/schemas/{name}.json"));
        if std::env::var_os("EDGELABEL_WRITE_DOCS").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let (properties, values, levels) = measure(&shown["schema"]);
        let bytes = shown["schema"].to_string().len();
        println!("{name}: {bytes} bytes of schema, {properties} properties, {values} values of enums, {levels} levels");
        assert!(properties <= 100 && values <= 1_000 && levels <= 5 && shown.get("calls").is_none());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "{} (EDGELABEL_WRITE_DOCS=1 writes it anew)", path.display());
    }
}

#[test]
fn an_ontology_beyond_a_schemas_limits_is_asked_in_several_calls_and_saved_once() {
    let mut editor = Editor::new();
    for number in 0..250 {
        let question = editor.attribute(&format!("Question {number:03}"), "numeric", false, Vec::new());
        editor.ask(question);
    }
    let made = made(editor.finish());
    let daemon = made.world.setup().agent("/", "*", "reply = \"summary\"").start();
    (0..249).for_each(|number| made.world.model.fix(&format!("Question {number:03}"), number));
    let answer = daemon.trigger("/", &made.project, &made.image, 0);
    assert_eq!(answer.status, 200, "{answer:?}\n{}", daemon.log());
    assert_eq!((made.world.model.received(), made.world.fixture.backend.count(Call::SaveRow)), (3, 1));
    let row = made.world.fixture.backend.row(&made.image).unwrap();
    let answers: Vec<f64> = row["classification_answers"]
        .as_object()
        .unwrap()
        .values()
        .map(|answer| answer["classifications"][0]["answers"].as_f64().unwrap())
        .collect();
    assert_eq!(answers, (0..249).map(f64::from).collect::<Vec<_>>());
    assert!(daemon.log().contains(r#"left_out=["Question 249"]"#), "{}", daemon.log());
}

#[test]
fn a_tree_beyond_a_schemas_limits_is_asked_branch_by_branch_and_saved_as_one_answer() {
    let mut editor = Editor::new();
    // 1 + 3 + … + 729 attributes on seven levels.
    let root = tree(&mut editor, 7);
    let hash = root["featureNodeHash"].as_str().unwrap().to_owned();
    editor.ask(root);
    let feature = editor.classifications[0]["featureNodeHash"].as_str().unwrap().to_owned();
    let made = made(editor.finish());
    let daemon = made.world.setup().agent("/", "*", "").start();
    (1..=7).for_each(|level| made.world.model.fix(&format!("Level {level}"), json!(format!("Kind {}", 1 + level % 3))));
    let answer = daemon.trigger("/", &made.project, &made.image, 0);
    assert_eq!(answer.status, 200, "{answer:?}\n{}", daemon.log());
    assert_eq!((made.world.model.received(), made.world.fixture.backend.count(Call::SaveRow)), (2, 1));
    for asked in made.world.model.questions() {
        let (properties, values, levels) = measure(&asked.body["response_format"]["json_schema"]["schema"]);
        assert!(properties <= 100 && values <= 1_000 && levels <= 5, "{properties} {values} {levels}");
    }
    let [saved] = &made.world.answers(&made.image, &feature)[..] else { panic!("not one answer") };
    let chosen: Vec<&Value> = saved["classifications"].as_array().unwrap().iter().map(|entry| &entry["answers"][0]["name"]).collect();
    assert_eq!(chosen, ["Kind 2", "Kind 3", "Kind 1", "Kind 2", "Kind 3", "Kind 1", "Kind 2"]);
    assert_eq!(attribute(saved, &hash)[0]["name"], "Kind 2");
}

#[test]
fn more_options_than_a_schema_takes_are_answered_by_their_number() {
    let made = made(species(1_500));
    let daemon = made.world.setup().agent("/", "*", "").start();
    made.world.model.fix("Species", "Species number 1234");
    let answer = daemon.trigger("/", &made.project, &made.image, 0);
    assert_eq!(answer.status, 200, "{answer:?}\n{}", daemon.log());
    let row = made.world.fixture.backend.row(&made.image).unwrap();
    let (_, saved) = row["classification_answers"].as_object().unwrap().iter().next().unwrap();
    assert_eq!(saved["classifications"][0]["answers"][0]["name"], "Species number 1234");
    assert_eq!(made.world.model.received(), 1);
}
