//! What the backend knows: keys, projects, ontologies, data items, their files and their label rows.

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::auth::hex;

/// A file in the media store.
#[derive(Clone)]
pub struct StoredFile {
    pub bytes: Arc<[u8]>,
    pub mime: String,
    pub etag: String,
}

/// A project with its ontology.
#[derive(Debug, Clone)]
pub struct Project {
    pub hash: String,
    pub title: String,
    pub ontology: String,
    /// Public keys that may open it; empty: every known key.
    pub members: Vec<String>,
}

/// A picture of a data item.
#[derive(Debug, Clone)]
pub struct Still {
    /// Path in the media store.
    pub file: String,
    pub mime: String,
    pub width: u32,
    pub height: u32,
}

/// A video of a data item.
#[derive(Debug, Clone)]
pub struct Clip {
    pub file: String,
    pub mime: String,
    pub width: u32,
    pub height: u32,
    pub fps: f64,
    pub frames: u64,
}

/// What a data item is.
#[derive(Debug, Clone)]
pub enum Content {
    Image(Still),
    Video(Clip),
    /// Image hash, title and picture, in order of frames.
    Group(Vec<(String, String, Still)>),
    /// Something else, such as `AUDIO`, with a file.
    Other(String, Still),
}

/// An image that is to become part of a group.
pub struct GroupImage<'a> {
    pub title: &'a str,
    pub mime: &'a str,
    /// Width and height.
    pub size: (u32, u32),
    pub bytes: Vec<u8>,
}

/// A data item of a project.
#[derive(Debug, Clone)]
pub struct Item {
    pub hash: String,
    pub project: String,
    pub dataset: String,
    pub title: String,
    pub content: Content,
    /// UUID of the storage item behind it.
    pub backing: String,
    /// The storage folder of that.
    pub folder: String,
    /// As the uploader gave it.
    pub metadata: Value,
    /// Label row, once it was opened.
    pub label: Option<String>,
    /// How many rows are listed for it: 1, unless a fault is to be provoked.
    pub listed: usize,
    /// Put over the item of the list.
    pub listing_extra: Map<String, Value>,
    /// Put over a new label row.
    pub row_extra: Map<String, Value>,
}

impl Item {
    /// Whether no bytes have been registered for it yet.
    pub fn is_placeholder(&self) -> bool {
        matches!(&self.content, Content::Image(still) if still.width == 0)
    }

    pub fn frames(&self) -> u64 {
        match &self.content {
            Content::Image(_) | Content::Other(..) => 1,
            Content::Video(clip) => clip.frames,
            Content::Group(images) => images.len() as u64,
        }
    }

    /// As label rows write it.
    pub fn data_type(&self) -> String {
        match &self.content {
            Content::Image(_) => "image".into(),
            Content::Video(_) => "video".into(),
            Content::Group(_) => "img_group".into(),
            Content::Other(kind, _) => kind.to_ascii_lowercase(),
        }
    }
}

/// The whole state.
#[derive(Default)]
pub struct Store {
    /// Public key in hex → e-mail address of its user.
    pub keys: IndexMap<String, String>,
    pub projects: IndexMap<String, Project>,
    /// `editor` of each ontology.
    pub ontologies: IndexMap<String, Value>,
    pub items: IndexMap<String, Item>,
    /// Path → file.
    pub files: IndexMap<String, StoredFile>,
    /// Label hash → row as stored, without signed links.
    pub rows: IndexMap<String, Value>,
    /// Folders that may be uploaded to.
    pub folders: Vec<String>,
    /// Dataset → the project that takes its data items.
    pub datasets: IndexMap<String, String>,
    /// Storage items that were made by an upload, by UUID.
    pub uploads: IndexMap<String, Item>,
    /// Upload jobs by UUID.
    pub jobs: IndexMap<String, super::uploads::Job>,
    /// What was accepted in saves but deserves a look.
    pub remarks: Vec<String>,
    made: u64,
}

impl Store {
    /// Lets a key in. Returns its name on the wire.
    pub fn add_key(&mut self, public: &[u8; 32], email: &str) -> String {
        let name = hex(public);
        self.keys.insert(name.clone(), email.to_owned());
        name
    }

    /// A fresh UUID, the same in every run.
    pub fn uuid(&mut self) -> String {
        self.made += 1;
        let digest = hex(&Sha256::digest(format!("emulated {}", self.made)));
        format!("{}-{}-4{}-a{}-{}", &digest[..8], &digest[8..12], &digest[13..16], &digest[17..20], &digest[20..32])
    }

    pub fn add_ontology(&mut self, editor: Value) -> String {
        let hash = self.uuid();
        self.ontologies.insert(hash.clone(), editor);
        hash
    }

    pub fn add_project(&mut self, title: &str, editor: Value) -> String {
        let ontology = self.add_ontology(editor);
        let hash = self.uuid();
        let project = Project { hash: hash.clone(), title: title.to_owned(), ontology, members: Vec::new() };
        self.projects.insert(hash.clone(), project);
        hash
    }

    /// Puts a file into the media store; returns its path.
    pub fn add_file(&mut self, name: &str, mime: &str, bytes: impl Into<Arc<[u8]>>) -> String {
        let path = format!("/cord-data/{}/{name}", self.uuid());
        self.put_file(&path, mime, bytes);
        path
    }

    /// Puts a file at a path.
    pub fn put_file(&mut self, path: &str, mime: &str, bytes: impl Into<Arc<[u8]>>) {
        let bytes = bytes.into();
        let etag = hex(&Sha256::digest(&bytes)[..16]);
        self.files.insert(path.to_owned(), StoredFile { bytes, mime: mime.to_owned(), etag });
    }

    pub fn add_image(&mut self, project: &str, title: &str, mime: &str, (width, height): (u32, u32), bytes: Vec<u8>) -> String {
        let still = Still { file: self.add_file(title, mime, bytes), mime: mime.to_owned(), width, height };
        self.add_item(project, title, Content::Image(still))
    }

    /// Takes the images in order of frames.
    pub fn add_group(&mut self, project: &str, title: &str, images: Vec<GroupImage<'_>>) -> String {
        let images = images
            .into_iter()
            .map(|GroupImage { title, mime, size: (width, height), bytes }| {
                let file = self.add_file(title, mime, bytes);
                (self.uuid(), title.to_owned(), Still { file, mime: mime.to_owned(), width, height })
            })
            .collect();
        self.add_item(project, title, Content::Group(images))
    }

    pub fn add_video(&mut self, project: &str, title: &str, clip: Clip) -> String {
        self.add_item(project, title, Content::Video(clip))
    }

    pub fn add_item(&mut self, project: &str, title: &str, content: Content) -> String {
        let hash = self.uuid();
        let item = Item {
            hash: hash.clone(),
            project: project.to_owned(),
            dataset: self.uuid(),
            title: title.to_owned(),
            content,
            backing: self.uuid(),
            folder: "5f6c8c4e-0c53-4b2e-9f64-0a1f8a8f9a10".into(),
            metadata: Value::Object(Map::new()),
            label: None,
            listed: 1,
            listing_extra: Map::new(),
            row_extra: Map::new(),
        };
        self.items.insert(hash.clone(), item);
        hash
    }

    pub fn row_of(&self, data: &str) -> Option<&Value> {
        self.rows.get(self.items.get(data)?.label.as_ref()?)
    }

    /// The label hash of a data item, whose row is made if there is none.
    pub fn open_row(&mut self, data: &str) -> Option<String> {
        if let Some(label) = &self.items.get(data)?.label {
            return Some(label.clone());
        }
        let label = self.uuid();
        let row = super::rows::fresh(&self.items[data], &label);
        self.rows.insert(label.clone(), row);
        self.items[data].label = Some(label.clone());
        Some(label)
    }

    /// As if no data item had ever been opened.
    pub fn forget_rows(&mut self) {
        self.rows.clear();
        self.remarks.clear();
        let datasets = &self.datasets;
        self.items.retain(|_, item| !datasets.contains_key(&item.dataset));
        self.uploads.clear();
        self.jobs.clear();
        for item in self.items.values_mut() {
            item.label = None;
        }
    }

    /// `editor` of a project's ontology.
    pub fn ontology_of(&self, project: &str) -> Option<&Value> {
        self.ontologies.get(&self.projects.get(project)?.ontology)
    }

    pub fn may_open(&self, key: &str, project: &str) -> bool {
        self.projects.get(project).is_some_and(|project| project.members.is_empty() || project.members.iter().any(|have| have == key))
    }
}
