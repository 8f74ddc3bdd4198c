//! A real model server as judge: whatever a random model says under its constraints, only valid answers come out.
//! Runs against the endpoint that `EDGELABEL_MODEL_URL` names; `tests/model/judge` starts one.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use edgelabel::deadline::Deadline;
use edgelabel::encord::AnswerValue;
use edgelabel::encord::ontology::{Attribute, AttributeKind, Choice, Classification, Topic};
use edgelabel::ids::{FeatureNodeHash, ProjectHash};
use edgelabel::media::Picture;
use edgelabel::model::{Error, Models, Question, Reply, Settings};

const ROUNDS: usize = 20;

fn attribute(name: &str, required: bool, kind: AttributeKind) -> Attribute {
    Attribute { hash: FeatureNodeHash::new(name), name: name.into(), required, archived: false, dynamic: false, kind }
}

fn choice(label: &str, attributes: Vec<Attribute>) -> Choice {
    Choice { hash: FeatureNodeHash::new(label), label: label.into(), value: label.to_lowercase(), archived: false, attributes }
}

fn classification(attribute: Attribute) -> Classification {
    Classification { hash: FeatureNodeHash::new(format!("of {}", attribute.name)), global: false, attribute }
}

fn description() -> Vec<Classification> {
    vec![classification(attribute("Scene description", true, AttributeKind::Text))]
}

fn driving() -> Vec<Classification> {
    let intensity = attribute("Rain intensity", false, AttributeKind::Radio(vec![choice("Light", vec![]), choice("Heavy", vec![])]));
    let depth = attribute("Snow depth", true, AttributeKind::Numeric);
    let weather = vec![choice("Sunny", vec![]), choice("Rain", vec![intensity]), choice("Snow", vec![depth]), choice("雾", vec![])];
    let hazards = ["Ice", "Debris", "Road works", "12\" hole"].map(|label| choice(label, vec![])).into();
    vec![
        classification(attribute("Weather", true, AttributeKind::Radio(weather))),
        classification(attribute("Hazards", false, AttributeKind::Checklist(hazards))),
        classification(attribute("Number of cars", false, AttributeKind::Numeric)),
        classification(attribute("Note", false, AttributeKind::Text)),
    ]
}

fn options(count: usize) -> Vec<Classification> {
    let choices = (0..count).map(|number| choice(&format!("Species number {number}"), vec![])).collect();
    vec![classification(attribute("Species", true, AttributeKind::Radio(choices)))]
}

fn models(url: &str) -> Models {
    let settings = Settings {
        table: String::new(),
        base_url: url.into(),
        name: "tiny".into(),
        api_key: None,
        api_key_setting: String::new(),
        ca_file: None,
        timeout: Duration::from_secs(60),
        max_answer_tokens: 1024,
        detail: "auto".into(),
        max_image_side: 0,
        jpeg_quality: 0,
        max_concurrent: 0,
        daily_tokens: 0,
        temperature: Some(1.0),
        reasoning_effort: String::new(),
        api_key_header: String::new(),
        allowed_projects: Vec::new(),
        fallback: Vec::new(),
    };
    Models::new(vec![settings]).unwrap()
}

fn ask(models: &Models, ontology: &[Classification], round: usize) -> Result<Reply, Error> {
    let topics: Vec<Topic<'_>> = ontology.iter().map(Topic::from).collect();
    let project: ProjectHash = "11111111-2222-3333-4444-555555555555".parse().unwrap();
    let picture = Picture { mime: "image/jpeg", bytes: vec![0xff, 0xd8, 0xff, 0xe0, round as u8], width: 8, height: 8 };
    let question = Question {
        project: &project,
        project_title: "Roads",
        data_title: "drive.mp4",
        frame: Some(round as u64),
        instructions: "",
        template: "",
        language: "",
        topics: &topics,
        pictures: std::slice::from_ref(&picture),
    };
    models.ask("", &question, &Deadline::after(Duration::from_secs(120)))
}

/// Whether every answered attribute is one of the ontology's, of its kind, with options of its own.
fn fits(ontology: &[Classification], reply: &Reply) -> bool {
    reply.answers.iter().all(|answer| {
        let known = ontology.iter().find(|known| known.hash == answer.feature).unwrap();
        answer.attributes.iter().all(|given| {
            let attribute = find(&known.attribute, &given.attribute).unwrap();
            match (&given.value, &attribute.kind) {
                (AnswerValue::Text(_), AttributeKind::Text) | (AnswerValue::Number(_), AttributeKind::Numeric) => true,
                (AnswerValue::Choice(hash), AttributeKind::Radio(choices)) => choices.iter().any(|choice| &choice.hash == hash),
                (AnswerValue::Choices(hashes), AttributeKind::Checklist(choices)) => {
                    hashes.iter().all(|hash| choices.iter().any(|choice| &choice.hash == hash))
                }
                _ => false,
            }
        })
    })
}

fn find<'a>(attribute: &'a Attribute, hash: &FeatureNodeHash) -> Option<&'a Attribute> {
    if &attribute.hash == hash {
        return Some(attribute);
    }
    match &attribute.kind {
        AttributeKind::Radio(choices) => choices.iter().flat_map(|choice| &choice.attributes).find_map(|nested| find(nested, hash)),
        _ => None,
    }
}

#[test]
#[ignore = "needs a model server: tests/model/judge starts one"]
fn a_random_model_gives_valid_answers_or_honest_errors() {
    let url = std::env::var("EDGELABEL_MODEL_URL").unwrap();
    let models = models(&url);
    for (name, ontology) in
        [("description", description()), ("driving", driving()), ("300 options", options(300)), ("1500 options", options(1500))]
    {
        let start = Instant::now();
        let (mut answered, mut invalid, mut requests) = (0, 0, 0);
        for round in 0..ROUNDS {
            match ask(&models, &ontology, round) {
                Ok(reply) => {
                    assert!(fits(&ontology, &reply), "{reply:?}");
                    answered += 1;
                    requests += reply.requests;
                }
                // Noise that ran on and on, or that a schema cannot rule out.
                Err(Error::Invalid { cause, .. }) => {
                    println!("  {name}: {cause}");
                    invalid += 1;
                }
                Err(error) => panic!("{name}: {error}"),
            }
        }
        println!("{name}: {answered} answered with {requests} requests, {invalid} invalid, {} ms", start.elapsed().as_millis());
        assert!(answered * 2 > ROUNDS, "{name}: constrained answers should mostly be valid");
    }
    println!("{:?}", models.stats()[0]);
    println!("{}", models.probe("", &Deadline::after(Duration::from_secs(60))).unwrap());
}
