//! The pictures of the last triggers, for the status page: kept in memory only, and only when `admin.thumbnails` is switched on.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::media::Picture;

/// As many as fit on a page that people look at.
const MOST: usize = 20;

/// A model's picture has some hundred kilobytes; one of unusual size is not worth the memory.
const LARGEST: usize = 2 << 20;

#[derive(Debug, Default)]
pub(super) struct Gallery {
    on: AtomicBool,
    /// By request, oldest first.
    pictures: Mutex<VecDeque<(String, Picture)>>,
}

impl Gallery {
    /// Switched off, it forgets what it has.
    pub(super) fn switch(&self, on: bool) {
        self.on.store(on, Ordering::SeqCst);
        if !on {
            self.lock().clear();
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.on.load(Ordering::SeqCst)
    }

    pub(super) fn keep(&self, request: String, picture: Picture) {
        if !self.is_on() || picture.bytes.len() > LARGEST {
            return;
        }
        let mut pictures = self.lock();
        if pictures.len() >= MOST {
            pictures.pop_front();
        }
        pictures.push_back((request, picture));
    }

    pub(super) fn picture(&self, request: &str) -> Option<Picture> {
        self.lock().iter().find(|(kept, _)| kept == request).map(|(_, picture)| picture.clone())
    }

    /// Requests that a picture is kept of.
    pub(super) fn requests(&self) -> Vec<String> {
        self.lock().iter().map(|(request, _)| request.clone()).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<(String, Picture)>> {
        self.pictures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(length: usize) -> Picture {
        Picture { mime: "image/jpeg", bytes: vec![0; length], width: 1, height: 1 }
    }

    #[test]
    fn nothing_is_kept_unless_it_is_switched_on_and_then_not_much() {
        let gallery = Gallery::default();
        gallery.keep("a".into(), picture(9));
        assert!(gallery.picture("a").is_none());
        gallery.switch(true);
        gallery.keep("huge".into(), picture(LARGEST + 1));
        for number in 0..MOST + 3 {
            gallery.keep(number.to_string(), picture(9));
        }
        assert_eq!(gallery.requests().len(), MOST);
        assert!(gallery.picture("huge").is_none() && gallery.picture("2").is_none() && gallery.picture("3").is_some());
        gallery.switch(false);
        assert!(gallery.requests().is_empty());
    }
}
