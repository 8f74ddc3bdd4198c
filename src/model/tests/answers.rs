//! What models say, in every dress that servers give it, and what comes out.

use serde_json::{Value, json};

use super::server::{Asked, Played, Server};
use super::{GOOD, PROJECT, ask, ask_about, fails_after, good_after, models, ontologies, strict};
use crate::encord::AnswerValue;
use crate::encord::ontology::{AttributeKind, Topic};
use crate::ids::ProjectHash;
use crate::model::{Error, Question};

#[test]
fn a_scene_description_is_asked_as_openai_documents_it() {
    let asked = good_after(vec![Played::says(GOOD)], 1);
    let Asked { path, body, .. } = &asked[0];
    assert_eq!(path, "/v1/chat/completions");
    assert_eq!(asked[0].header("authorization"), Some("Bearer sk-test"));
    assert_eq!(asked[0].header("content-type"), Some("application/json"));
    assert_eq!(body["model"], "test");
    assert_eq!(body["max_completion_tokens"], 200);
    assert_eq!(body["response_format"]["type"], "json_schema");
    let named = &body["response_format"]["json_schema"];
    assert_eq!((&named["name"], &named["strict"]), (&json!("annotation"), &json!(true)));
    strict::check(&named["schema"]).unwrap();
    assert_eq!(named["schema"]["properties"]["scene_description"]["title"], "Scene description");
    assert_eq!(named["schema"]["properties"]["scene_description"]["type"], "string", "a required text is not left out by null");
    assert_eq!(body["messages"][0]["role"], "system");
    assert_eq!(body["messages"][1]["content"][1]["image_url"]["url"], "data:image/jpeg;base64,/9j/4AECAw==");
    let sent = body.to_string();
    assert!(sent.contains("Streets of Zürich") && sent.contains("drive-7.mp4") && sent.contains("Frame: 42") && sent.contains("Be brief."));
    assert!(!sent.contains(PROJECT) && !sent.contains("c-text"));
}

#[test]
fn every_kind_of_attribute_comes_back_by_the_ontologys_hashes() {
    let said = json!({ "weather": "Rain", "rain_intensity": "Heavy", "snow_depth": 3, "hazards": ["Road works", "Ice", "Ice"], "number_of_cars": 3, "note": null });
    let server = Server::start(move |_, _| Played::says(&said.to_string()));
    let reply = ask_about(&models(&server.url), &ontologies::driving(), 20).unwrap();
    let flat: Vec<Value> = reply.answers.iter().map(|answer| serde_json::to_value(answer).unwrap()).collect();
    assert_eq!(
        Value::from(flat),
        json!([
            { "feature": "c-weather", "attributes": [
                { "attribute": "weather", "value": { "choice": "rain" } }, { "attribute": "intensity", "value": { "choice": "heavy" } }] },
            { "feature": "c-hazards", "attributes": [{ "attribute": "hazards", "value": { "choices": ["ice", "works"] } }] },
            { "feature": "c-cars", "attributes": [{ "attribute": "cars", "value": { "number": 3 } }] },
        ])
    );
    assert_eq!(reply.left_out, ["Note"]);
    let told =
        server.asked()[0].body["response_format"]["json_schema"]["schema"]["properties"]["rain_intensity"]["description"].to_string();
    assert!(told.contains(r#"Only if Weather (weather) is \"Rain\", otherwise null."#), "{told}");
    assert_eq!((reply.prompt_tokens, reply.answer_tokens, reply.requests), (100, 10, 1));
}

#[test]
fn wrapped_answers_are_unwrapped() {
    for said in [
        format!("```json\n{GOOD}\n```"),
        format!("<think>\nA cat? {{\"scene_description\": \"no\"}}\n</think>\n{GOOD}"),
        format!("Here it is: {GOOD} Have a nice day."),
        format!("[{GOOD}]"),
        format!("\u{feff}{GOOD}"),
        format!("{{\"answer\": {GOOD}}}"),
        r#"{"Scene description": "A cat on a mat."}"#.to_owned(),
    ] {
        good_after(vec![Played::says(&said)], 1);
    }
}

#[test]
fn answers_in_unusual_places_are_found() {
    for message in [
        json!({ "content": null, "reasoning_content": GOOD }),
        json!({ "content": "", "reasoning": GOOD }),
        json!({ "content": [{ "type": "text", "text": GOOD }] }),
        json!({ "content": null, "tool_calls": [{ "type": "function", "function": { "name": "annotation", "arguments": GOOD } }] }),
        json!({ "content": null, "tool_calls": [{ "function": { "name": "annotation", "arguments": { "scene_description": "A cat on a mat." } } }] }),
        json!({ "content": GOOD, "reasoning_content": "{\"scene_description\": \"thinking …\"}" }),
    ] {
        good_after(vec![Played::message(message, "stop")], 1);
    }
}

#[test]
fn an_invalid_answer_gets_one_repair_turn_that_quotes_the_error() {
    let asked = good_after(vec![Played::says(r#"{"description": "A cat."}"#), Played::says(GOOD)], 2);
    let messages = asked[1].body["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 4);
    assert_eq!(messages[2], json!({ "role": "assistant", "content": "{\"description\": \"A cat.\"}" }));
    assert!(messages[3]["content"].as_str().unwrap().contains("none of the keys is there (scene_description)"));

    for said in ["a cat", r#"{"scene_description": 1, "scene_description": 2}"#, r#"{"scene_description": ["x"]}"#, ""] {
        let error = fails_after(vec![Played::says(said)], 2);
        assert!(matches!(error, Error::Invalid { .. }), "{error}");
    }
}

#[test]
fn a_repair_spells_out_the_schema_for_a_model_that_was_not_held_to_it() {
    let asked = good_after(vec![Played::says("A cat on a mat."), Played::says(GOOD)], 2);
    let told = |asked: &Asked| asked.body["messages"][1]["content"][0]["text"].as_str().unwrap().contains("JSON Schema");
    assert_eq!((told(&asked[0]), told(&asked[1])), (false, true));
}

#[test]
fn an_endpoint_that_does_not_hold_its_model_to_the_schema_is_asked_by_json_object_after_two_repairs() {
    let server = Server::start(|_, asked| {
        let told = asked.body["messages"].to_string().contains("JSON Schema");
        Played::says(if told { GOOD } else { "A cat on a mat." })
    });
    let models = models(&server.url);
    for requests in [2, 2, 1, 1] {
        assert_eq!(ask(&models).unwrap().requests, requests);
    }
    assert_eq!(super::rung(&server.asked()[4]), "object");
    // Another schema has its own experience to make.
    ask_about(&models, &ontologies::many_options(2), 20).unwrap_err();
    assert_eq!(super::rung(&server.asked()[6]), "strict");
}

#[test]
fn a_prompt_that_filled_the_context_exactly_is_suspected_of_having_lost_its_front() {
    let said = |tokens: u64| {
        let choice = json!({ "message": { "content": "What picture?" }, "finish_reason": "stop" });
        Played::status(200, json!({ "choices": [choice], "usage": { "prompt_tokens": tokens, "completion_tokens": 9 } }))
    };
    for (tokens, suspected) in [(4096, true), (2048, true), (1024, false), (4095, false), (512, false)] {
        let error = fails_after(vec![said(tokens)], 2).to_string();
        assert_eq!(error.contains("context is probably too short"), suspected, "{error}");
    }
}

#[test]
fn a_cut_off_answer_gets_one_larger_try() {
    let cut = || Played::message(json!({ "content": "{\"scene_description\": \"A cat on" }), "length");
    let asked = good_after(vec![cut(), Played::says(GOOD)], 2);
    assert_eq!(asked[1].body["max_completion_tokens"], 400);
    let error = fails_after(vec![cut()], 2);
    assert!(error.to_string().contains("cut off at 400 tokens: raise max_answer_tokens"), "{error}");
}

#[test]
fn refusals_and_filters_are_final() {
    for (play, cause) in [
        (Played::message(json!({ "content": null, "refusal": "I can't help with that." }), "stop"), "refusal"),
        (Played::message(json!({ "content": "{\"scene_desc" }), "content_filter"), "content_filter"),
        (
            Played::error(
                400,
                "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
                json!("prompt"),
                json!("content_filter"),
            ),
            "content_filter",
        ),
    ] {
        match fails_after(vec![play], 1) {
            Error::Refusal { cause: found, .. } => assert_eq!(found, cause),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn archived_attributes_and_options_are_not_asked() {
    let mut ontology = ontologies::driving();
    ontology[1].attribute.archived = true;
    let AttributeKind::Radio(choices) = &mut ontology[0].attribute.kind else { panic!() };
    choices[1].archived = true;
    let server = Server::start(|_, _| Played::says(r#"{"weather": "Rain", "number_of_cars": 1, "note": null}"#));
    let error = ask_about(&models(&server.url), &ontology, 10).unwrap_err();
    assert!(matches!(&error, Error::Invalid { cause, .. } if cause == "weather is not one of the listed choices"), "{error}");
    let schema = &server.asked()[0].body["response_format"]["json_schema"]["schema"];
    assert_eq!(schema["properties"].as_object().unwrap().keys().collect::<Vec<_>>(), ["weather", "snow_depth", "number_of_cars", "note"]);

    ontology.truncate(2);
    ontology.remove(0);
    let error = ask_about(&models(&server.url), &ontology, 10).unwrap_err();
    assert!(matches!(&error, Error::Unaskable(cause) if cause.contains("Hazards")), "{error}");
}

#[test]
fn types_are_bent_only_where_nothing_is_lost() {
    let answer = |said: Value| {
        let server = Server::start(move |_, _| Played::says(&said.to_string()));
        ask_about(&models(&server.url), &ontologies::driving(), 10)
    };
    let kind = answer(json!({ "weather": " sunny ", "hazards": "ice", "number_of_cars": " 3 ", "note": 5, "confidence": 0.9 })).unwrap();
    assert_eq!(kind.answers.len(), 4);
    assert_eq!(kind.answers[2].attributes[0].value, AnswerValue::Number(3.into()));
    let lazy = answer(json!({ "weather": ["Sunny"], "hazards": [], "number_of_cars": "null" })).unwrap();
    assert_eq!(lazy.left_out, ["Number of cars", "Note"]);
    for (wrong, cause) in [
        (json!({ "weather": "Foggy" }), "weather is not one of the listed choices"),
        (json!({ "weather": ["Sunny", "Rain"] }), "weather is not one single choice"),
        (json!({ "weather": "Sunny", "hazards": ["Ice", "Meteor"] }), "hazards is not one of the listed choices"),
        (json!({ "weather": "Sunny", "number_of_cars": "three" }), "number_of_cars is not a number"),
        (json!({ "weather": "Sunny", "number_of_cars": true }), "number_of_cars is not a number"),
        (json!({ "weather": "Sunny", "note": { "a": 1 } }), "note is not a text"),
        (json!({ "note": "hello" }), "weather is missing"),
    ] {
        match answer(wrong).unwrap_err() {
            Error::Invalid { cause: found, .. } => assert_eq!(found, cause),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn what_hangs_under_an_option_that_was_not_chosen_is_not_judged() {
    let said = json!({ "weather": "Sunny", "rain_intensity": "Torrential", "snow_depth": "much", "number_of_cars": 1 });
    let server = Server::start(move |_, _| Played::says(&said.to_string()));
    let reply = ask_about(&models(&server.url), &ontologies::driving(), 10).unwrap();
    assert_eq!((reply.requests, reply.answers.len()), (1, 2));
}

#[test]
fn a_number_must_be_one_of_those_in_the_list() {
    for (said, fits) in
        [(json!(1), true), (json!(3_000), true), (json!("7"), true), (json!(0), false), (json!(3_001), false), (json!(-1), false)]
    {
        let server = Server::start(move |_, _| Played::says(&json!({ "species": said }).to_string()));
        match ask_about(&models(&server.url), &ontologies::many_options(3_000), 10) {
            Ok(reply) => assert!(fits && reply.answers.len() == 1, "{reply:?}"),
            Err(error) => assert!(!fits && error.to_string().contains("is not a number from 1 to 3000"), "{error}"),
        }
    }
}

#[test]
fn characters_that_do_not_show_are_left_out_of_a_text() {
    let said = json!({ "scene_description": " A\u{0} cat\u{7}\n on a\tmat. " });
    let server = Server::start(move |_, _| Played::says(&said.to_string()));
    assert_eq!(super::text_of(&ask(&models(&server.url)).unwrap()), "A cat\n on a\tmat.");
}

#[test]
fn a_title_in_place_of_a_key_counts_only_where_it_can_mean_one_question() {
    let question = |hash: &str| ontologies::classification(ontologies::attribute(hash, "Remark", AttributeKind::Text));
    for (ontology, fits) in [(vec![question("one")], true), (vec![question("one"), question("two")], false)] {
        let server = Server::start(|_, _| Played::says(r#"{"Remark ": "a cat"}"#));
        assert_eq!(ask_about(&models(&server.url), &ontology, 10).is_ok(), fits);
    }
}

#[test]
fn the_preview_is_what_would_be_sent() {
    let server = Server::start(|_, _| Played::says(GOOD));
    let models = models(&server.url);
    ask(&models).unwrap();
    let ontology = ontologies::description();
    let topics: Vec<Topic<'_>> = ontology.iter().map(Topic::from).collect();
    let project: ProjectHash = PROJECT.parse().unwrap();
    let question = Question {
        project: &project,
        project_title: "Streets of Zürich",
        data_title: "drive-7.mp4",
        frame: Some(42),
        instructions: "Be brief.",
        template: "",
        language: "",
        topics: &topics,
        pictures: &[],
    };
    let preview = models.preview("", &question).unwrap();
    let mut sent = server.asked()[0].body.clone();
    sent["messages"][1]["content"].as_array_mut().unwrap().truncate(1);
    assert_eq!(preview["request"], sent);
    assert_eq!(preview["url"], format!("{}/chat/completions", server.url));
    assert_eq!(preview["schema"], sent["response_format"]["json_schema"]["schema"]);
    assert!(models.preview("nowhere", &question).unwrap_err().to_string().contains("[models.nowhere] is not configured"));
}
