//! Signed in to Encord: project and ontology, with what is remembered of them for the next trigger.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::deadline::Deadline;
use crate::http;
use crate::ids::{DataHash, OntologyHash, ProjectHash, Secret};

use super::auth::Key;
use super::cache::{Cache, Turns};
use super::calls::{About, Caller, Failed};
use super::envelope::read_json;
use super::requests::{Kind, Requests};
use super::rows::RowSummary;
use super::{Error, Ontology, Place};

/// How long, and how many, label rows are remembered by their data hash.
const ROWS_BELIEVED: Duration = Duration::from_secs(600);
const MAX_ROWS: usize = 1000;
/// How many projects and ontologies are remembered.
const MAX_PROJECTS: usize = 64;
/// A project read less than this ago need not be read again for a fresh ontology.
const JUST_READ: Duration = Duration::from_secs(5);

/// What the configuration says about Encord.
#[derive(Debug, Clone, PartialEq)]
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
    pub ontology_ttl: Duration,
    /// Bound on one call; those that carry a whole label row may take twice as long.
    pub timeout: Duration,
}

/// A project as the agent needs it.
#[derive(Debug, Clone)]
pub struct Project {
    /// Title as the annotator sees it.
    pub title: String,
    /// The ontology's hash.
    pub ontology: OntologyHash,
}

/// Encord, signed in by key. Cheap to clone; clones share connections and caches.
#[derive(Clone)]
pub struct Encord {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) caller: Caller,
    projects: Cache<ProjectHash, ReadProject>,
    ontologies: Cache<OntologyHash, Arc<Ontology>>,
    pub(super) rows: Cache<(ProjectHash, DataHash), RowSummary>,
    pub(super) creating: Turns<DataHash>,
}

/// A project with its ontology, where GET project brought a whole one.
#[derive(Clone)]
struct ReadProject {
    project: Arc<Project>,
    ontology: Option<Arc<Ontology>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProjectAnswer {
    #[serde(default)]
    title: Option<String>,
    #[serde(alias = "ontology_hash")]
    ontology_hash: OntologyHash,
    #[serde(default, alias = "editor_ontology")]
    editor_ontology: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct OntologyAnswer {
    editor: Box<RawValue>,
}

impl Encord {
    /// Parses the key and makes the pool; calls nothing.
    ///
    /// # Errors
    /// [`Error::Key`] for a key that cannot be used, [`Error::Unreachable`] when the trust anchors cannot be loaded.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let key = Key::parse(&settings.ssh_key, &settings.ssh_key_origin, settings.ssh_key_password.as_ref())?;
        let http = http::Client::new(&http::Settings { ca_file: settings.ca_file, ..http::Settings::default() })
            .map_err(|error| Error::Unreachable { action: "make a secure connection", cause: error.to_string() })?;
        let inner = Inner {
            caller: Caller::new(http, key, &settings.domain, settings.timeout),
            projects: Cache::new(settings.ontology_ttl, MAX_PROJECTS),
            ontologies: Cache::new(settings.ontology_ttl, MAX_PROJECTS),
            rows: Cache::new(ROWS_BELIEVED, MAX_ROWS),
            creating: Turns::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Counters of the calls made so far.
    pub fn requests(&self) -> &Requests {
        &self.inner.caller.requests
    }

    /// What the requests came to, by HTTP status.
    pub fn statuses(&self) -> http::Statuses {
        self.inner.caller.http.statuses()
    }

    /// Proves that the key is accepted: by reading the project, or without one by asking who we are. Returns what was
    /// found, in words.
    pub fn check(&self, project: Option<&ProjectHash>, deadline: &Deadline) -> Result<String, Error> {
        if let Some(project) = project {
            let read = self.read_project(project, deadline)?;
            return Ok(format!("the key opens project {:?}", read.project.title));
        }
        let about = About { kind: Kind::Check, action: "check the sign-in", place: None };
        match self.inner.caller.v2(about, "/v2/public/user/bearer-token", deadline, |_| Ok(())) {
            Ok(()) => Ok("the key is accepted".into()),
            // Signatures are looked at before the path.
            Err(Failed::Missing) => Ok("Encord answers and does not refuse the key".into()),
            Err(Failed::Error(error)) => Err(error),
        }
    }

    /// GET project; cached.
    pub fn project(&self, project: &ProjectHash, deadline: &Deadline) -> Result<Arc<Project>, Error> {
        Ok(self.known_project(project, deadline)?.project)
    }

    /// The project's ontology: from `editorOntology` of the project when it is complete, else GET ontology; cached.
    pub fn ontology(&self, project: &ProjectHash, deadline: &Deadline) -> Result<Arc<Ontology>, Error> {
        let known = self.known_project(project, deadline)?;
        let hash = &known.project.ontology;
        if let Some(fresher) = self.inner.ontologies.get(hash) {
            return Ok(fresher);
        }
        match known.ontology {
            Some(ontology) => Ok(ontology),
            None => self.inner.ontologies.get_or(hash, deadline, || self.read_ontology(project, hash, deadline)),
        }
    }

    /// Asks Encord anew, past the caches: for when a title is not found in what is cached or in `editorOntology`.
    pub fn fresh_ontology(&self, project: &ProjectHash, deadline: &Deadline) -> Result<Arc<Ontology>, Error> {
        let known = match self.inner.projects.younger_than(project, JUST_READ) {
            Some(known) => known,
            None => {
                let read = self.read_project(project, deadline)?;
                self.inner.projects.put(project.clone(), read.clone());
                read
            }
        };
        let hash = &known.project.ontology;
        let ontology = self.read_ontology(project, hash, deadline)?;
        self.inner.ontologies.put(hash.clone(), ontology.clone());
        Ok(ontology)
    }

    fn known_project(&self, project: &ProjectHash, deadline: &Deadline) -> Result<ReadProject, Error> {
        self.inner.projects.get_or(project, deadline, || self.read_project(project, deadline))
    }

    fn read_project(&self, project: &ProjectHash, deadline: &Deadline) -> Result<ReadProject, Error> {
        let about = About { kind: Kind::Project, action: "read the project", place: Some(&Place::Project(project.clone())) };
        let path = format!("/v2/public/projects/{project}");
        let answer: ProjectAnswer = self
            .inner
            .caller
            .v2(about, &path, deadline, |json| read_json(json.get()))
            .map_err(|failed| missing_is_forbidden(failed, about.action, project))?;
        let ontology = answer.editor_ontology.and_then(|editor| Ontology::from_json(editor.get()).ok());
        let project = Project { title: answer.title.unwrap_or_default(), ontology: answer.ontology_hash };
        Ok(ReadProject { project: Arc::new(project), ontology: ontology.filter(|found| !found.is_empty()).map(Arc::new) })
    }

    fn read_ontology(&self, project: &ProjectHash, hash: &OntologyHash, deadline: &Deadline) -> Result<Arc<Ontology>, Error> {
        let about = About { kind: Kind::Ontology, action: "read the ontology", place: Some(&Place::Project(project.clone())) };
        let path = format!("/v2/public/ontologies/{}", path_segment(hash.as_str()));
        let answer: OntologyAnswer = self
            .inner
            .caller
            .v2(about, &path, deadline, |json| read_json(json.get()))
            .map_err(|failed| missing_is_forbidden(failed, about.action, project))?;
        Ok(Arc::new(Ontology::from_json(answer.editor.get())?))
    }
}

/// A project or ontology that does not exist and one that the key may not see are the same to us, and often to Encord.
fn missing_is_forbidden(failed: Failed, action: &'static str, project: &ProjectHash) -> Error {
    match failed {
        Failed::Missing => Error::Forbidden { action, place: Place::Project(project.clone()) },
        Failed::Error(error) => error,
    }
}

fn path_segment(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}
