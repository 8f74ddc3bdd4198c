//! OpenAI-compatible chat endpoints: schema and prompt from the ontology, a validated answer back.

pub mod error;
pub mod facade;

pub use error::Error;
pub use facade::{Models, Question, Reply, Settings};
