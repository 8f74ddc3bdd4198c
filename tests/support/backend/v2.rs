//! The REST calls: message signatures, real HTTP status codes, `{"message"}` or `{"detail"}` as error body.

use serde_json::{Value, json};

use super::auth::{self, Refused};
use super::store::{Content, Item, Store};
use super::{Inner, uploads};
use crate::support::server::{Reply, Request};

pub(super) fn refused(status: u16, message: &str) -> Reply {
    Reply::json(status, &json!({"message": message}))
}

pub(super) fn answer(inner: &Inner, request: &Request) -> Reply {
    let mut store = inner.store.lock().unwrap();
    let key = match auth::v2(&store, request, &inner.behaviour()) {
        Ok(key) => key,
        Err(Refused::UnknownKey) => return refused(401, "SSH key not found"),
        Err(Refused::Bad(reason)) => return refused(401, &reason),
    };
    let parts: Vec<&str> = request.path.trim_start_matches("/v2/public/").split('/').collect();
    match (request.method.as_str(), parts.as_slice()) {
        ("GET", ["projects", hash]) => project(inner, &store, &key, hash),
        ("GET", ["ontologies", hash]) => ontology(&store, &key, hash),
        ("GET", ["storage", "items", uuid]) => match find(&store, &key, uuid) {
            Some((item, image)) => Reply::json(200, &storage_item(inner, item, image, signed(request))),
            None => refused(403, "You do not have access to this item, or it does not exist"),
        },
        ("GET", ["storage", "folders", _, "items", uuid, "child-items"]) => match find(&store, &key, uuid) {
            Some((item, None)) => {
                let count = if let Content::Group(images) = &item.content { images.len() } else { 0 };
                let children: Vec<Value> = (0..count).map(|at| storage_item(inner, item, Some(at), signed(request))).collect();
                Reply::json(200, &json!({"results": children, "nextPageToken": null}))
            }
            _ => refused(403, "You do not have access to this item, or it does not exist"),
        },
        (method, ["storage", "folders", folder, rest @ ..]) => uploads::answer(inner, &mut store, request, (method, folder, rest)),
        ("POST", ["storage", "items", "get-bulk"]) => bulk(inner, &store, &key, &request.body),
        (_, ["projects" | "ontologies" | "storage", ..]) => Reply::json(405, &json!({"detail": "Method Not Allowed"})),
        _ => Reply::json(404, &json!({"detail": "Not Found"})),
    }
}

/// The SDK writes `True`, others `true`.
fn signed(request: &Request) -> bool {
    ["signUrl", "signUrls"].iter().any(|name| request.query(name).is_some_and(|value| value.eq_ignore_ascii_case("true")))
}

fn project(inner: &Inner, store: &Store, key: &str, hash: &str) -> Reply {
    if !store.may_open(key, hash) {
        return refused(403, "You do not have access to this project");
    }
    let project = &store.projects[hash];
    let editor = if inner.behaviour().editor_ontology { store.ontologies[&project.ontology].clone() } else { json!({}) };
    Reply::json(
        200,
        &json!({
            "projectHash": project.hash,
            "projectType": "workflow",
            "status": "inProgress",
            "title": project.title,
            "description": "",
            "createdAt": "2026-01-05T09:00:00.000000",
            "creatorEmail": "owner@example.com",
            "lastEditedAt": "2026-01-05T09:00:00.000000",
            "ontologyHash": project.ontology,
            "editorOntology": editor,
            "userRole": 0,
            "sourceProjects": null,
            "workflowManagerUuid": null,
            "workflow": {"stages": [
                {"stageType": "ANNOTATION", "uuid": "3a1ca1bb-6f3f-4d1c-9f0a-0a6b4f4b8d11", "title": "Annotate 1"},
                {"stageType": "DONE", "uuid": "8d4e6a0a-4a83-4b5f-8b8e-5cf6d3a0c1d2", "title": "Complete"},
            ]},
        }),
    )
}

fn ontology(store: &Store, key: &str, hash: &str) -> Reply {
    let reader = store.projects.values().any(|project| project.ontology == hash && store.may_open(key, &project.hash));
    let Some(editor) = store.ontologies.get(hash).filter(|_| reader) else {
        return refused(403, "You do not have access to this ontology");
    };
    Reply::json(
        200,
        &json!({
            "ontologyUuid": hash,
            "title": "Emulated ontology",
            "description": "",
            "editor": editor,
            "createdAt": "2026-01-05T09:00:00.000000",
            "lastEditedAt": "2026-01-05T09:00:00.000000",
            "userRole": 0,
        }),
    )
}

/// A storage item by its UUID: a data item, or the image of a group at a position.
fn find<'a>(store: &'a Store, key: &str, uuid: &str) -> Option<(&'a Item, Option<usize>)> {
    let mine = store.items.values().filter(|item| store.may_open(key, &item.project));
    for item in mine {
        if item.backing == uuid {
            return Some((item, None));
        }
        if let Content::Group(images) = &item.content
            && let Some(at) = images.iter().position(|(image, ..)| image == uuid)
        {
            return Some((item, Some(at)));
        }
    }
    store.uploads.get(uuid).map(|item| (item, None))
}

fn bulk(inner: &Inner, store: &Store, key: &str, body: &[u8]) -> Reply {
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        return Reply::json(422, &json!({"detail": [{"type": "json_invalid", "loc": ["body"], "msg": "JSON decode error"}]}));
    };
    let mut results = Vec::new();
    for uuid in body["itemUuids"].as_array().into_iter().flatten() {
        match find(store, key, uuid.as_str().unwrap_or_default()) {
            Some((item, image)) => results.push(storage_item(inner, item, image, body["signUrls"] == true)),
            None => return refused(403, "You do not have access to one of the items, or it does not exist"),
        }
    }
    Reply::json(200, &json!({"results": results, "nextPageToken": null}))
}

pub(super) fn storage_item(inner: &Inner, item: &Item, image: Option<usize>, sign: bool) -> Value {
    // uuid, name, kind, file, mime, width, height
    let (uuid, name, kind, still) = match (&item.content, image) {
        (Content::Group(images), Some(at)) => (&images[at].0, &images[at].1, "image", Some(&images[at].2)),
        (Content::Group(_), None) => (&item.backing, &item.title, "imageGroup", None),
        (Content::Video(_), _) => (&item.backing, &item.title, "video", None),
        (Content::Image(still), _) => (&item.backing, &item.title, "image", Some(still)),
        (Content::Other(_, still), _) => (&item.backing, &item.title, "audio", Some(still)),
    };
    let clip = if let Content::Video(clip) = &item.content { Some(clip) } else { None };
    let file = still.map(|still| &still.file).or(clip.map(|clip| &clip.file));
    let link = file.filter(|_| sign).map(|file| inner.sign_link(file));
    json!({
        "uuid": uuid,
        "parent": item.folder,
        "itemType": kind,
        "name": name,
        "description": "",
        "clientMetadata": item.metadata.to_string(),
        "owner": "owner@example.com",
        "createdAt": "2026-01-05T09:00:00.000000",
        "lastEditedAt": "2026-01-05T09:00:00.000000",
        "isTombstone": false,
        "isPlaceholder": item.is_placeholder(),
        "backedDataUnitsCount": 1,
        "storageLocation": "encord",
        "integrationHash": null,
        "url": file,
        "signedUrl": link,
        "fileSize": null,
        "mimeType": still.map(|still| &still.mime).or(clip.map(|clip| &clip.mime)),
        "duration": clip.map(|clip| clip.frames as f64 / clip.fps),
        "fps": clip.map(|clip| clip.fps),
        "height": still.map(|still| still.height).or(clip.map(|clip| clip.height)),
        "width": still.map(|still| still.width).or(clip.map(|clip| clip.width)),
        "frameCount": clip.map(|clip| clip.frames),
        "dicomInstanceUid": null,
        "dicomStudyUid": null,
        "dicomSeriesUid": null,
        "audioCodec": null,
        "audioSampleRate": null,
        "audioBitDepth": null,
        "audioNumChannels": null,
    })
}
