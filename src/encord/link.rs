//! Where a frame's bytes are: the signed link in the row, else one asked for separately.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::deadline::Deadline;
use crate::ids::{DataHash, ProjectHash, SignedUrl};
use crate::media::{AssetLink, DataType};

use super::calls::{About, Failed, Method};
use super::client::Encord;
use super::envelope::read_json;
use super::label_row::{LabelRow, RowKind, Unit};
use super::requests::Kind;
use super::{Error, Place, raw};

const ACTION: &str = "get the media link";
/// Pages of a group's images that are read at most.
const MAX_PAGES: usize = 64;

/// Links by data hash: a video or single image in `video`, a group's images in `images`.
#[derive(Deserialize)]
struct DataAnswer {
    #[serde(default)]
    video: Option<Media>,
    #[serde(default)]
    images: Option<Vec<Media>>,
}

#[derive(Deserialize)]
struct Media {
    #[serde(default)]
    image_hash: Option<String>,
    #[serde(default)]
    data_hash: Option<String>,
    #[serde(default)]
    file_link: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StorageItem {
    #[serde(default)]
    parent: Option<String>,
    #[serde(default, alias = "signed_url")]
    signed_url: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    results: Vec<StorageItem>,
    #[serde(default, alias = "next_page_token")]
    next_page_token: Option<String>,
}

impl Encord {
    /// The link to a frame's image, or to the video it is in. Of an [`DataType::Image`] the picture is frame 0 of the
    /// link; of a [`DataType::Video`] it is the row's frame number.
    ///
    /// # Errors
    /// [`Error::FrameOutOfRange`] for images and groups; a video's length only its bytes tell.
    pub fn link(&self, project: &ProjectHash, row: &LabelRow, frame: u64, deadline: &Deadline) -> Result<AssetLink, Error> {
        let unit = row.unit_of(frame)?;
        if let Some(link) = link_in_row(row, &unit) {
            return Ok(link);
        }
        self.asked_link(project, row, &unit, deadline)
    }

    /// A new link to the same, for when the store refuses the first as expired.
    pub fn renewed_link(&self, project: &ProjectHash, row: &LabelRow, frame: u64, deadline: &Deadline) -> Result<AssetLink, Error> {
        let unit = row.unit_of(frame)?;
        self.asked_link(project, row, &unit, deadline)
    }

    fn asked_link(&self, project: &ProjectHash, row: &LabelRow, unit: &Unit, deadline: &Deadline) -> Result<AssetLink, Error> {
        let by_data_hash = self.link_by_data_hash(project, row, unit, deadline);
        match by_data_hash {
            Ok(Some(link)) => Ok(link),
            Err(error @ (Error::Deadline(_) | Error::Unreachable { .. } | Error::KeyRefused { .. } | Error::Clock { .. })) => Err(error),
            Ok(None) | Err(_) => match self.link_in_storage(project, row, unit, deadline)? {
                Some(link) => Ok(link),
                None => Err(by_data_hash.err().unwrap_or(Error::Malformed { action: ACTION, cause: "it has no link".into() })),
            },
        }
    }

    fn link_by_data_hash(
        &self,
        project: &ProjectHash,
        row: &LabelRow,
        unit: &Unit,
        deadline: &Deadline,
    ) -> Result<Option<AssetLink>, Error> {
        let about = About { kind: Kind::Link, action: ACTION, place: Some(&Place::Project(project.clone())) };
        let uid = serde_json::json!({"data_hash": row.data_hash(), "get_signed_url": true});
        let query = ("datasetdata", Method::Get, &uid, &Value::Null);
        let answer: DataAnswer = match self.inner.caller.v1(about, query, true, deadline, |json: &RawValue| read_json(json.get())) {
            Ok(answer) => answer,
            Err(Failed::Missing) => return Ok(None),
            Err(Failed::Error(error)) => return Err(error),
        };
        let images = answer.images.unwrap_or_default();
        let found = match (row.kind(), answer.video) {
            (RowKind::ImageGroup(count), video) => match image_of(images, unit, count) {
                Some(image) => image.file_link,
                // An image sequence is one video behind its images.
                None => return Ok(video.and_then(|video| asset(row, unit, &video.file_link?, DataType::Video))),
            },
            (RowKind::Image | RowKind::Video, Some(video)) => video.file_link,
            (RowKind::Image | RowKind::Video, None) => images.into_iter().next().and_then(|image| image.file_link),
        };
        Ok(found.and_then(|link| asset(row, unit, &link, data_type(row))))
    }

    /// The newer way: the storage item behind the data unit, whose id the list of label rows has.
    fn link_in_storage(&self, project: &ProjectHash, row: &LabelRow, unit: &Unit, deadline: &Deadline) -> Result<Option<AssetLink>, Error> {
        let Ok(data) = row.data_hash().parse::<DataHash>() else { return Ok(None) };
        let listed = self.find_row(project, &data, deadline)?;
        let Some(item) = listed.raw.get("backing_item_uuid").and_then(Value::as_str).filter(|uuid| is_uuid(uuid)) else {
            return Ok(None);
        };
        let Some(found) = self.storage::<StorageItem>(project, &format!("items/{item}?signUrl=true"), deadline)? else {
            return Ok(None);
        };
        let link = match (row.kind(), found.parent.filter(|parent| is_uuid(parent))) {
            (RowKind::ImageGroup(_), Some(parent)) => self.child_link(project, &parent, item, unit.sequence, deadline)?,
            (RowKind::ImageGroup(_), None) => None,
            (RowKind::Image | RowKind::Video, _) => found.signed_url,
        };
        Ok(link.and_then(|link| asset(row, unit, &link, data_type(row))))
    }

    /// The `index`th image of a group.
    fn child_link(
        &self,
        project: &ProjectHash,
        parent: &str,
        item: &str,
        index: u64,
        deadline: &Deadline,
    ) -> Result<Option<String>, Error> {
        let mut before = 0;
        let mut token = String::new();
        for _ in 0..MAX_PAGES {
            let path = format!("folders/{parent}/items/{item}/child-items?signUrls=true{token}");
            let Some(page) = self.storage::<Page>(project, &path, deadline)? else { return Ok(None) };
            let here = page.results.len() as u64;
            if index < before + here {
                return Ok(page.results.into_iter().nth((index - before) as usize).and_then(|image| image.signed_url));
            }
            before += here;
            let Some(next) = page.next_page_token else { return Ok(None) };
            token = format!("&pageToken={}", url::form_urlencoded::byte_serialize(next.as_bytes()).collect::<String>());
        }
        Ok(None)
    }

    fn storage<T: for<'de> Deserialize<'de>>(&self, project: &ProjectHash, path: &str, deadline: &Deadline) -> Result<Option<T>, Error> {
        let about = About { kind: Kind::Link, action: ACTION, place: Some(&Place::Project(project.clone())) };
        match self.inner.caller.v2(about, &format!("/v2/public/storage/{path}"), deadline, |json| read_json(json.get())) {
            Ok(found) => Ok(Some(found)),
            Err(Failed::Missing) => Ok(None),
            Err(Failed::Error(error)) => Err(error),
        }
    }
}

fn link_in_row(row: &LabelRow, unit: &Unit) -> Option<AssetLink> {
    if !row.with_links() {
        return None;
    }
    let link: Option<String> = raw::read(&unit.fields, "data_link");
    if let Some(found) = link.and_then(|link| asset(row, unit, &link, data_type(row))) {
        return Some(found);
    }
    // An image sequence is one video behind its images.
    let video: Option<String> = raw::read(&row.fields, "video_link").filter(|_| matches!(row.kind(), RowKind::ImageGroup(_)));
    video.and_then(|link| asset(row, unit, &link, DataType::Video))
}

fn data_type(row: &LabelRow) -> DataType {
    if row.kind() == RowKind::Video { DataType::Video } else { DataType::Image }
}

/// A link that can be fetched; a path within Encord's storage cannot.
fn asset(row: &LabelRow, unit: &Unit, link: &str, data_type: DataType) -> Option<AssetLink> {
    let url: SignedUrl = link.parse().ok()?;
    if !matches!(url.expose().scheme(), "http" | "https") || url.expose().host().is_none() {
        return None;
    }
    let title = raw::read::<String>(&unit.fields, "data_title").unwrap_or_else(|| row.title().to_owned());
    // The unit's type is that of its image; behind an image sequence there is a video.
    let mime = raw::read::<String>(&unit.fields, "data_type").filter(|_| data_type == self::data_type(row));
    Some(AssetLink { url, data_type, mime, title })
}

/// A unit's image: by its hash, or by its place where the answer names no hashes.
fn image_of(images: Vec<Media>, unit: &Unit, count: u64) -> Option<Media> {
    let hash = raw::read::<String>(&unit.fields, "data_hash").unwrap_or_else(|| unit.key.clone());
    let is_it = |image: &Media| image.image_hash.as_deref() == Some(&hash) || image.data_hash.as_deref() == Some(&hash);
    match images.iter().position(is_it) {
        Some(place) => images.into_iter().nth(place),
        None if images.len() as u64 == count => images.into_iter().nth(unit.sequence as usize),
        None => None,
    }
}

/// What goes into a path must not be able to change it.
fn is_uuid(text: &str) -> bool {
    text.parse::<DataHash>().is_ok()
}

/// For the fuzzer: reads an answer as each kind there is here.
pub(super) fn fuzz(json: &RawValue) {
    let _ = read_json::<DataAnswer>(json.get());
    let _ = read_json::<StorageItem>(json.get());
    let _ = read_json::<Page>(json.get());
}
