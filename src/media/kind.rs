//! What an item is: its content decides; what its name, its media type and Encord say must not contradict it.

use std::path::Path;

use crate::media::{AssetLink, DataType, Error};

/// A still picture's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StillFormat {
    /// JPEG.
    Jpeg,
    /// PNG, also animated: its first picture.
    Png,
    /// GIF: its first picture.
    Gif,
    /// WebP.
    WebP,
    /// Windows bitmap.
    Bmp,
    /// TIFF, also BigTIFF.
    Tiff,
    /// AV1 still image.
    Avif,
    /// HEVC still image.
    Heic,
}

/// How an item is to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One picture.
    Still(StillFormat),
    /// A container with a video track, as far as its first bytes tell.
    Video,
}

/// What others say an item is.
#[derive(Debug, Clone, Copy)]
pub struct Claims<'a> {
    /// Title as the annotator sees it; used in errors.
    pub title: &'a str,
    /// The path of the link or of the file.
    pub path: &'a str,
    /// What Encord says, if it was asked.
    pub data_type: Option<DataType>,
    /// A media type, if any; often wrong.
    pub mime: Option<&'a str>,
}

impl<'a> Claims<'a> {
    /// What Encord says.
    pub fn of_link(link: &'a AssetLink) -> Self {
        Self { title: &link.title, path: link.url.expose().path(), data_type: Some(link.data_type), mime: link.mime.as_deref() }
    }

    /// What a local file's name says.
    pub fn of_file(path: &'a Path) -> Self {
        let path = path.to_str().unwrap_or_default();
        Self { title: path, path, data_type: None, mime: None }
    }
}

/// Tells what an item is from its first bytes (64 KiB, or all of a smaller one).
pub fn decide(head: &[u8], claims: &Claims<'_>) -> Result<Kind, Error> {
    let _ = (head, claims);
    unimplemented!()
}
