//! The calls of one agent run, with retries, errors inside HTTP 200 envelopes, and the ontology cache.

use std::path::PathBuf;
use std::sync::Arc;

use crate::deadline::Deadline;
use crate::http;
use crate::ids::{DataHash, LabelHash, OntologyHash, ProjectHash, Secret};

use super::{Error, LabelRow, Ontology};

/// What the configuration says about Encord.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `https://api.encord.com`, without a final slash.
    pub domain: String,
    /// The private key's text.
    pub ssh_key: Secret,
    /// Where the text came from, for error messages.
    pub ssh_key_origin: String,
    /// Passphrase of the key; empty means none.
    pub ssh_key_password: Option<Secret>,
    /// Extra trust anchor.
    pub ca_file: Option<PathBuf>,
    /// How long an ontology is believed.
    pub ontology_ttl: std::time::Duration,
}

/// A project as the agent needs it.
#[derive(Debug, Clone)]
pub struct Project {
    /// Title as the annotator sees it.
    pub title: String,
    /// The ontology's hash.
    pub ontology: OntologyHash,
}

/// One line of the list of label rows (protocol 4.3).
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
    pub raw: serde_json::Map<String, serde_json::Value>,
}

/// Encord, signed in by key. Cheap to clone; clones share connections and caches.
#[derive(Clone)]
pub struct Encord {
    #[allow(dead_code)]
    http: http::Client,
}

impl Encord {
    /// Parses the key and makes the pool; calls nothing.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let _ = settings;
        unimplemented!()
    }

    /// GET project; cached.
    pub fn project(&self, project: &ProjectHash, deadline: &Deadline) -> Result<Arc<Project>, Error> {
        let _ = (project, deadline);
        unimplemented!()
    }

    /// The project's ontology: from `editorOntology` of the project when it is complete, else GET ontology; cached.
    pub fn ontology(&self, project: &ProjectHash, deadline: &Deadline) -> Result<Arc<Ontology>, Error> {
        let _ = (project, deadline);
        unimplemented!()
    }

    /// Asks Encord anew, past the caches: for when a title is not found in what is cached or in `editorOntology`.
    pub fn fresh_ontology(&self, project: &ProjectHash, deadline: &Deadline) -> Result<Arc<Ontology>, Error> {
        let _ = (project, deadline);
        unimplemented!()
    }

    /// The one label row of a data item; remembered for a while, so that a second trigger on it need not list again.
    pub fn find_row(&self, project: &ProjectHash, data: &DataHash, deadline: &Deadline) -> Result<RowSummary, Error> {
        let _ = (project, data, deadline);
        unimplemented!()
    }

    /// Creates the row if it was never opened, else gets it, with signed links in its data units.
    pub fn open_row(&self, project: &ProjectHash, row: &RowSummary, deadline: &Deadline) -> Result<LabelRow, Error> {
        let _ = (project, row, deadline);
        unimplemented!()
    }

    /// Reads the row as it is now, without links: what a save must be based on.
    pub fn read_row(&self, project: &ProjectHash, row: &LabelHash, deadline: &Deadline) -> Result<LabelRow, Error> {
        let _ = (project, row, deadline);
        unimplemented!()
    }

    /// Replaces the whole row at Encord.
    pub fn save_row(&self, project: &ProjectHash, row: &LabelRow, deadline: &Deadline) -> Result<(), Error> {
        let _ = (project, row, deadline);
        unimplemented!()
    }
}
