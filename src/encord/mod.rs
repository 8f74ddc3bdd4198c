//! Encord's HTTP API as one agent run needs it: project, ontology, label row, signed link, save.

pub mod answer;
pub mod auth;
pub mod client;
pub mod error;
pub mod label_row;
pub mod ontology;

pub use answer::{Answer, AnswerValue, AttributeAnswer};
pub use client::{Encord, Project, RowSummary, Settings};
pub use error::Error;
pub use label_row::LabelRow;
pub use ontology::Ontology;
