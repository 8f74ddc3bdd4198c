//! Label rows: found by their data item, created once, read, and saved whole.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::deadline::Deadline;
use crate::ids::{DataHash, LabelHash, ProjectHash};

use super::calls::{About, Failed, Method};
use super::envelope::read_json;
use super::label_row::unsupported_type;
use super::raw::Lenient;
use super::requests::Kind;
use super::{Encord, Error, LabelRow, Place};

/// One line of the list of label rows.
#[derive(Debug, Clone)]
pub struct RowSummary {
    /// `None` until the row is first opened.
    pub label_hash: Option<LabelHash>,
    /// Usually `main`.
    pub branch_name: String,
    /// The data item.
    pub data_hash: DataHash,
    /// The item's title.
    pub data_title: String,
    /// Upper case: `VIDEO`, `IMAGE`, `IMG_GROUP`, …
    pub data_type: String,
    /// Frames, where Encord knows.
    pub number_of_frames: Option<u64>,
    /// The whole item of the list, for fields that a row's answer lacks (`annotation_task_status`, `is_shadow_data`).
    pub raw: Map<String, Value>,
}

impl Encord {
    /// The one label row of a data item; remembered for a while, so that a second trigger on it need not list again.
    pub fn find_row(&self, project: &ProjectHash, data: &DataHash, deadline: &Deadline) -> Result<RowSummary, Error> {
        self.inner.rows.get_or(&(project.clone(), data.clone()), deadline, || self.list_row(project, data, deadline))
    }

    fn list_row(&self, project: &ProjectHash, data: &DataHash, deadline: &Deadline) -> Result<RowSummary, Error> {
        let about = About { kind: Kind::List, action: "list label rows", place: Some(&Place::Project(project.clone())) };
        let payload = json!({
            "edited_before": null, "edited_after": null, "label_statuses": null, "shadow_data_state": null,
            "include_uninitialised_labels": true, "data_hashes": [data], "label_hashes": null,
            "data_title_eq": null, "data_title_like": null,
            "workflow_graph_node_title_eq": null, "workflow_graph_node_title_like": null,
            "include_client_metadata": false, "include_images_data": false, "include_children": false,
            "include_workflow_graph_node": true, "include_all_label_branches": false, "branch_name": null,
            "client_metadata_as_signed_url": false,
        });
        let query = ("labelrowmetadata", Method::Get, &Value::Null, &payload);
        let listed: Vec<Map<String, Value>> = match self.inner.caller.v1(about, query, true, deadline, |json| read_json(json.get())) {
            Ok(listed) => listed,
            Err(Failed::Missing) => Vec::new(),
            Err(Failed::Error(error)) => return Err(error),
        };
        let mut rows = listed
            .into_iter()
            .filter(|row| row.get("data_hash").and_then(Value::as_str).is_some_and(|found| found.eq_ignore_ascii_case(data.as_str())));
        let row = rows.next().ok_or_else(|| Error::NotInProject { project: project.clone(), data: data.clone() })?;
        match rows.count() {
            0 => RowSummary::from_listing(row, data),
            others => Err(Error::ManyRows { data: data.clone(), count: others + 1 }),
        }
    }

    /// Creates the row if it was never opened, else gets it, with signed links in its data units.
    pub fn open_row(&self, project: &ProjectHash, row: &RowSummary, deadline: &Deadline) -> Result<LabelRow, Error> {
        if let Some(hash) = &row.label_hash {
            if let Some(found) = self.get_row(project, hash, true, deadline)? {
                return Ok(found.completed_from(row));
            }
            // It was deleted and perhaps made again since it was listed.
            self.forget_row(hash);
        }
        let _turn = self.inner.creating.take(&row.data_hash, deadline)?;
        let current = self.find_row(project, &row.data_hash, deadline)?;
        match &current.label_hash {
            Some(hash) => self.get_listed_row(project, hash, &current, deadline),
            None => self.create_row(project, &current, deadline),
        }
    }

    /// Creating is never tried twice: whether the first try came through, the list of rows tells.
    fn create_row(&self, project: &ProjectHash, row: &RowSummary, deadline: &Deadline) -> Result<LabelRow, Error> {
        let about = About { kind: Kind::Create, action: "create the label row", place: Some(&Place::Project(project.clone())) };
        let payload = json!({"multi_request": true, "get_signed_url": true, "branch_name": row.branch_name});
        let query = ("labelrow", Method::Put, &[&row.data_hash], &payload);
        let is_it = |ids: RowIds| ids.data_hash.is_some_and(|found| found.eq_ignore_ascii_case(row.data_hash.as_str()));
        let failure = match self.inner.caller.v1(about, query, false, deadline, |json| pick_row(json, true, is_it)) {
            Ok(Some(created)) => {
                let created = created?.completed_from(row);
                self.remember_row(project, RowSummary { label_hash: Some(created.label_hash().clone()), ..row.clone() });
                return Ok(created);
            }
            Ok(None) | Err(Failed::Missing) => Error::Malformed { action: about.action, cause: "it has no row for this data item".into() },
            Err(Failed::Error(error @ (Error::Deadline(_) | Error::KeyRefused { .. } | Error::Clock { .. }))) => return Err(error),
            Err(Failed::Error(error)) => error,
        };
        self.inner.rows.forget(&(project.clone(), row.data_hash.clone()));
        let listed = self.find_row(project, &row.data_hash, deadline)?;
        match &listed.label_hash {
            Some(hash) => self.get_listed_row(project, hash, &listed, deadline),
            None => Err(failure),
        }
    }

    fn get_listed_row(&self, project: &ProjectHash, hash: &LabelHash, listed: &RowSummary, deadline: &Deadline) -> Result<LabelRow, Error> {
        match self.get_row(project, hash, true, deadline)? {
            Some(row) => Ok(row.completed_from(listed)),
            None => Err(self.row_is_gone("read the label row", hash)),
        }
    }

    /// Reads the row as it is now, without links: what a save must be based on.
    pub fn read_row(&self, project: &ProjectHash, row: &LabelHash, deadline: &Deadline) -> Result<LabelRow, Error> {
        let read = self.get_row(project, row, false, deadline)?.ok_or_else(|| self.row_is_gone("read the label row", row))?;
        Ok(match self.inner.rows.find(|known| known.label_hash.as_ref() == Some(row)) {
            Some(listed) => read.completed_from(&listed),
            None => read,
        })
    }

    /// A row as it is now; `None` when there is none of this hash.
    pub(super) fn get_row(
        &self,
        project: &ProjectHash,
        hash: &LabelHash,
        with_links: bool,
        deadline: &Deadline,
    ) -> Result<Option<LabelRow>, Error> {
        let about = About { kind: Kind::Row, action: "read the label row", place: Some(&Place::Project(project.clone())) };
        // A filter on features would come back as a deletion when the row is saved.
        let payload = json!({
            "get_signed_url": with_links, "multi_request": true,
            "include_object_feature_hashes": null, "include_classification_feature_hashes": null,
            "include_reviews": false, "include_export_history": false, "include_archived": false,
        });
        let query = ("labelrow", Method::Get, &[hash], &payload);
        let is_it = |ids: RowIds| ids.label_hash.is_some_and(|found| found == hash.as_str());
        match self.inner.caller.v1(about, query, true, deadline, |json| pick_row(json, with_links, is_it)) {
            Ok(Some(row)) => row.map(Some),
            Ok(None) | Err(Failed::Missing) => Ok(None),
            Err(Failed::Error(error)) => Err(error),
        }
    }

    /// Replaces the whole row at Encord.
    ///
    /// # Errors
    /// [`Error::Malformed`] for a row that was opened with links: they must not be written into the row.
    pub fn save_row(&self, project: &ProjectHash, row: &LabelRow, deadline: &Deadline) -> Result<(), Error> {
        let about = About { kind: Kind::Save, action: "save the label row", place: Some(&Place::Project(project.clone())) };
        if row.with_links() {
            return Err(Error::Malformed { action: about.action, cause: "the row holds signed links: read it again before a save".into() });
        }
        #[derive(serde::Serialize)]
        struct Save {
            multi_request: bool,
            labels: [Box<RawValue>; 1],
            validate_before_saving: bool,
        }
        let payload = Save { multi_request: true, labels: [row.to_save()?], validate_before_saving: false };
        let query = ("labelrow", Method::Post, &[row.label_hash()], &payload);
        match self.inner.caller.v1(about, query, true, deadline, |_| Ok(())) {
            Ok(()) => Ok(()),
            Err(Failed::Missing) => Err(self.row_is_gone(about.action, row.label_hash())),
            Err(Failed::Error(error)) => Err(error),
        }
    }

    fn remember_row(&self, project: &ProjectHash, row: RowSummary) {
        self.inner.rows.put((project.clone(), row.data_hash.clone()), row);
    }

    fn forget_row(&self, hash: &LabelHash) {
        self.inner.rows.forget_where(|row| row.label_hash.as_ref() == Some(hash));
    }

    fn row_is_gone(&self, action: &'static str, hash: &LabelHash) -> Error {
        self.forget_row(hash);
        Error::Refused { action, status: 404, code: "there is no such label row any more".into() }
    }
}

impl RowSummary {
    fn from_listing(raw: Map<String, Value>, data: &DataHash) -> Result<Self, Error> {
        let text = |key: &str| raw.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
        let data_type = text("data_type")
            .ok_or_else(|| Error::Malformed { action: "list label rows", cause: "data_type is missing".into() })?
            .to_ascii_uppercase();
        if !matches!(data_type.as_str(), "IMAGE" | "IMG_GROUP" | "VIDEO") {
            return Err(unsupported_type(&data_type));
        }
        if raw.get("spaces").and_then(Value::as_object).is_some_and(|spaces| !spaces.is_empty()) {
            return Err(Error::Unsupported { what: "an item that keeps its labels in spaces (data group or scene)".into() });
        }
        let number_of_frames =
            raw.get("number_of_frames").and_then(|number| Lenient::deserialize(number).ok()).and_then(|number| number.whole());
        Ok(Self {
            label_hash: text("label_hash").map(LabelHash::new),
            branch_name: text("branch_name").unwrap_or_else(|| "main".into()),
            data_hash: data.clone(),
            data_title: text("data_title").unwrap_or_default(),
            data_type,
            number_of_frames,
            raw,
        })
    }
}

impl LabelRow {
    fn completed_from(mut self, listed: &RowSummary) -> Self {
        self.complete_from(&listed.raw);
        self
    }
}

/// What tells a row of an answer from the others.
#[derive(Deserialize)]
struct RowIds {
    #[serde(default)]
    label_hash: Option<String>,
    #[serde(default)]
    data_hash: Option<String>,
}

/// The row that is meant, of a list in any order or alone.
fn pick_row(json: &RawValue, with_links: bool, is_it: impl Fn(RowIds) -> bool) -> Result<Option<Result<LabelRow, Error>>, String> {
    let rows: Vec<&RawValue> = if json.get().starts_with('[') { read_json(json.get())? } else { vec![json] };
    for row in rows {
        if is_it(read_json(row.get())?) {
            return Ok(Some(LabelRow::from_json(row.get(), with_links)));
        }
    }
    Ok(None)
}

/// For the fuzzer: reads an answer as each kind there is here.
pub(super) fn fuzz(json: &RawValue) {
    let _ = pick_row(json, false, |ids| ids.label_hash.is_some() || ids.data_hash.is_some());
    let Ok(data) = "038ed92d-dbe8-4991-a3aa-6ede35d6e62d".parse::<DataHash>() else { return };
    for row in read_json::<Vec<Map<String, Value>>>(json.get()).unwrap_or_default() {
        let _ = RowSummary::from_listing(row, &data);
    }
}
