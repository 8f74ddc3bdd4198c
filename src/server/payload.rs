//! What the label editor sends: the body of a trigger, read strictly where a field is ours and blindly where it is not.

use hyper::HeaderMap;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde::Deserialize;
use serde_json::Value;

use crate::ids::{DataHash, ProjectHash};

/// Objects that one trigger may name.
const MAX_OBJECTS: usize = 1000;
/// Characters of one object hash; Encord's have 8.
const MAX_OBJECT_HASH: usize = 64;

/// A well-formed body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Payload {
    /// A press of the button.
    Trigger(Ask),
    /// A notification of Encord's backend, which has its own envelope.
    Event(Event),
}

/// What a trigger is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) project: ProjectHash,
    pub(super) data: DataHash,
    pub(super) frame: u64,
    pub(super) objects: Vec<String>,
}

/// A notification's kind and the version of its envelope, as the JSON that stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) kind: String,
    pub(super) version: Option<String>,
}

/// Why a body is refused: names the field, for the person in the label editor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Malformed(String);

/// The fields looked at; every other field is skipped. A key that comes twice is refused.
#[derive(Deserialize)]
struct Fields {
    #[serde(rename = "projectHash")]
    project_hash: Option<Value>,
    #[serde(rename = "dataHash")]
    data_hash: Option<Value>,
    frame: Option<Value>,
    #[serde(rename = "objectHashes")]
    object_hashes: Option<Value>,
    event_type: Option<Value>,
    version: Option<Value>,
}

/// Whether the body is declared as plain JSON: `application/json`, parameters such as `charset` aside, not compressed.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(declared), None) = (types.next(), types.next()) else { return false };
    let essence = declared.to_str().map(|text| text.split(';').next().unwrap_or_default().trim()).unwrap_or_default();
    let plain = headers.get_all(CONTENT_ENCODING).iter().all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    essence.eq_ignore_ascii_case("application/json") && plain
}

/// Reads a body.
pub(super) fn parse(body: &[u8]) -> Result<Payload, Malformed> {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    let invalid = |wrong: serde_json::Error| Malformed(format!("the body is not valid JSON: {}", plainly(&wrong)));
    if first.is_some_and(|&byte| byte != b'{') {
        // Told apart here, because serde_json quotes all of what stands in the place of an object.
        serde_json::from_slice::<serde::de::IgnoredAny>(body).map_err(invalid)?;
        return Err(Malformed("the body is JSON, but not an object with projectHash and dataHash".into()));
    }
    let fields: Fields = serde_json::from_slice(body).map_err(invalid)?;
    if let (None, Some(Value::String(kind))) = (&fields.project_hash, &fields.event_type) {
        let kind = kind.chars().take(80).collect();
        return Ok(Payload::Event(Event { kind, version: fields.version.map(|version| version.to_string().chars().take(20).collect()) }));
    }
    Ok(Payload::Trigger(Ask {
        project: uuid("projectHash", fields.project_hash)?,
        data: uuid("dataHash", fields.data_hash)?,
        frame: frame(fields.frame)?,
        objects: objects(fields.object_hashes)?,
    }))
}

/// serde_json's words quote the input in the case of a duplicate key only, where the name is one of ours.
fn plainly(wrong: &serde_json::Error) -> String {
    if wrong.is_eof() { "it ends too early".into() } else { wrong.to_string() }
}

fn uuid<T: std::str::FromStr<Err = crate::ids::NotAUuid>>(field: &str, value: Option<Value>) -> Result<T, Malformed> {
    match value {
        None | Some(Value::Null) => Err(Malformed(format!("{field} is missing"))),
        Some(Value::String(text)) => text.parse().map_err(|wrong| Malformed(format!("{field}: {wrong}"))),
        Some(other) => Err(Malformed(format!("{field} must be a string, not {}", kind_of(&other)))),
    }
}

fn frame(value: Option<Value>) -> Result<u64, Malformed> {
    match value {
        None | Some(Value::Null) => Ok(0),
        Some(Value::Number(number)) => number.as_u64().ok_or_else(|| Malformed("frame must be a whole number from 0 on".into())),
        Some(other) => Err(Malformed(format!("frame must be a whole number from 0 on, not {}", kind_of(&other)))),
    }
}

fn objects(value: Option<Value>) -> Result<Vec<String>, Malformed> {
    let list = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(other) => return Err(Malformed(format!("objectHashes must be a list of strings, not {}", kind_of(&other)))),
    };
    if list.len() > MAX_OBJECTS {
        return Err(Malformed(format!("objectHashes names {} objects; at most {MAX_OBJECTS} are taken", list.len())));
    }
    list.into_iter()
        .enumerate()
        .map(|(place, item)| match item {
            Value::String(hash) if !hash.is_empty() && hash.chars().count() <= MAX_OBJECT_HASH => Ok(hash),
            Value::String(_) => Err(Malformed(format!("objectHashes[{place}] must have 1 to {MAX_OBJECT_HASH} characters"))),
            other => Err(Malformed(format!("objectHashes[{place}] must be a string, not {}", kind_of(&other)))),
        })
        .collect()
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const IDS: &str = r#""projectHash":"027e0c65-c53f-426d-9f02-04fafe8bd80e","dataHash":"038ed92d-dbe8-4991-a3aa-6ede35d6e62d""#;

    fn ask(rest: &str) -> Result<Ask, String> {
        match parse(format!("{{{IDS}{rest}}}").as_bytes()) {
            Ok(Payload::Trigger(ask)) => Ok(ask),
            Ok(other) => panic!("{other:?}"),
            Err(wrong) => Err(wrong.to_string()),
        }
    }

    #[test]
    fn the_editors_body_is_read_and_foreign_fields_are_skipped() {
        let read = ask(r#","frame":103,"objectHashes":["a1b2c3d4"],"extra":{"deep":[1]},"anything":null"#).unwrap();
        assert_eq!((read.frame, read.objects), (103, vec!["a1b2c3d4".to_string()]));
        assert_eq!(read.project.as_str(), "027e0c65-c53f-426d-9f02-04fafe8bd80e");
    }

    #[test]
    fn a_missing_or_null_frame_is_the_first() {
        assert_eq!(ask("").unwrap().frame, 0);
        assert_eq!(ask(r#","frame":null"#).unwrap().frame, 0);
        assert_eq!(ask(&format!(r#","frame":{}"#, u64::MAX)).unwrap().frame, u64::MAX);
    }

    #[test]
    fn a_wrong_field_is_named() {
        for wrong in ["true", "\"10\"", "-1", "1e308", "18446744073709551616", "1.5", "10.0", "[]", "{}"] {
            assert!(ask(&format!(r#","frame":{wrong}"#)).unwrap_err().starts_with("frame"), "{wrong}");
        }
        for wrong in ["\"a\"", "[1]", "[\"\"]", "{}", "true"] {
            assert!(ask(&format!(r#","objectHashes":{wrong}"#)).unwrap_err().starts_with("objectHashes"), "{wrong}");
        }
        let many = vec!["\"a\""; 1001].join(",");
        assert!(ask(&format!(r#","objectHashes":[{many}]"#)).unwrap_err().contains("1001"));
        for (body, field) in [
            ("{}", "projectHash"),
            (r#"{"projectHash":null}"#, "projectHash"),
            (r#"{"projectHash":7}"#, "projectHash"),
            (r#"{"projectHash":"p","dataHash":"d"}"#, "projectHash"),
            (r#"{"projectHash":"027e0c65-c53f-426d-9f02-04fafe8bd80e","dataHash":"d"}"#, "dataHash"),
        ] {
            assert!(parse(body.as_bytes()).unwrap_err().to_string().starts_with(field), "{body}");
        }
    }

    #[test]
    fn what_is_not_a_json_object_is_refused() {
        let deep = "[".repeat(60_000);
        let nested = format!(r#"{{{IDS},"x":{deep}"#);
        let twice = format!(r#"{{{IDS},"frame":1,"frame":2}}"#);
        for body in ["", " ", "[]", "7", "null", "{", "{\"frame\":}", "\u{feff}{}", &deep, &nested, &twice, "{} {}"] {
            assert!(parse(body.as_bytes()).is_err(), "{}", &body[..body.len().min(40)]);
        }
        assert!(parse(b"{\"projectHash\":\"\xff\"}").is_err());
        assert!(parse(b"[]").unwrap_err().to_string().contains("not an object"));
        let quoted = parse(b"\"what a stranger wrote\": ").unwrap_err().to_string();
        assert!(quoted.starts_with("the body is not valid JSON") && !quoted.contains("stranger"), "{quoted}");
    }

    #[test]
    fn a_notification_is_told_from_a_trigger() {
        let body = br#"{"uid":"x","version":1,"event_type":"agent_stage_work_available_event","payload":{"project_hash":"p"}}"#;
        let event = Event { kind: "agent_stage_work_available_event".into(), version: Some("1".into()) };
        assert_eq!(parse(body), Ok(Payload::Event(event)));
        for (version, known) in [("1", true), ("2", false), ("\"2\"", false), ("1.5", false), ("-1", false), ("[]", false), ("null", true)]
        {
            let Ok(Payload::Event(event)) = parse(format!("{{\"version\":{version},\"event_type\":\"e\"}}").as_bytes()) else { panic!() };
            assert_eq!(event.version.as_deref().is_none_or(|version| version == "1"), known, "{version}");
        }
    }

    #[test]
    fn only_plain_json_counts_as_json() {
        for (declared, json) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/json;charset=UTF-8", true),
            ("application/jsonx", false),
            ("application/json, text/plain", false),
            ("text/plain", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(declared))]);
            assert_eq!(is_json(&headers), json, "{declared:?}");
        }
        let mut packed = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        packed.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert!(!is_json(&packed));
        assert!(!is_json(&HeaderMap::new()));
        let mut twice = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        twice.append(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        assert!(!is_json(&twice));
    }

    #[test]
    fn as_many_objects_as_a_person_can_select_and_no_more() {
        let named = |count: usize, hash: &str| ask(&format!(",\"objectHashes\":[{}]", vec![format!("\"{hash}\""); count].join(",")));
        assert_eq!(named(MAX_OBJECTS, "a1b2c3d4").unwrap().objects.len(), 1000);
        assert!(named(MAX_OBJECTS + 1, "a1b2c3d4").unwrap_err().contains("1001"));
        assert!(named(1, &"ä".repeat(64)).is_ok());
        assert!(named(1, &"a".repeat(65)).unwrap_err().contains("objectHashes[0]"));
    }

    proptest! {
        #[test]
        fn no_body_makes_the_reader_panic(body in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&body);
        }
    }
}
