//! One picture, step by step into its dataset. Each step is written down before the next, and each may be done again: after a
//! crash, or an answer that was lost, the picture is in the dataset once.

use serde::{Deserialize, Serialize};

use crate::deadline::Deadline;
use crate::encord::{self, Arrived, Berth, Encord, Picture, Shelf};
use crate::http;
use crate::ids::{DataHash, ItemUuid};
use crate::journal::{self, Capture, Held, Journal, State};

use super::report;

/// How far a picture has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Leg {
    /// It is on this box.
    Taken,
    /// There is a link to upload it to.
    Berthed(Berth),
    /// Its bytes are at the store.
    Filled(Berth),
    /// It is a storage item: from here on, this one and no other.
    Registered(ItemUuid),
    /// It is in the dataset.
    Attached {
        /// The storage item.
        item: ItemUuid,
        /// The data item.
        data: DataHash,
    },
    /// An agent has answered for it.
    Labelled {
        /// The storage item.
        item: ItemUuid,
        /// The data item.
        data: DataHash,
    },
}

impl Leg {
    /// As the journal keeps it. It holds an upload link, which nobody is shown.
    pub fn written(&self) -> String {
        // A leg is made of texts.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// As it was written.
    ///
    /// # Errors
    /// Something else was written.
    pub fn read(written: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(written)
    }

    /// The data item, once what the journal keeps has become one.
    pub fn data(written: &str) -> Option<DataHash> {
        match Self::read(written) {
            Ok(Self::Attached { data, .. } | Self::Labelled { data, .. }) => Some(data),
            _ => None,
        }
    }

    /// For people: what has been done of what the journal keeps.
    pub fn word(written: &str) -> &'static str {
        match Self::read(written) {
            Ok(Self::Taken) => "taken",
            Ok(Self::Berthed(_)) => "berthed",
            Ok(Self::Filled(_)) => "uploaded",
            Ok(Self::Registered(_)) => "registered",
            Ok(Self::Attached { .. }) => "attached",
            Ok(Self::Labelled { .. }) => "labelled",
            Err(_) => "unreadable",
        }
    }
}

/// Why a picture is not in its dataset, or not labelled.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Encord or its store.
    #[error(transparent)]
    Encord(#[from] encord::Error),
    /// A step could not be written down, so the next was not taken.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// What the journal has is no picture on its way.
    #[error("the picture cannot be read: {0}")]
    Unreadable(String),
    /// The agent gave no answer, or it is not in the label row.
    #[error("{cause}")]
    Unlabelled {
        /// What happened and who can mend it.
        cause: String,
        /// Whether it may pass.
        passes: bool,
    },
}

impl Failure {
    /// Whether it is worth trying again by itself.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Encord(error) => error.may_pass(),
            Self::Journal(_) => true,
            Self::Unreadable(_) => false,
            Self::Unlabelled { passes, .. } => *passes,
        }
    }
}

/// By whom a picture is taken to Encord.
#[derive(Clone, Copy)]
pub struct Route<'a> {
    /// Encord.
    pub encord: &'a Encord,
    /// For the store: it may need other trust anchors.
    pub store: &'a http::Client,
}

impl Route<'_> {
    /// The steps that are still ahead; `note` hears of each that is done.
    ///
    /// # Errors
    /// The first step that fails, or that cannot be noted.
    pub fn deliver(
        &self,
        shelf: &Shelf,
        picture: &Picture,
        mut leg: Leg,
        mut note: impl FnMut(&Leg) -> Result<(), journal::Error>,
        deadline: &Deadline,
    ) -> Result<Arrived, Failure> {
        let mut renewed = false;
        loop {
            leg = match leg {
                Leg::Taken => Leg::Berthed(self.encord.berth(&shelf.folder, deadline)?),
                Leg::Berthed(berth) => match self.encord.fill(&berth, &picture.jpeg, self.store, deadline) {
                    Ok(()) => Leg::Filled(berth),
                    Err(encord::Error::Refused { .. }) if !renewed => {
                        renewed = true;
                        self.after_refused_link(shelf, berth, deadline)?
                    }
                    Err(error) => return Err(error.into()),
                },
                Leg::Filled(berth) => match self.encord.register(&shelf.folder, &berth, picture, deadline) {
                    Ok(()) => Leg::Registered(berth.item),
                    Err(error @ encord::Error::Refused { .. }) => {
                        // It is not registered, which has been looked at: if it is tried once more, then from the start.
                        note(&Leg::Taken)?;
                        return Err(error.into());
                    }
                    Err(error) => return Err(error.into()),
                },
                Leg::Registered(item) => {
                    let data = self.encord.attach(&shelf.dataset, &item, &picture.title, deadline)?;
                    Leg::Attached { item, data }
                }
                Leg::Attached { item, data } | Leg::Labelled { item, data } => return Ok(Arrived { item, data }),
            };
            note(&leg)?;
        }
    }

    /// A link ages while there is no network. Another is asked for only if nothing came of the first.
    fn after_refused_link(&self, shelf: &Shelf, berth: Berth, deadline: &Deadline) -> Result<Leg, Failure> {
        let registered = self.encord.is_registered(&shelf.folder, &berth.item, deadline)?;
        Ok(if registered { Leg::Registered(berth.item) } else { Leg::Taken })
    }
}

/// Takes a picture of the journal to its dataset, or notes why not. Unless it is to be labelled it is out of the journal then.
///
/// # Errors
/// As noted in the journal; it is tried again by itself if it may pass.
pub fn finish(route: Route<'_>, journal: &Journal, capture: &Capture, held: &Held, deadline: &Deadline) -> Result<Arrived, Failure> {
    let done = carry(route, journal, capture, held, deadline);
    if let Err(failure) = &done {
        let state = if failure.may_pass() { State::Waiting } else { State::Refused };
        report(journal.note_failed_capture(&capture.id, state, &failure.to_string()));
    }
    done
}

fn carry(route: Route<'_>, journal: &Journal, capture: &Capture, held: &Held, deadline: &Deadline) -> Result<Arrived, Failure> {
    let leg = Leg::read(&capture.leg).map_err(|error| Failure::Unreadable(error.to_string()))?;
    let jpeg = held.jpeg().map_err(|error| Failure::Unreadable(error.to_string()))?;
    let metadata = serde_json::from_str(&capture.metadata).map_err(|error| Failure::Unreadable(error.to_string()))?;
    let picture = Picture { jpeg, title: capture.title.clone(), metadata };
    let shelf = Shelf { folder: capture.folder.clone(), dataset: capture.dataset.clone() };
    let note = |leg: &Leg| match leg {
        Leg::Attached { .. } if capture.labelling.is_some() => journal.note_delivered(&capture.id, &leg.written(), held),
        leg => journal.note_leg(&capture.id, &leg.written()),
    };
    let arrived = route.deliver(&shelf, &picture, leg, note, deadline)?;
    if capture.labelling.is_some() {
        return Ok(arrived);
    }
    if let Err(error) = journal.remove_capture(&capture.id, Some(held)) {
        // One that stays is found to be delivered.
        tracing::warn!(picture = %capture.id, %error, "the delivered picture could not be taken out of the journal");
    }
    Ok(arrived)
}
