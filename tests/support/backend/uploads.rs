//! New data: a place in a storage folder, its registration, and the dataset that it is put into.

use serde_json::{Map, Value, json};

use super::store::{Content, Item, Still, Store};
use super::v1::{Outcome, Refusal};
use super::v2::{refused, storage_item};
use super::{Call, Inner};
use crate::support::server::{Reply, Request};

/// What became of a registration, and how often it still says that it is pending.
pub struct Job {
    pending: usize,
    /// The item's UUID and name, or why it was not taken.
    outcome: Result<(String, String), String>,
}

impl Store {
    /// A folder that may be uploaded to.
    pub fn add_folder(&mut self) -> String {
        let folder = self.uuid();
        self.folders.push(folder.clone());
        folder
    }

    /// A dataset whose data items are those of a project.
    pub fn add_dataset(&mut self, project: &str) -> String {
        let dataset = self.uuid();
        self.datasets.insert(dataset.clone(), project.to_owned());
        dataset
    }

    /// The data items of a dataset, in the order in which they came.
    pub fn data_of(&self, dataset: &str) -> Vec<&Item> {
        self.items.values().filter(|item| item.dataset == dataset).collect()
    }

    fn placeholder(&mut self, folder: &str) -> String {
        let uuid = self.uuid();
        let file = format!("/cord-data/{folder}/{uuid}");
        let item = Item {
            hash: String::new(),
            project: String::new(),
            dataset: String::new(),
            title: String::new(),
            content: Content::Image(Still { file, mime: String::new(), width: 0, height: 0 }),
            backing: uuid.clone(),
            folder: folder.to_owned(),
            metadata: json!({}),
            label: None,
            listed: 1,
            listing_extra: Map::new(),
            row_extra: Map::new(),
        };
        self.uploads.insert(uuid.clone(), item);
        uuid
    }

    /// Makes a placeholder the image whose bytes have been put to its place: once.
    fn fill(&mut self, folder: &str, image: &Value) -> Result<(String, String), String> {
        let uuid = image["placeholderItemUuid"].as_str().unwrap_or_default();
        let item = self.uploads.get_mut(uuid).filter(|item| item.folder == folder).ok_or("there is no such placeholder")?;
        if !item.is_placeholder() {
            return Err("the placeholder is taken".into());
        }
        let Content::Image(still) = &mut item.content else { return Err("not an image".into()) };
        let file = self.files.get(&still.file).ok_or("nothing was uploaded")?;
        let reader = image::ImageReader::new(std::io::Cursor::new(&file.bytes)).with_guessed_format().map_err(|error| error.to_string())?;
        (still.width, still.height) = reader.into_dimensions().map_err(|error| error.to_string())?;
        still.mime.clone_from(&file.mime);
        item.title = image["title"].as_str().unwrap_or("untitled").to_owned();
        item.metadata = image["clientMetadata"].clone();
        Ok((uuid.to_owned(), item.title.clone()))
    }

    /// Puts a storage item into a dataset; `None` if it is there already.
    fn attach(&mut self, dataset: &str, uuid: &str) -> Result<Option<String>, Refusal> {
        let missing = || Refusal::new(404, "RESOURCE_NOT_FOUND_ERROR");
        let item = self.uploads.get(uuid).filter(|item| !item.is_placeholder()).ok_or_else(missing)?;
        if self.items.values().any(|have| have.dataset == dataset && have.backing == uuid) {
            return Ok(None);
        }
        let item = item.clone();
        let hash = self.uuid();
        let project = self.datasets[dataset].clone();
        self.items.insert(hash.clone(), Item { hash: hash.clone(), project, dataset: dataset.to_owned(), ..item });
        Ok(Some(hash))
    }
}

pub(super) fn kind_of(request: &Request) -> Option<Call> {
    let last: Vec<&str> = request.path.trim_start_matches("/v2/public/storage/folders/").split('/').skip(1).collect();
    match (request.method.as_str(), last.as_slice()) {
        ("POST", ["upload-signed-urls"]) => Some(Call::UploadLink),
        ("POST", ["data-upload-jobs"]) => Some(Call::Register),
        ("GET", ["data-upload-jobs", _]) => Some(Call::UploadJob),
        _ => None,
    }
}

/// A call about a storage folder.
pub(super) fn answer(inner: &Inner, store: &mut Store, request: &Request, (method, folder, rest): (&str, &str, &[&str])) -> Reply {
    if !store.folders.iter().any(|have| have == folder) {
        return refused(403, "You do not have access to this folder, or it does not exist");
    }
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let invalid = |what: &str| Reply::json(422, &json!({"detail": [{"type": "value_error", "loc": ["body"], "msg": what}]}));
    match (method, rest) {
        ("GET", []) => Reply::json(200, &shown_folder(folder)),
        ("GET", ["items"]) => {
            let items = store.uploads.values().filter(|item| item.folder == folder);
            let items: Vec<Value> = items.map(|item| storage_item(inner, item, None, false)).collect();
            Reply::json(200, &json!({"results": items, "nextPageToken": null}))
        }
        ("POST", ["upload-signed-urls"]) if body["itemType"] == "image" => {
            let count = body["count"].as_u64().unwrap_or(0).min(1000);
            let links: Vec<Value> = (0..count).map(|_| store.placeholder(folder)).map(|uuid| link(inner, folder, &uuid)).collect();
            Reply::json(200, &json!({"results": links, "nextPageToken": null}))
        }
        ("POST", ["upload-signed-urls"]) => invalid("itemType is not image: nothing else is emulated"),
        ("POST", ["data-upload-jobs"]) => {
            let Some([image]) = body["dataItems"]["images"].as_array().map(Vec::as_slice) else {
                return invalid("dataItems.images has not one image: nothing else is emulated");
            };
            if !image["objectUrl"].is_string() || image["externalFileType"] != "IMAGE" || body["ignoreErrors"] != false {
                return invalid("objectUrl, externalFileType or ignoreErrors");
            }
            let outcome = store.fill(folder, image);
            let uuid = store.uuid();
            store.jobs.insert(uuid.clone(), Job { pending: inner.behaviour().pending_polls, outcome });
            Reply::json(200, &json!(uuid))
        }
        ("GET", ["data-upload-jobs", uuid]) => match store.jobs.get_mut(*uuid) {
            Some(_) if request.query("timeoutSeconds").and_then(|text| text.parse::<u64>().ok()).is_none() => invalid("timeoutSeconds"),
            Some(job) => Reply::json(200, &job.shown()),
            None => refused(404, "There is no such job"),
        },
        _ => Reply::json(405, &json!({"detail": "Method Not Allowed"})),
    }
}

impl Job {
    fn shown(&mut self) -> Value {
        let is_pending = self.pending > 0;
        self.pending = self.pending.saturating_sub(1);
        let (status, items, errors) = match &self.outcome {
            _ if is_pending => ("PENDING", vec![], vec![]),
            Ok((uuid, name)) => ("DONE", vec![json!({"itemUuid": uuid, "name": name})], vec![]),
            Err(error) => ("ERROR", vec![], vec![error.clone()]),
        };
        json!({
            "status": status,
            "unitsPendingCount": usize::from(is_pending),
            "unitsDoneCount": items.len(),
            "unitsErrorCount": errors.len(),
            "unitsCancelledCount": 0,
            "itemsWithNames": items,
            "errors": errors,
            "unitErrors": [],
            "fileName": null,
        })
    }
}

fn link(inner: &Inner, folder: &str, uuid: &str) -> Value {
    json!({
        "itemUuid": uuid,
        "objectKey": format!("{folder}/{uuid}"),
        "signedUrl": inner.sign_upload(&format!("/cord-data/{folder}/{uuid}")),
        "uploadHeaders": {"x-ms-blob-type": "BlockBlob"},
    })
}

fn shown_folder(uuid: &str) -> Value {
    json!({
        "uuid": uuid,
        "parent": null,
        "name": "Station",
        "description": "",
        "clientMetadata": null,
        "owner": "owner@example.com",
        "createdAt": "2026-01-05T09:00:00.000000",
        "lastEditedAt": "2026-01-05T09:00:00.000000",
        "userRole": "admin",
        "syncedDatasetHash": null,
        "pathToRoot": [],
    })
}

/// A v1 call about a dataset.
pub(super) fn dataset(store: &mut Store, key: &str, hash: &str, query: (&str, &str, &Value)) -> Outcome {
    let project = store.datasets.get(hash).cloned().unwrap_or_default();
    if !store.may_open(key, &project) {
        return Err(Refusal::new(403, "AUTHORISATION_ERROR"));
    }
    let (kind, method, payload) = query;
    match (kind, method) {
        ("datasetlinkitems", "POST") => {
            if payload["duplicates_behavior"] != "SKIP" {
                return Err(Refusal::because(400, "INVALID_ARGUMENTS_ERROR", "only SKIP is emulated"));
            }
            let mut rows = Vec::new();
            for uuid in payload["item_uuids"].as_array().into_iter().flatten() {
                if let Some(data) = store.attach(hash, uuid.as_str().unwrap_or_default())? {
                    rows.push(data_row(&store.items[&data]));
                }
            }
            Ok(Value::Array(rows))
        }
        ("datarows", "GET") => {
            let titled = |item: &&Item| payload["title_eq"].as_str().is_none_or(|title| title == item.title);
            Ok(store.data_of(hash).into_iter().filter(titled).map(data_row).collect())
        }
        ("dataset", "GET") => {
            let rows: Vec<Value> = store.data_of(hash).into_iter().map(data_row).collect();
            Ok(json!({"title": "Station", "description": "", "dataset_type": "CORD_STORAGE", "dataset_hash": hash, "data_rows": rows}))
        }
        _ => Err(Refusal::new(405, "METHOD_NOT_ALLOWED_ERROR")),
    }
}

fn data_row(item: &Item) -> Value {
    let Content::Image(still) = &item.content else { return Value::Null };
    json!({
        "data_hash": item.hash,
        "data_title": item.title,
        "data_type": item.data_type().to_ascii_uppercase(),
        "created_at": "2026-01-05 09:00:00",
        "last_edited_at": "2026-01-05 09:00:00",
        "width": still.width,
        "height": still.height,
        "file_link": still.file,
        "file_size": null,
        "file_type": still.mime,
        "storage_location": 0,
        "client_metadata": item.metadata,
        "frames_per_second": null,
        "duration": null,
        "backing_item_uuid": item.backing,
    })
}
