//! Encord's HTTP API as one agent run needs it: project, ontology, label row, signed link, save.

pub mod answer;
pub mod auth;
mod cache;
mod calls;
pub mod client;
pub mod dates;
mod envelope;
pub mod error;
mod frame_entries;
pub mod frames;
mod fuzz;
pub mod label_row;
mod link;
pub mod merge;
mod objects;
pub mod ontology;
mod ontology_json;
mod place;
pub mod prepared;
mod raw;
mod regions;
pub mod requests;
pub mod rows;
pub mod state;
mod upload;

pub use answer::{Answer, AnswerValue, AttributeAnswer};
pub use client::{Encord, Project, Settings};
pub use error::Error;
#[doc(hidden)]
pub use fuzz::{fuzz_encord_answer, fuzz_label_row};
pub use label_row::{LabelRow, RowKind};
pub use merge::{ExistingAnswer, Merged};
pub use objects::FrameObject;
pub use ontology::Ontology;
pub use place::Place;
pub use prepared::PreparedAnswer;
pub use rows::RowSummary;
pub use state::Fingerprint;
pub use upload::{Arrived, Berth, Picture, Shelf};

#[cfg(test)]
mod client_tests;
#[cfg(test)]
mod edit_tests;
#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod holds_tests;
#[cfg(test)]
mod leftover_tests;
#[cfg(test)]
mod merge_tests;
#[cfg(test)]
mod object_tests;
#[cfg(test)]
mod prepared_tests;
#[cfg(test)]
mod stub;
