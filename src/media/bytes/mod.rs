//! The bytes of an item, by range: over HTTP with a disk cache, or from a local file.
//!
//! A read fetches exactly what is missing and keeps it. What came from the store in the last minutes is used without
//! asking; older bytes are used too, and the next request doubles as the question whether the item is still the same.

mod cache;
mod entry;
mod folder;
mod fuzz;
mod origin;
mod outlet;
mod plan;
mod remote;
mod spool;
mod version;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::deadline::Deadline;
use crate::http;
use crate::ids::SignedUrl;
use crate::media::{AssetLink, Error};

#[doc(hidden)]
pub use fuzz::fuzz_range_answer;

use cache::Cache;
use origin::Origin;
use remote::Remote;
use version::Key;

/// How much of an item's beginning is read to tell its kind, and asked for first.
const HEAD: u64 = 64 << 10;

/// The most that one read returns.
pub const LARGEST_READ: usize = 64 << 20;

/// How much of a local file is read at once.
const FILE_PIECE: u64 = 1 << 20;

/// The largest index blob that is kept.
const LARGEST_INDEX: usize = 32 << 20;

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
pub struct Store {
    client: http::Client,
    cache: Arc<Cache>,
}

impl Store {
    /// Loads the trust anchors, takes the cache directory and cleans it.
    ///
    /// Fails only on trust anchors that cannot be read.
    pub fn open_cache(settings: &StoreSettings) -> Result<Self, Error> {
        let client = http::Client::new(&settings.http).map_err(|error| Error::Store { host: "(any)".into(), cause: error.to_string() })?;
        Ok(Self { client, cache: Arc::new(Cache::open(&settings.cache_dir, settings.cache_bytes)) })
    }

    /// What the requests to media stores came to, by HTTP status.
    pub fn statuses(&self) -> http::Statuses {
        self.client.statuses()
    }

    /// What keeps media from being kept on the disk, if anything does.
    pub fn cache_problem(&self) -> Option<String> {
        self.cache.problem()
    }

    /// Bytes that are kept, on the disk and in memory.
    pub fn kept_bytes(&self) -> u64 {
        self.cache.kept_bytes()
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
        let origin = Origin::new(&self.client, link.url.clone(), renew);
        let (remote, head) = Remote::open(&self.cache, origin, Key::of(&link.url), link.data_type, deadline)?;
        Ok(Item { size: remote.size(), head, source: Source::Remote(Box::new(remote)), title: link.title.clone() })
    }

    /// A local file as an item.
    pub fn open_file(&self, path: &Path) -> Result<Item<'static>, Error> {
        let title = path.display().to_string();
        let broken = |cause: String| Error::Broken { title: title.clone(), cause };
        let metadata = std::fs::metadata(path).map_err(|error| broken(error.to_string()))?;
        if !metadata.is_file() {
            return Err(broken("it is not a file".into()));
        }
        let file = File::open(path).map_err(|error| broken(error.to_string()))?;
        let size = metadata.len();
        let mut head = vec![0; HEAD.min(size) as usize];
        file.read_exact_at(&mut head, 0).map_err(|error| broken(error.to_string()))?;
        Ok(Item { size, head, source: Source::File(file), title })
    }
}

/// One item while a trigger reads it.
pub struct Item<'a> {
    source: Source<'a>,
    title: String,
    size: u64,
    head: Vec<u8>,
}

enum Source<'a> {
    File(File),
    Remote(Box<Remote<'a>>),
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
        self.size
    }

    /// The first bytes, at most 64 KiB: what its kind is told from.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// A name of this content, equal for two items only if all their bytes are. None for a file, and where the store sends
    /// nothing that tells one content from another.
    pub fn content(&self) -> Option<String> {
        match &self.source {
            Source::File(_) => None,
            Source::Remote(remote) => remote.content(),
        }
    }

    /// The media type the store gave, if any; often only `application/octet-stream`.
    pub fn content_type(&self) -> Option<&str> {
        match &self.source {
            Source::File(_) => None,
            Source::Remote(remote) => remote.media_type(),
        }
    }

    /// Hands all bytes of `spans`, as far as the item goes, to `sink`, in order and in pieces as they come. What is missing is
    /// fetched with as few requests as is sensible: small gaps between spans are fetched along, such as audio between the
    /// samples of a GOP.
    pub fn stream(&mut self, spans: &[Span], deadline: &Deadline, sink: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        let size = self.size;
        let spans: Vec<Span> = spans.iter().map(|span| span.clipped(size)).collect();
        match &mut self.source {
            Source::Remote(remote) => remote.stream(&spans, deadline, sink),
            Source::File(_) => {
                for mut span in spans {
                    while span.length > 0 {
                        let bytes = self.read(span.offset, span.length.min(FILE_PIECE) as usize, deadline)?;
                        sink(&bytes);
                        span = Span::between(span.offset + bytes.len() as u64, span.end());
                    }
                }
                Ok(())
            }
        }
    }

    /// `len` bytes from `offset`; fewer only where the item ends. What is missing is fetched, and nothing else.
    ///
    /// When the error is that the item changed, [`Item::changed`] says so; opening it anew then gives the new one.
    /// More than [`LARGEST_READ`] at once is refused.
    pub fn read(&mut self, offset: u64, len: usize, deadline: &Deadline) -> Result<Vec<u8>, Error> {
        if len > LARGEST_READ {
            let cause = format!("{len} bytes are needed at once, more than {LARGEST_READ}");
            return Err(Error::Broken { title: self.title.clone(), cause });
        }
        let span = Span { offset, length: len as u64 }.clipped(self.size);
        match &mut self.source {
            Source::Remote(remote) => remote.read(span, deadline),
            Source::File(file) => {
                let mut bytes = vec![0; span.length as usize];
                file.read_exact_at(&mut bytes, span.offset)
                    .map_err(|error| Error::Broken { title: self.title.clone(), cause: format!("{span} cannot be read: {error}") })?;
                Ok(bytes)
            }
        }
    }

    /// Whether the store has another item now than the one this was opened as; all reads fail from then on.
    pub fn changed(&self) -> bool {
        match &self.source {
            Source::File(_) => false,
            Source::Remote(remote) => remote.changed(),
        }
    }

    /// Keeps nothing of this item: what cannot be shown may be an error page that the store sent in its place for a
    /// while, or bytes that were damaged on their way.
    pub fn forget(&self) {
        if let Source::Remote(remote) = &self.source {
            remote.forget();
        }
    }

    /// To be called once before a result made from this item is given out: when everything came from a cache that was
    /// not compared with the store for a while, this makes the one small request that does. Fails when it changed.
    pub fn confirm(&mut self, deadline: &Deadline) -> Result<(), Error> {
        match &mut self.source {
            Source::File(_) => Ok(()),
            Source::Remote(remote) => remote.confirm(deadline),
        }
    }

    /// What reading cost so far.
    pub fn facts(&self) -> Facts {
        match &self.source {
            Source::File(_) => Facts { total_bytes: self.size, ..Facts::default() },
            Source::Remote(remote) => remote.facts(),
        }
    }

    /// What [`Item::store_index_blob`] kept for exactly this content.
    pub fn index_blob(&self) -> Option<Vec<u8>> {
        match &self.source {
            Source::File(_) => None,
            Source::Remote(remote) => remote.index(),
        }
    }

    /// Keeps a small opaque text about this content, such as its sample table; at most 32 MiB, best effort.
    pub fn store_index_blob(&mut self, blob: &[u8]) {
        match &self.source {
            Source::Remote(remote) if blob.len() <= LARGEST_INDEX => remote.keep_index(blob),
            _ => {}
        }
    }
}
