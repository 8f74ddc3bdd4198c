//! What holds for every ontology: its schemas keep the rules, and every answer a schema allows leads back to the ontology.

use std::collections::HashMap;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{ontologies, strict};
use crate::encord::ontology::{Attribute, AttributeKind, Choice, Classification, Topic};
use crate::encord::{Answer, AnswerValue};
use crate::ids::FeatureNodeHash;
use crate::model::outline::{Outline, Values};
use crate::model::schema::schema;
use crate::model::sheet::{Shape, Sheet};
use crate::model::validate;

/// Titles and labels people give: equal, empty, long, in any script, different only in what is not a letter.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec![
            "", " ", "C", "C++", "C#", "c", "Yes", "No", "null", "None", "Car", "Car", "Car (2)", "Rain intensity", "天気", "天気 ", "Müller",
            "a\u{200b}b", "ab", "line\nbreak", "\"quoted\" {braces} \\", "1", "01", "true", "ﷺ", "🚗", "option 1", "-", "_", "…",
        ]).prop_map(str::to_owned),
        2 => "\\PC{0,20}",
        1 => "[a-c]{1,2}",
        1 => ("[A-Z]", 100_usize..300).prop_map(|(letter, length)| letter.repeat(length)),
    ]
}

fn flag() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.15)
}

fn leaf() -> impl Strategy<Value = AttributeKind> {
    prop_oneof![
        2 => Just(AttributeKind::Text),
        2 => Just(AttributeKind::Numeric),
        2 => prop::collection::vec(option(Just(Vec::new())), 0..8).prop_map(AttributeKind::Checklist),
        1 => (200_usize..1_200, "[a-z]{0,30}").prop_map(|(count, stem)| {
            AttributeKind::Radio((0..count).map(|n| ontologies::choice("", &format!("{stem}{}", n / 2), Vec::new())).collect())
        }),
    ]
}

fn option(attributes: impl Strategy<Value = Vec<Attribute>>) -> impl Strategy<Value = Choice> {
    (name(), name(), flag(), attributes).prop_map(|(label, value, archived, attributes)| Choice {
        value,
        archived,
        ..ontologies::choice("", &label, attributes)
    })
}

fn titled(kind: impl Strategy<Value = AttributeKind>) -> impl Strategy<Value = Attribute> {
    (name(), any::<bool>(), flag(), kind).prop_map(|(name, required, archived, kind)| Attribute {
        required,
        archived,
        ..ontologies::attribute("", &name, kind)
    })
}

fn ontology() -> impl Strategy<Value = Vec<Classification>> {
    let attribute = titled(leaf()).prop_recursive(4, 200, 8, |inner| {
        titled(prop::collection::vec(option(prop::collection::vec(inner, 0..3)), 0..8).prop_map(AttributeKind::Radio))
    });
    prop::collection::vec(attribute, 1..6).prop_map(|mut attributes| {
        let mut count = 0;
        attributes.iter_mut().for_each(|attribute| number(attribute, &mut count));
        attributes.into_iter().map(ontologies::classification).collect()
    })
}

/// Gives every attribute and option a hash of its own.
fn number(attribute: &mut Attribute, count: &mut usize) {
    let mut next = || {
        *count += 1;
        FeatureNodeHash::new(format!("h{count}"))
    };
    attribute.hash = next();
    if let AttributeKind::Radio(choices) | AttributeKind::Checklist(choices) = &mut attribute.kind {
        choices.iter_mut().for_each(|choice| choice.hash = next());
        for nested in choices.iter_mut().flat_map(|choice| &mut choice.attributes) {
            number(nested, count);
        }
    }
}

/// Any instance of a schema, as the numbers decide.
fn instance(schema: &Value, numbers: &mut impl Iterator<Item = u64>) -> Value {
    let mut pick = |count: usize| (numbers.next().unwrap() % count as u64) as usize;
    if let Some(branches) = schema["anyOf"].as_array() {
        let branch = pick(branches.len() + 2).min(branches.len() - 1) % branches.len();
        // The first branch is the interesting one, so it is taken more often.
        let branch = if pick(3) > 0 { 0 } else { branch };
        return instance(&branches[branch], numbers);
    }
    if let Some(values) = schema["enum"].as_array() {
        return values[pick(values.len())].clone();
    }
    match schema["type"].as_str().unwrap() {
        "object" => schema["properties"].as_object().unwrap().iter().map(|(key, inner)| (key.clone(), instance(inner, numbers))).collect(),
        "array" => (0..pick(5)).map(|_| instance(&schema["items"], numbers)).collect(),
        "integer" => {
            let (low, high) = (schema["minimum"].as_u64().unwrap(), schema["maximum"].as_u64().unwrap());
            json!(low + pick((high - low + 1) as usize) as u64)
        }
        "number" => json!([0.0, -1.5, 3.0, 1e300][pick(4)]),
        "string" => json!(["", " ", "a dog", "null", "ünï", "{\"a\": 1}"][pick(6)]),
        "null" => Value::Null,
        other => panic!("{other}"),
    }
}

/// The same answers written out again: what a model would have to say to mean them.
fn written(outline: &Outline<'_>, sheet: &Sheet, values: &Values) -> Map<String, Value> {
    let mut object = Map::new();
    for field in &sheet.fields {
        let position = |hash: &FeatureNodeHash| outline.nodes[field.node].choices.iter().position(|choice| &choice.hash == hash).unwrap();
        let word = |hash: &FeatureNodeHash| match &field.shape {
            Shape::Words { words, .. } => json!(words[position(hash)].text),
            _ => json!(position(hash) + 1),
        };
        let value = match &values[field.node] {
            None if field.nullable => Value::Null,
            None => json!(""),
            Some(AnswerValue::Text(text)) => json!(text),
            Some(AnswerValue::Number(number)) => json!(number),
            Some(AnswerValue::Choice(hash)) => word(hash),
            Some(AnswerValue::Choices(hashes)) => hashes.iter().map(word).collect(),
        };
        object.insert(field.key.clone(), value);
    }
    object
}

/// Asks the whole ontology, answering every sheet with `answer`, and returns what came out.
fn converse(outline: &Outline<'_>, mut answer: impl FnMut(&Sheet, &Value) -> Map<String, Value>) -> (Values, usize) {
    let mut values: Values = vec![None; outline.nodes.len()];
    let mut pending: Vec<usize> = outline.roots().into_iter().filter(|&root| outline.is_askable(root)).collect();
    let mut sheets = 0;
    while let Some(sheet) = Sheet::next(outline, &mut pending) {
        sheets += 1;
        let schema = schema(&sheet);
        strict::check(&schema).unwrap();
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        let object = answer(&sheet, &schema);
        validator.validate(&Value::Object(object.clone())).unwrap();
        validate::read(outline, &sheet, &object, &mut values).unwrap();
        pending.extend(sheet.follow_up(outline, &values));
    }
    (values, sheets)
}

/// Whether `answer` is valid for `classification`, told from the ontology alone.
fn is_valid(classification: &Classification, answer: &Answer) -> bool {
    let mut given: HashMap<_, _> = answer.attributes.iter().map(|answer| (&answer.attribute, &answer.value)).collect();
    let counted = given.len() == answer.attributes.len();
    let fits = take(&classification.attribute, &mut given);
    // What is left hangs under no chosen option.
    counted && fits && given.is_empty() && answer.feature == classification.hash
}

fn take(attribute: &Attribute, given: &mut HashMap<&FeatureNodeHash, &AnswerValue>) -> bool {
    let Some(value) = given.remove(&attribute.hash) else { return true };
    let active = |choices: &[Choice], hash: &FeatureNodeHash| choices.iter().any(|choice| &choice.hash == hash && !choice.archived);
    !attribute.archived
        && match (&attribute.kind, value) {
            (AttributeKind::Text, AnswerValue::Text(text)) => !text.is_empty(),
            (AttributeKind::Numeric, AnswerValue::Number(_)) => true,
            (AttributeKind::Checklist(choices), AnswerValue::Choices(hashes)) => {
                let places: Vec<_> = hashes.iter().map(|hash| choices.iter().position(|choice| &choice.hash == hash)).collect();
                places.is_sorted() && places.windows(2).all(|pair| pair[0] < pair[1]) && hashes.iter().all(|hash| active(choices, hash))
            }
            (AttributeKind::Radio(choices), AnswerValue::Choice(hash)) => {
                let chosen = choices.iter().find(|choice| &choice.hash == hash);
                active(choices, hash) && chosen.is_some_and(|choice| choice.attributes.iter().all(|nested| take(nested, given)))
            }
            _ => false,
        }
}

/// `PROPTEST_CASES`, or few enough for every day.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|count| count.parse().ok()).unwrap_or(64)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn every_instance_of_every_ontologys_schemas_is_an_answer_and_back(
        ontology in ontology(),
        seed in prop::collection::vec(any::<u64>(), 64),
    ) {
        let topics: Vec<Topic<'_>> = ontology.iter().map(Topic::from).collect();
        let outline = Outline::new(&topics);
        // Any list of numbers, made long without repeating itself.
        let mut numbers = (0_u64..).zip(seed.iter().cycle()).map(|(n, s)| s.rotate_left((n / 64) as u32 % 61).wrapping_add(n * n) >> 3);
        let (values, _) = converse(&outline, |_, schema| match instance(schema, &mut numbers) {
            Value::Object(object) => object,
            other => panic!("{other}"),
        });
        let (answers, left_out) = outline.answers(&values);
        for answer in &answers {
            let classification = ontology.iter().find(|known| known.hash == answer.feature).unwrap();
            prop_assert!(is_valid(classification, answer), "{answer:?}");
        }
        let due = (0..outline.nodes.len()).filter(|&node| outline.is_open(node, &values)).count();
        let answered: usize = answers.iter().map(|answer| answer.attributes.len()).sum();
        prop_assert_eq!(due, answered + left_out.len());

        let (again, _) = converse(&outline, |sheet, _| written(&outline, sheet, &values));
        prop_assert_eq!(outline.answers(&again).0, answers);
    }
}

#[test]
fn three_hundred_options_are_one_enum_and_three_thousand_are_numbers() {
    for (count, pointer) in [(300, "/anyOf/0/enum/299"), (3_000, "/anyOf/0/maximum")] {
        let ontology = ontologies::many_options(count);
        let topics: Vec<Topic<'_>> = ontology.iter().map(Topic::from).collect();
        let outline = Outline::new(&topics);
        let schema = schema(&Sheet::next(&outline, &mut outline.roots()).unwrap());
        strict::check(&schema).unwrap();
        let property = &schema["properties"]["species"];
        assert!(property.pointer(pointer).is_some(), "{property}");
        assert_eq!(property["description"].as_str().unwrap().contains(" 300 = Species number 299;"), count == 3_000);
    }
}

/// A radio of `options` options on each of `levels` levels, every option with the next level below it.
fn deep(levels: usize, options: usize, count: &mut usize) -> Attribute {
    let id = |prefix: &str, count: &mut usize| {
        *count += 1;
        format!("{prefix}{count}")
    };
    let choices = (0..options)
        .map(|number| {
            let below = if levels > 1 { vec![deep(levels - 1, options, count)] } else { vec![] };
            ontologies::choice(&id("o", count), &format!("Kind {number}"), below)
        })
        .collect();
    ontologies::attribute(&id("a", count), &format!("Level {levels}"), AttributeKind::Radio(choices))
}

#[test]
fn a_tree_too_large_for_one_call_is_asked_branch_by_branch() {
    // 1 + 3 + … + 729 = 1,093 attributes on seven levels; one call holds 100.
    let ontology = [ontologies::classification(deep(7, 3, &mut 0))];
    let topics: Vec<Topic<'_>> = ontology.iter().map(Topic::from).collect();
    let outline = Outline::new(&topics);
    assert_eq!(outline.nodes.len(), 1_093);
    let (values, sheets) = converse(&outline, |_, schema| {
        let last = |property: &Value| property.pointer("/anyOf/0/enum").unwrap().as_array().unwrap().last().unwrap().clone();
        schema["properties"].as_object().unwrap().iter().map(|(key, property)| (key.clone(), last(property))).collect()
    });
    let (answers, left_out) = outline.answers(&values);
    assert_eq!((answers[0].attributes.len(), left_out.len()), (7, 0));
    assert!(is_valid(&ontology[0], &answers[0]));
    assert!(sheets <= 3, "{sheets}");
}

#[test]
fn long_labels_are_spread_over_several_calls_too() {
    // 1,000 values of 126 characters each: more than all names and values of one schema may have.
    let ontology: Vec<_> = (0..4)
        .map(|number| {
            let options =
                (0..250).map(|option| ontologies::choice(&format!("o{number}-{option}"), &"long ".repeat(40), Vec::new())).collect();
            ontologies::classification(ontologies::attribute(&format!("a{number}"), "Kind", AttributeKind::Radio(options)))
        })
        .collect();
    let topics: Vec<Topic<'_>> = ontology.iter().map(Topic::from).collect();
    let outline = Outline::new(&topics);
    let (values, sheets) = converse(&outline, |_, schema| {
        let last = |property: &Value| property.pointer("/anyOf/0/enum/249").unwrap().clone();
        schema["properties"].as_object().unwrap().iter().map(|(key, property)| (key.clone(), last(property))).collect()
    });
    assert_eq!((outline.answers(&values).0.len(), sheets), (4, 2));
}

#[test]
fn many_classifications_are_spread_over_several_calls_whole() {
    let ontology: Vec<_> = (0..250)
        .map(|number| {
            ontologies::classification(ontologies::attribute(&format!("a{number}"), &format!("Question {number}"), AttributeKind::Numeric))
        })
        .collect();
    let topics: Vec<Topic<'_>> = ontology.iter().map(Topic::from).collect();
    let outline = Outline::new(&topics);
    let (values, sheets) =
        converse(&outline, |_, schema| schema["properties"].as_object().unwrap().keys().map(|key| (key.clone(), json!(7))).collect());
    assert_eq!((outline.answers(&values).0.len(), sheets), (250, 3));
}
