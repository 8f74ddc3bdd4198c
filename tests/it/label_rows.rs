//! The part that talks to Encord by itself, against the emulator: it refuses a save that is not whole and right.

use std::time::Duration;

use edgelabel::deadline::Deadline;
use edgelabel::encord::{Answer, AnswerValue, AttributeAnswer, Encord, LabelRow, Merged, Ontology, PreparedAnswer, Settings};
use edgelabel::ids::{DataHash, FeatureNodeHash, ProjectHash, Secret};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::support::backend::Call;
use crate::support::fixture::Fixture;

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

fn encord(fixture: &Fixture) -> Encord {
    Encord::new(Settings {
        domain: fixture.backend.url().to_owned(),
        ssh_key: Secret::new(fixture.key.private_text.as_str()),
        ssh_key_origin: "test".into(),
        ssh_key_password: None,
        ca_file: None,
        ontology_ttl: Duration::from_secs(60),
        timeout: Duration::from_secs(15),
    })
    .unwrap()
}

fn opened(encord: &Encord, fixture: &Fixture, data: &str) -> (ProjectHash, LabelRow) {
    let project: ProjectHash = fixture.project.parse().unwrap();
    let data: DataHash = data.parse().unwrap();
    let found = encord.find_row(&project, &data, &soon()).unwrap();
    let row = encord.open_row(&project, &found, &soon()).unwrap();
    (project, row)
}

fn hash(text: &str) -> FeatureNodeHash {
    FeatureNodeHash::new(text)
}

fn answer(feature: &str, given: &[(&str, AnswerValue)]) -> Answer {
    let attributes = given.iter().map(|(attribute, value)| AttributeAnswer { attribute: hash(attribute), value: value.clone() });
    Answer { feature: hash(feature), attributes: attributes.collect() }
}

fn choice(option: &str) -> AnswerValue {
    AnswerValue::Choice(hash(option))
}

/// One answer for every kind of classification.
fn answers() -> Vec<Answer> {
    let number = |number: f64| AnswerValue::Number(serde_json::Number::from_f64(number).unwrap());
    vec![
        answer("Cls+Scen", &[("AttScene", AnswerValue::Text("wet \"crossing\" & émigrés".into()))]),
        answer("Cls/Weat", &[("AttWeath", choice("Opt+Rain"))]),
        answer("ClsTimeD", &[("AttTimeD", choice("OptDusk1")), ("AttStLig", choice("OptLit+1")), ("AttLamps", number(7.0))]),
        answer("ClsUsers", &[("AttUsers", AnswerValue::Choices(vec![hash("OptUsCar"), hash("OptUsPed")]))]),
        answer("ClsVisib", &[("AttVisib", number(120.5))]),
        answer("ClsCamer", &[("AttCamer", choice("OptRoof1"))]),
    ]
}

fn merged(row: &mut LabelRow, ontology: &Ontology, frame: u64) -> Vec<(PreparedAnswer, Merged)> {
    let prepare = |answer| PreparedAnswer::new(ontology, &answer, 0.5, OffsetDateTime::now_utc()).unwrap();
    answers().into_iter().map(prepare).map(|answer| (answer.clone(), row.merge(&answer, frame).unwrap())).collect()
}

#[test]
fn every_kind_of_answer_is_saved_to_every_kind_of_item_and_saving_it_twice_changes_nothing() {
    let fixture = Fixture::new();
    let encord = encord(&fixture);
    for (data, frame) in [(&fixture.image, 0), (&fixture.group, 1), (&fixture.video, 17)] {
        let (project, seen) = opened(&encord, &fixture, data);
        let ontology = encord.ontology(&project, &soon()).unwrap();
        let mut row = encord.read_row(&project, seen.label_hash(), &soon()).unwrap();
        let done = merged(&mut row, &ontology, frame);
        assert!(done.iter().all(|(_, merged)| *merged == Merged::Added));
        encord.save_row(&project, &row, &soon()).unwrap();

        let mut again = encord.read_row(&project, seen.label_hash(), &soon()).unwrap();
        for (answer, _) in &done {
            assert_eq!(again.merge(answer, frame).unwrap(), Merged::AlreadyThere);
            assert!(again.answer_on(&answer.feature, frame).unwrap().is_some());
        }
        let stored = fixture.backend.row(data).unwrap();
        assert_eq!(stored["classification_answers"].as_object().unwrap().len(), answers().len());
    }
}

#[test]
fn links_lead_to_the_frame_and_can_be_renewed() {
    let fixture = Fixture::new();
    let encord = encord(&fixture);
    for (data, frame, start) in
        [(&fixture.image, 0, b"\xff\xd8\xff".as_slice()), (&fixture.group, 1, b"\x89PNG"), (&fixture.video, 17, b"")]
    {
        let (project, row) = opened(&encord, &fixture, data);
        for link in [encord.link(&project, &row, frame, &soon()).unwrap(), encord.renewed_link(&project, &row, frame, &soon()).unwrap()] {
            let bytes = ureq::get(link.url.expose().as_str()).call().unwrap().body_mut().read_to_vec().unwrap();
            assert!(bytes.starts_with(start) && bytes.len() > 100, "{}", link.title);
        }
    }
}

#[test]
fn an_objects_attributes_are_answered_beside_those_of_others() {
    let fixture = Fixture::new();
    let encord = encord(&fixture);
    let (project, seen) = opened(&encord, &fixture, &fixture.video);
    let ontology = encord.ontology(&project, &soon()).unwrap();
    let object = |hash: &str| {
        json!({"objectHash": hash, "featureHash": "Obj/Car1", "name": "Car", "color": "#D33115", "shape": "bounding_box", "value": "car",
            "createdAt": "Mon, 02 Nov 2026 10:00:00 UTC", "createdBy": "annotator@example.com", "confidence": 1.0, "manualAnnotation": true,
            "boundingBox": {"x": 0.1, "y": 0.2, "w": 0.3, "h": 0.4}})
    };
    fixture.backend.edit_row(&fixture.video, |row| {
        let unit = row["data_units"].as_object_mut().unwrap().values_mut().next().unwrap();
        unit["labels"] = json!({"17": {"objects": [object("Car/one1"), object("Car/two2")], "classifications": []}});
        row["object_answers"] = json!({"Car/one1": {"objectHash": "Car/one1", "classifications": []},
            "Car/two2": {"objectHash": "Car/two2", "classifications": [], "futureField": 1.0}});
    });
    let mut row = encord.read_row(&project, seen.label_hash(), &soon()).unwrap();
    let found = row.objects_on(17).unwrap();
    assert_eq!(found.len(), 2);
    assert!(found[0].region.is_some());
    let given = answer("Obj/Car1", &[("AttMake1", AnswerValue::Text("Tatra".into())), ("AttBrak1", choice("OptBrkOn"))]);
    let prepared = PreparedAnswer::for_object(&ontology, &given, "Car/one1", 0.5, OffsetDateTime::now_utc()).unwrap();
    assert_eq!(row.merge(&prepared, 17).unwrap(), Merged::Added);
    encord.save_row(&project, &row, &soon()).unwrap();
    let stored = fixture.backend.row(&fixture.video).unwrap();
    assert_eq!(stored["object_answers"]["Car/one1"]["classifications"][0]["answers"], "Tatra");
    assert_eq!(stored["object_actions"]["Car/one1"]["actions"][0]["range"], json!([[17, 17]]));
    assert_eq!(stored["object_answers"]["Car/two2"], json!({"objectHash": "Car/two2", "classifications": [], "futureField": 1.0}));
    let after: &Value = &stored["object_actions"]["Car/two2"];
    assert!(after.is_null());
}

#[test]
fn a_second_run_on_the_same_item_takes_three_calls() {
    let fixture = Fixture::new();
    let encord = encord(&fixture);
    for expected in [5, 3] {
        fixture.backend.forget_records();
        let (project, seen) = opened(&encord, &fixture, &fixture.video);
        let ontology = encord.ontology(&project, &soon()).unwrap();
        let mut row = encord.read_row(&project, seen.label_hash(), &soon()).unwrap();
        merged(&mut row, &ontology, expected);
        encord.save_row(&project, &row, &soon()).unwrap();
        // A call is recorded when its answer is out, which the caller may see a moment earlier.
        let end = std::time::Instant::now() + std::time::Duration::from_secs(2);
        while (fixture.backend.calls().len() as u64) < expected && std::time::Instant::now() < end {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let calls: Vec<Call> = fixture.backend.calls();
        assert_eq!(calls.len() as u64, expected, "{calls:?}");
    }
}
