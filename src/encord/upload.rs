//! A picture's way into Encord, by the steps of the SDK: a berth in a storage folder is asked for, filled at the store,
//! registered, and put into a dataset. Each step may be repeated after a crash: a berth is registered once, and a dataset
//! holds a storage item once.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::deadline::Deadline;
use crate::http::{self, Request, Try};
use crate::ids::{DataHash, DatasetHash, FolderUuid, ItemUuid, SignedUrl};

use super::calls::{About, Failed, Method};
use super::client::Encord;
use super::envelope::read_json;
use super::requests::{Kind, Outcome};
use super::{Error, Place};

/// Bound on one try to send the bytes.
const FILL_TIMEOUT: Duration = Duration::from_secs(120);
/// For how long Encord is asked to hold back its answer about a registration, and the pause before it is asked again.
const POLL_SECONDS: u32 = 5;
const POLL_PAUSE: Duration = Duration::from_millis(300);
/// As the SDK sets it.
const CACHE_CONTROL: &str = "max-age=86400";

/// Where a picture is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shelf {
    /// The storage folder.
    pub folder: FolderUuid,
    /// The dataset that it becomes a data item of.
    pub dataset: DatasetHash,
}

/// A picture and what is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// The bytes.
    pub jpeg: Vec<u8>,
    /// The data item's title.
    pub title: String,
    /// Shown beside the item at Encord.
    pub metadata: Map<String, Value>,
}

/// A storage item that has no bytes yet, and where they go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Berth {
    /// What it will be.
    #[serde(rename = "itemUuid")]
    pub item: ItemUuid,
    object_key: String,
    signed_url: Link,
    #[serde(default)]
    upload_headers: BTreeMap<String, String>,
}

/// A link as it stands in an answer: never shown, not even in a complaint. It is written whole into the journal only.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct Link(SignedUrl);

impl TryFrom<String> for Link {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self).map_err(|_| "no link")
    }
}

impl Serialize for Link {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose().as_str())
    }
}

/// A picture that has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    /// The storage item.
    pub item: ItemUuid,
    /// The data item in the dataset.
    pub data: DataHash,
}

#[derive(Deserialize)]
struct Berths {
    results: Vec<Berth>,
}

/// How a registration stands.
#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "UPPERCASE")]
enum Standing {
    Pending,
    Done,
    Error,
    Cancelled,
}

#[derive(Deserialize)]
struct Job {
    status: Standing,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    #[serde(default)]
    is_placeholder: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Folder {
    name: String,
    #[serde(default)]
    user_role: Option<String>,
}

#[derive(Deserialize)]
struct DataRow {
    data_hash: DataHash,
    #[serde(default)]
    backing_item_uuid: Option<ItemUuid>,
}

impl Encord {
    /// Proves that the key opens a storage folder; says what it is called, and which role the key has there. Nothing is saved.
    pub fn check_folder(&self, folder: &FolderUuid, deadline: &Deadline) -> Result<String, Error> {
        let place = Place::Folder(folder.clone());
        let about = About { kind: Kind::Check, action: "look", place: Some(&place) };
        let path = format!("/v2/public/storage/folders/{folder}");
        let read = self.inner.caller.v2(about, &path, deadline, |json| read_json::<Folder>(json.get()));
        let Folder { name, user_role } = read.map_err(|failed| missing_is_forbidden(failed, about))?;
        Ok(format!("the key opens storage folder {name:?}{}", user_role.map_or(String::new(), |role| format!(" (role {role})"))))
    }

    /// Proves that the key opens a dataset. Nothing is saved.
    pub fn check_dataset(&self, dataset: &DatasetHash, deadline: &Deadline) -> Result<String, Error> {
        let place = Place::Dataset(dataset.clone());
        let about = About { kind: Kind::Check, action: "look", place: Some(&place) };
        // Its facts come with all of its rows; this asks for those of a title that nobody gives.
        let query = ("datarows", Method::Get, &Value::Null, &json!({"title_eq": "edgelabel doctor looks whether it may"}));
        match self.inner.caller.v1(about, query, true, deadline, |json| read_json::<Vec<DataRow>>(json.get())) {
            // `null` instead of an empty list.
            Ok(_) | Err(Failed::Missing) => Ok(format!("the key opens dataset {dataset}")),
            Err(Failed::Error(error)) => Err(error),
        }
    }

    /// Asks for a berth. One that is never filled is an empty item in nobody's way.
    pub fn berth(&self, folder: &FolderUuid, deadline: &Deadline) -> Result<Berth, Error> {
        let place = Place::Folder(folder.clone());
        let about = About { kind: Kind::Upload, action: "get an upload link", place: Some(&place) };
        let path = format!("/v2/public/storage/folders/{folder}/upload-signed-urls");
        let body = json!({"itemType": "image", "count": 1});
        let berths: Berths = self
            .inner
            .caller
            .v2_post(about, (&path, &body), true, deadline, |json| read_json(json.get()))
            .map_err(|failed| missing_is_forbidden(failed, about))?;
        berths.results.into_iter().next().ok_or(Error::Malformed { action: about.action, cause: "it has no link".into() })
    }

    /// Sends the bytes to the store.
    ///
    /// # Errors
    /// [`Error::Refused`] when the link is no longer good: a new berth is needed then.
    pub fn fill(&self, berth: &Berth, jpeg: &[u8], store: &http::Client, deadline: &Deadline) -> Result<(), Error> {
        let about = About { kind: Kind::Upload, action: "upload the picture", place: None };
        let caller = &self.inner.caller;
        let url = berth.signed_url.0.expose().as_str();
        let sent = http::with_retries(deadline, |_| {
            let mut request = Request::put(url, jpeg).header("content-type", "image/jpeg").header("cache-control", CACHE_CONTROL);
            for (name, value) in &berth.upload_headers {
                request.headers.retain(|(have, _)| !have.eq_ignore_ascii_case(name));
                request = request.header(name.clone(), value);
            }
            request.timeout = FILL_TIMEOUT;
            match store.send(&request, deadline) {
                Err(fault) => {
                    caller.requests.count(about.kind, Outcome::Fault);
                    caller.settle_fault(about, &fault, deadline)
                }
                Ok(answer) if (200..300).contains(&answer.status) => {
                    caller.requests.count(about.kind, Outcome::Ok);
                    Try::Settled(Ok(()))
                }
                Ok(answer) if http::is_transient_status(answer.status) => {
                    caller.requests.count(about.kind, Outcome::Busy);
                    let cause = format!("the store answered {}", answer.status);
                    let error = Error::Unreachable { action: about.action, cause }.into();
                    Try::Again { error, after: http::retry_after(&answer.headers) }
                }
                Ok(answer) => {
                    caller.requests.count(about.kind, Outcome::Refused);
                    let code = "by the store".into();
                    Try::Settled(Err(Error::Refused { action: about.action, status: answer.status, code }.into()))
                }
            }
        });
        sent.map_err(|failed| missing_is_forbidden(failed, about))
    }

    /// Has the bytes become a storage item, and waits until they have. May be repeated: one that is registered stays so.
    pub fn register(&self, folder: &FolderUuid, berth: &Berth, picture: &Picture, deadline: &Deadline) -> Result<(), Error> {
        let place = Place::Folder(folder.clone());
        let about = About { kind: Kind::Upload, action: "register the picture", place: Some(&place) };
        let done =
            self.ask_to_register(about, folder, berth, picture, deadline).and_then(|job| self.await_job(about, folder, &job, deadline));
        match done {
            Ok(()) => Ok(()),
            Err(Failed::Error(error @ (Error::Unreachable { .. } | Error::Refused { .. } | Error::Malformed { .. }))) => {
                // It may have been heard, this time or before.
                if self.is_registered(folder, &berth.item, deadline)? { Ok(()) } else { Err(error) }
            }
            Err(failed) => Err(missing_is_forbidden(failed, about)),
        }
    }

    fn ask_to_register(
        &self,
        about: About<'_>,
        folder: &FolderUuid,
        berth: &Berth,
        picture: &Picture,
        deadline: &Deadline,
    ) -> Result<ItemUuid, Failed> {
        let image = json!({
            "objectUrl": berth.object_key,
            "title": picture.title,
            "clientMetadata": picture.metadata,
            "externalFileType": "IMAGE",
            "placeholderItemUuid": berth.item,
        });
        let mut items = json!({"images": [image], "skipDuplicateUrls": false, "upsertMetadata": false});
        for kind in EMPTY {
            items[kind] = json!([]);
        }
        let body = json!({"dataItems": items, "ignoreErrors": false});
        let path = format!("/v2/public/storage/folders/{folder}/data-upload-jobs");
        self.inner.caller.v2_post(about, (&path, &body), false, deadline, |json| read_json(json.get()))
    }

    fn await_job(&self, about: About<'_>, folder: &FolderUuid, job: &ItemUuid, deadline: &Deadline) -> Result<(), Failed> {
        let path = format!("/v2/public/storage/folders/{folder}/data-upload-jobs/{job}?timeoutSeconds={POLL_SECONDS}");
        loop {
            let job: Job = self.inner.caller.v2(about, &path, deadline, |json| read_json(json.get()))?;
            let code = match job.status {
                Standing::Done => return Ok(()),
                Standing::Pending => {
                    deadline.sleep(POLL_PAUSE).map_err(Error::from)?;
                    continue;
                }
                Standing::Error => "ERROR",
                Standing::Cancelled => "CANCELLED",
            };
            return Err(Error::Refused { action: about.action, status: 200, code: code.into() }.into());
        }
    }

    /// Whether an item is more than a berth.
    pub fn is_registered(&self, folder: &FolderUuid, item: &ItemUuid, deadline: &Deadline) -> Result<bool, Error> {
        let place = Place::Folder(folder.clone());
        let about = About { kind: Kind::Upload, action: "register the picture", place: Some(&place) };
        let path = format!("/v2/public/storage/items/{item}?signUrl=false");
        match self.inner.caller.v2(about, &path, deadline, |json| read_json::<Stored>(json.get())) {
            Ok(stored) => Ok(!stored.is_placeholder),
            Err(Failed::Missing | Failed::Error(Error::Forbidden { .. })) => Ok(false),
            Err(Failed::Error(error)) => Err(error),
        }
    }

    /// Puts a storage item into a dataset; one that is there already stays as it is. Returns its data item.
    pub fn attach(&self, dataset: &DatasetHash, item: &ItemUuid, title: &str, deadline: &Deadline) -> Result<DataHash, Error> {
        let place = Place::Dataset(dataset.clone());
        let about = About { kind: Kind::Attach, action: "put the picture into the dataset", place: Some(&place) };
        let rows = |query_type, method, uid: &Value, payload: &Value| -> Result<Option<DataHash>, Error> {
            let read = |json: &RawValue| read_json::<Vec<DataRow>>(json.get());
            let rows = match self.inner.caller.v1(about, (query_type, method, uid, payload), true, deadline, read) {
                Ok(rows) => rows,
                // `null` instead of a list.
                Err(Failed::Missing) => Vec::new(),
                Err(Failed::Error(error)) => return Err(error),
            };
            Ok(rows.into_iter().find(|row| row.backing_item_uuid.as_ref() == Some(item)).map(|row| row.data_hash))
        };
        let payload = json!({"item_uuids": [item], "duplicates_behavior": "SKIP"});
        if let Some(data) = rows("datasetlinkitems", Method::Post, &json!(dataset), &payload)? {
            return Ok(data);
        }
        // What was there already is not among the new ones.
        let found = rows("datarows", Method::Get, &Value::Null, &json!({"title_eq": title}))?;
        found.ok_or(Error::Malformed { action: about.action, cause: "the dataset does not hold it".into() })
    }
}

/// Kinds of items that a registration can also bring, and this one does not.
const EMPTY: [&str; 10] =
    ["videos", "imageGroups", "dicomSeries", "imageGroupsFromItems", "audio", "timeSeries", "nifti", "text", "pdf", "scenes"];

fn missing_is_forbidden(failed: Failed, about: About<'_>) -> Error {
    match (failed, about.place) {
        (Failed::Error(error), _) => error,
        (Failed::Missing, Some(place)) => Error::Forbidden { action: about.action, place: place.clone() },
        (Failed::Missing, None) => Error::Malformed { action: about.action, cause: "there is no such thing".into() },
    }
}

/// For the fuzzer: reads an answer as each kind there is here.
pub(super) fn fuzz(json: &RawValue) {
    let berths = read_json::<Berths>(json.get()).err();
    let _ = read_json::<Job>(json.get());
    let _ = read_json::<Stored>(json.get());
    let _ = read_json::<Folder>(json.get());
    let _ = read_json::<Vec<DataRow>>(json.get());
    assert!(berths.is_none_or(|complaint| !complaint.contains("://")), "a complaint quotes a link");
}
