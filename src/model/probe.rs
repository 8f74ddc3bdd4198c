//! What `doctor` wants to know of an endpoint: is it there, does it see, can it be held to a schema.

use std::time::Instant;

use crate::deadline::Deadline;
use crate::encord::AnswerValue;
use crate::encord::ontology::{Attribute, AttributeKind, Choice, Topic};
use crate::ids::{FeatureNodeHash, ProjectHash};
use crate::media::Picture;

use super::endpoint::Endpoint;
use super::facade::Question;
use super::outline::Outline;
use super::{Error, ask};

/// Side of the picture: the smallest that no known model refuses.
const SIDE: u16 = 64;

/// Shows the endpoint a red square and asks for its colour.
pub(super) fn probe(endpoint: &Endpoint, deadline: &Deadline) -> Result<String, Error> {
    let attribute = colour();
    let feature = attribute.hash.clone();
    let topics = [Topic { feature: &feature, title: &attribute.name, attributes: vec![&attribute] }];
    let outline = Outline::new(&topics);
    let picture = red_square().map_err(Error::Unaskable)?;
    let project: ProjectHash = match "00000000-0000-0000-0000-000000000000".parse() {
        Ok(project) => project,
        Err(error) => return Err(Error::Unaskable(format!("{error}"))),
    };
    let question = Question {
        project: &project,
        project_title: "",
        data_title: "",
        frame: None,
        instructions: "",
        template: "",
        language: "",
        topics: &topics,
        pictures: std::slice::from_ref(&picture),
    };
    let start = Instant::now();
    let reply = ask::ask(endpoint, &question, &outline, deadline)?;
    let sees = match reply.answers.first().and_then(|answer| answer.attributes.first()).map(|answer| &answer.value) {
        Some(AnswerValue::Choice(hash)) if hash.as_str() == "red" => "sees pictures".to_owned(),
        Some(AnswerValue::Choice(hash)) => format!("does not seem to see pictures (called a red square {hash})"),
        _ => "does not seem to see pictures (could not tell the colour of a red square)".to_owned(),
    };
    Ok(format!(
        "{} at {} {sees}; answers by {}, {} request(s), {} tokens, {} ms",
        endpoint.settings.name,
        endpoint.address.host,
        endpoint.memory.rung().name(),
        reply.requests,
        reply.prompt_tokens + reply.answer_tokens,
        start.elapsed().as_millis()
    ))
}

fn colour() -> Attribute {
    let choice = |name: &str| Choice {
        hash: FeatureNodeHash::new(name),
        label: name.to_owned(),
        value: name.to_owned(),
        archived: false,
        attributes: Vec::new(),
    };
    Attribute {
        hash: FeatureNodeHash::new("colour"),
        name: "Colour of the picture".into(),
        required: true,
        archived: false,
        dynamic: false,
        kind: AttributeKind::Radio(["red", "green", "blue", "white", "black"].map(choice).into()),
    }
}

fn red_square() -> Result<Picture, String> {
    let pixels = [220, 20, 20].repeat(usize::from(SIDE) * usize::from(SIDE));
    let mut bytes = Vec::new();
    jpeg_encoder::Encoder::new(&mut bytes, 90)
        .encode(&pixels, SIDE, SIDE, jpeg_encoder::ColorType::Rgb)
        .map_err(|error| format!("the test picture cannot be made: {error}"))?;
    Ok(Picture { mime: "image/jpeg", bytes, width: SIDE.into(), height: SIDE.into() })
}
