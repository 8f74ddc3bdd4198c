//! What a call is made for: a project, a dataset or a storage folder.

use std::fmt;

use crate::ids::{DatasetHash, FolderUuid, ProjectHash};

/// A thing at Encord that the key has rights to, or has not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Where labels are.
    Project(ProjectHash),
    /// Where data items are.
    Dataset(DatasetHash),
    /// Where storage items are.
    Folder(FolderUuid),
}

impl Place {
    /// The `ResourceType` and `ResourceId` of a v1 call; a folder is none there.
    pub(super) fn resource(&self) -> Option<(&'static str, &str)> {
        match self {
            Self::Project(hash) => Some(("project", hash.as_str())),
            Self::Dataset(hash) => Some(("dataset", hash.as_str())),
            Self::Folder(_) => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Project(hash) => write!(f, "project {hash}"),
            Self::Dataset(hash) => write!(f, "dataset {hash}"),
            Self::Folder(uuid) => write!(f, "storage folder {uuid}"),
        }
    }
}
