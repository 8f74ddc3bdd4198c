//! The bytes of an item, by range: over HTTP with a disk cache, or from a local file.

use std::path::{Path, PathBuf};

use crate::deadline::Deadline;
use crate::http;
use crate::ids::SignedUrl;
use crate::media::{AssetLink, Error};

/// How items are fetched and what is kept of them.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// Where ranges and indexes are cached; made if missing. One that cannot be used costs a warning, never a trigger.
    pub cache_dir: PathBuf,
    /// Bound on the cache in bytes.
    pub cache_bytes: u64,
    /// How media links are fetched.
    pub http: http::Settings,
}

/// Opens items. Cheap to clone; clones share connections and cache.
#[derive(Clone)]
pub struct Store {}

impl Store {
    /// Loads the trust anchors, takes the cache directory and cleans it.
    ///
    /// Fails only on trust anchors that cannot be read.
    pub fn open_cache(settings: &StoreSettings) -> Result<Self, Error> {
        let _ = settings;
        unimplemented!()
    }

    /// The item behind a link, ready to be read. At most one request, none when the cache knows it from minutes ago.
    ///
    /// `renew` is called at most once in the item's life, when the store refuses the link as expired.
    pub fn open<'a>(
        &'a self,
        link: &AssetLink,
        renew: &'a mut dyn FnMut() -> Option<SignedUrl>,
        deadline: &Deadline,
    ) -> Result<Item<'a>, Error> {
        let _ = (link, renew, deadline);
        unimplemented!()
    }

    /// A local file as an item.
    pub fn open_file(&self, path: &Path) -> Result<Item<'static>, Error> {
        let _ = path;
        unimplemented!()
    }
}

/// One item while a trigger reads it.
pub struct Item<'a> {
    _renew: std::marker::PhantomData<&'a ()>,
}

/// What reading an item cost so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Facts {
    /// Body bytes that came over the network for this item.
    pub bytes_fetched: u64,
    /// Requests to the store, retries included.
    pub requests: u32,
    /// Size of the whole item in bytes.
    pub total_bytes: u64,
}

/// A run of bytes of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first byte.
    pub offset: u64,
    /// How many bytes.
    pub length: u64,
}

impl Item<'_> {
    /// Size of the whole item in bytes.
    pub fn size(&self) -> u64 {
        unimplemented!()
    }

    /// The first bytes, at most 64 KiB: what its kind is told from.
    pub fn head(&self) -> &[u8] {
        unimplemented!()
    }

    /// The media type the store gave, if any; often only `application/octet-stream`.
    pub fn content_type(&self) -> Option<&str> {
        unimplemented!()
    }

    /// Makes `spans` present with as few requests as is sensible: small gaps between them are fetched along. Optional
    /// before reading pieces that lie near each other, such as the samples of a GOP in chunks with audio between.
    pub fn fetch(&mut self, spans: &[Span], deadline: &Deadline) -> Result<(), Error> {
        let _ = (spans, deadline);
        unimplemented!()
    }

    /// `len` bytes from `offset`; fewer only where the item ends. What is missing is fetched, and nothing else.
    ///
    /// When the error is that the item changed, [`Item::changed`] says so; opening it anew then gives the new one.
    pub fn read(&mut self, offset: u64, len: usize, deadline: &Deadline) -> Result<Vec<u8>, Error> {
        let _ = (offset, len, deadline);
        unimplemented!()
    }

    /// Whether the store has another item now than the one this was opened as; all reads fail from then on.
    pub fn changed(&self) -> bool {
        unimplemented!()
    }

    /// To be called once before a result made from this item is given out: when everything came from a cache that was
    /// not compared with the store for a while, this makes the one small request that does. Fails when it changed.
    pub fn confirm(&mut self, deadline: &Deadline) -> Result<(), Error> {
        let _ = deadline;
        unimplemented!()
    }

    /// What reading cost so far.
    pub fn facts(&self) -> Facts {
        unimplemented!()
    }

    /// What [`Item::store_index_blob`] kept for exactly this content.
    pub fn index_blob(&self) -> Option<Vec<u8>> {
        unimplemented!()
    }

    /// Keeps a small opaque text about this content, such as its sample table; at most 32 MiB, best effort.
    pub fn store_index_blob(&mut self, blob: &[u8]) {
        let _ = blob;
        unimplemented!()
    }
}
