//! The legacy calls: always POST, the verb inside the body, errors inside an HTTP 200 envelope.

use serde_json::{Value, json};

use super::auth::{self, Refused};
use super::store::{Content, Store};
use super::{Inner, check, rows, uploads};
use crate::support::server::{Reply, Request};

/// An error of the envelope: status, code, payload.
pub(super) struct Refusal(pub(super) u16, pub(super) &'static str, pub(super) Value);

impl Refusal {
    pub(super) fn new(status: u16, code: &'static str) -> Self {
        Self(status, code, Value::Null)
    }

    pub(super) fn because(status: u16, code: &'static str, reason: impl Into<String>) -> Self {
        Self(status, code, Value::String(reason.into()))
    }
}

pub(super) type Outcome = Result<Value, Refusal>;

pub(super) fn answer(inner: &Inner, request: &Request) -> Reply {
    if request.method != "POST" {
        return Reply::json(405, &json!({"detail": "Method Not Allowed"}));
    }
    match respond(inner, request) {
        Ok(response) => Reply::json(200, &json!({"status": 200, "response": response})),
        Err(Refusal(status, code, payload)) => {
            let http = if inner.behaviour().http_status_of_errors { status } else { 200 };
            Reply::json(http, &json!({"status": status, "response": [code], "payload": payload}))
        }
    }
}

fn respond(inner: &Inner, request: &Request) -> Outcome {
    let mut store = inner.store.lock().unwrap();
    let key = auth::v1(&store, request).map_err(|refused| match refused {
        Refused::UnknownKey => Refusal::new(401, "SSH_KEY_NOT_FOUND_ERROR"),
        Refused::Bad(reason) => Refusal::because(401, "AUTHENTICATION_ERROR", reason),
    })?;
    let invalid = |reason: &str| Refusal::because(400, "INVALID_ARGUMENTS_ERROR", reason);
    if !request.header("content-type").is_some_and(|kind| kind.starts_with("application/json")) {
        return Err(invalid("Content-Type is not application/json"));
    }
    let body: Value = serde_json::from_slice(&request.body).map_err(|error| invalid(&error.to_string()))?;
    let kind = body["query_type"].as_str().ok_or_else(|| invalid("query_type is missing"))?;
    let method = body["query_method"].as_str().ok_or_else(|| invalid("query_method is missing"))?;
    let values = body["values"].as_object().ok_or_else(|| invalid("values is missing"))?;
    let (Some(uid), Some(payload)) = (values.get("uid"), values.get("payload")) else {
        return Err(invalid("values needs uid and payload, null where unused"));
    };
    // Every call known here is about a project or a dataset; the headers say which.
    let resource = request.header("resourceid").unwrap_or_default();
    let project = match request.header("resourcetype") {
        Some("project") => resource,
        Some("dataset") => return uploads::dataset(&mut store, &key, resource, (kind, method, payload)),
        other => return Err(invalid(&format!("ResourceType is {other:?}, neither project nor dataset"))),
    };
    if !store.may_open(&key, project) {
        return Err(Refusal::new(403, "AUTHORISATION_ERROR"));
    }
    let scope = Scope { inner, project, user: store.keys[&key].clone() };
    match (kind, method) {
        ("labelrowmetadata", "GET") => list(&store, &scope, payload),
        ("labelrow", "PUT") => create(&mut store, &scope, uid, payload),
        ("labelrow", "GET") => get(&store, &scope, uid, payload),
        ("labelrow", "POST") => save(&mut store, &scope, uid, payload),
        ("datasetdata", "GET") => links(&store, &scope, uid),
        _ => Err(Refusal::new(405, "METHOD_NOT_ALLOWED_ERROR")),
    }
}

struct Scope<'a> {
    inner: &'a Inner,
    project: &'a str,
    user: String,
}

/// The uid as one or several hashes; `true` when the answer is to be a list.
fn hashes(uid: &Value, payload: &Value) -> Result<(Vec<String>, bool), Refusal> {
    let invalid = |reason: &str| Refusal::because(400, "INVALID_ARGUMENTS_ERROR", reason);
    match uid {
        Value::String(hash) => Ok((vec![hash.clone()], false)),
        Value::Array(list) if payload["multi_request"] == true => {
            let hashes: Option<Vec<String>> = list.iter().map(|hash| hash.as_str().map(str::to_owned)).collect();
            let mut hashes = hashes.ok_or_else(|| invalid("uid is not a list of strings"))?;
            if hashes.len() > 1000 {
                return Err(invalid("more than 1000 hashes"));
            }
            let mut seen = std::collections::HashSet::new();
            hashes.retain(|hash| seen.insert(hash.clone()));
            // In any order: readers must match by hash.
            hashes.reverse();
            Ok((hashes, true))
        }
        _ => Err(invalid("uid is neither a string nor, with multi_request, a list")),
    }
}

fn several(mut found: Vec<Value>, list: bool) -> Value {
    if list { Value::Array(found) } else { found.pop().unwrap_or(Value::Null) }
}

fn list(store: &Store, scope: &Scope<'_>, payload: &Value) -> Outcome {
    if !payload["branch_name"].is_null() && payload["include_all_label_branches"] == true {
        return Err(Refusal::because(400, "INVALID_ARGUMENTS_ERROR", "branch_name and include_all_label_branches exclude each other"));
    }
    if payload["branch_name"].as_str().is_some_and(|branch| branch != "main") {
        return Ok(json!([]));
    }
    let wanted = |filter: &str, value: Option<&str>| match payload[filter].as_array() {
        None => true,
        Some(list) => list.iter().any(|entry| entry.as_str() == value),
    };
    let mut entries = Vec::new();
    for item in store.items.values().filter(|item| item.project == scope.project) {
        let shown = item.label.is_some() || payload["include_uninitialised_labels"] == true;
        let titled = payload["data_title_eq"].as_str().is_none_or(|title| title == item.title);
        if shown && titled && wanted("data_hashes", Some(&item.hash)) && wanted("label_hashes", item.label.as_deref()) {
            let entry = rows::listed(item, store.row_of(&item.hash));
            entries.extend(std::iter::repeat_n(entry, item.listed));
        }
    }
    Ok(Value::Array(entries))
}

fn create(store: &mut Store, scope: &Scope<'_>, uid: &Value, payload: &Value) -> Outcome {
    let (hashes, list) = hashes(uid, payload)?;
    let behaviour = scope.inner.behaviour();
    let mut made = Vec::new();
    for hash in hashes {
        match store.items.get(&hash) {
            Some(item) if item.project == scope.project => {
                if item.label.is_some() && behaviour.second_create_fails {
                    return Err(Refusal::new(409, "RESOURCE_EXISTS_ERROR"));
                }
            }
            _ => return Err(Refusal::new(404, "RESOURCE_NOT_FOUND_ERROR")),
        }
        let label = store.open_row(&hash).expect("the item was just seen");
        made.push(shown(store, scope, &label, payload));
    }
    Ok(several(made, list))
}

fn get(store: &Store, scope: &Scope<'_>, uid: &Value, payload: &Value) -> Outcome {
    let (hashes, list) = hashes(uid, payload)?;
    let known = |hash: &String| {
        let data = store.rows.get(hash)?["data_hash"].as_str()?.to_owned();
        store.items.get(&data).filter(|item| item.project == scope.project)
    };
    let found: Vec<Value> = hashes.iter().filter(|hash| known(hash).is_some()).map(|hash| shown(store, scope, hash, payload)).collect();
    if found.is_empty() && !list {
        return Ok(Value::Null);
    }
    Ok(several(found, list))
}

/// A row as it is handed out: filtered and with links, as asked.
fn shown(store: &Store, scope: &Scope<'_>, label: &str, payload: &Value) -> Value {
    let mut row = store.rows[label].clone();
    let item = &store.items[row["data_hash"].as_str().unwrap_or_default()];
    if let Some(kept) = payload["include_classification_feature_hashes"].as_array()
        && let Some(answers) = row["classification_answers"].as_object_mut()
    {
        // Whoever saves what was filtered deletes the rest, here as at the real backend.
        answers.retain(|_, answer| kept.contains(&answer["featureHash"]));
    }
    if payload["include_export_history"] != true {
        row.as_object_mut().expect("rows are objects").remove("export_history");
    }
    if payload["get_signed_url"] == true && scope.inner.behaviour().links_in_rows {
        row = rows::with_links(row, item, |file| scope.inner.sign_link(file));
    }
    row
}

fn save(store: &mut Store, scope: &Scope<'_>, uid: &Value, payload: &Value) -> Outcome {
    let (hashes, list) = hashes(uid, payload)?;
    let labels: Vec<Value> = if list { payload["labels"].as_array().cloned().unwrap_or_default() } else { vec![payload.clone()] };
    if labels.len() != hashes.len() {
        return Err(Refusal::because(400, "INVALID_ARGUMENTS_ERROR", "as many labels as hashes are needed"));
    }
    for label in &labels {
        let hash = label["label_hash"].as_str().filter(|hash| hashes.iter().any(|have| have == hash));
        let stored = hash.and_then(|hash| store.rows.get(hash)).ok_or_else(|| Refusal::new(404, "RESOURCE_NOT_FOUND_ERROR"))?;
        let item = store.items.get(stored["data_hash"].as_str().unwrap_or_default()).filter(|item| item.project == scope.project);
        let item = item.ok_or_else(|| Refusal::new(404, "RESOURCE_NOT_FOUND_ERROR"))?;
        let ontology = store.ontology_of(scope.project).expect("the project was opened");
        let remarks = check::label(label, stored, item, ontology)?;
        let replaced = replacement(label, stored, &scope.user);
        store.rows.insert(hash.unwrap_or_default().to_owned(), replaced);
        store.remarks.extend(remarks);
    }
    Ok(json!([]))
}

/// The payload becomes the row; only what the backend itself owns is kept from before.
fn replacement(label: &Value, stored: &Value, user: &str) -> Value {
    let mut row = label.clone();
    for key in rows::READ_ONLY {
        match stored.get(key) {
            Some(kept) => row[key] = kept.clone(),
            None => drop(row.as_object_mut().expect("checked").remove(key)),
        }
    }
    row["created_at"] = stored["created_at"].clone();
    row["last_edited_at"] = json!(rows::now());
    if let Some(units) = row["data_units"].as_object_mut() {
        for (hash, unit) in units {
            // A link is an answer to a question, never part of the row.
            unit["data_link"] = stored["data_units"][hash]["data_link"].clone();
        }
    }
    if let Some(answers) = row["classification_answers"].as_object_mut() {
        for answer in answers.values_mut() {
            for key in ["createdBy", "lastEditedBy"] {
                if answer[key].is_null() {
                    answer[key] = json!(user);
                }
            }
        }
    }
    row
}

fn links(store: &Store, scope: &Scope<'_>, uid: &Value) -> Outcome {
    let hash = uid["data_hash"].as_str().unwrap_or_default();
    let item = store.items.get(hash).filter(|item| item.project == scope.project);
    let item = item.ok_or_else(|| Refusal::new(404, "RESOURCE_NOT_FOUND_ERROR"))?;
    let link = |file: &str| match uid["get_signed_url"] == true {
        true => json!(scope.inner.sign_link(file)),
        false => json!(file),
    };
    let (video, images) = match &item.content {
        // A single image comes in the slot of the video.
        Content::Image(still) | Content::Other(_, still) => (Some(&still.file), None),
        Content::Video(clip) => (Some(&clip.file), None),
        Content::Group(images) => (None, Some(images)),
    };
    let video =
        video.map(|file| json!({"data_hash": item.hash, "title": item.title, "file_link": link(file), "backing_item_uuid": item.backing}));
    let images = images.map(|images| {
        let entry = |(hash, title, still): &(String, String, super::Still)| {
            json!({"data_hash": item.hash, "image_hash": hash, "title": title, "file_link": link(&still.file)})
        };
        images.iter().map(entry).collect::<Vec<_>>()
    });
    Ok(json!({"data_hash": item.hash, "video": video, "images": images}))
}
