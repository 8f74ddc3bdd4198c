//! OpenAI-compatible chat endpoints: schema and prompt from the ontology, a validated answer back.
//!
//! A question's topics are laid out flat ([`outline`]), taken in sheets of what one call can hold ([`sheet`], with
//! [`choices`] as words), described as [`schema`] and [`prompt`], sent as a [`chat`] request in the [`dialect`] the
//! endpoint takes ([`call`], [`complaint`], [`memory`]), and what comes back is read ([`answer`]) and checked against the
//! ontology ([`validate`]).

mod address;
mod answer;
mod ask;
mod breaker;
mod call;
mod chat;
mod choices;
mod complaint;
mod dialect;
mod endpoint;
pub mod error;
mod events;
pub mod facade;
mod fuzz;
mod gate;
mod header;
mod meaning;
mod memory;
mod meter;
mod outline;
mod pace;
mod probe;
mod prompt;
mod recovery;
mod schema;
mod search;
mod sheet;
mod shrink;
mod validate;

#[cfg(test)]
mod tests;

pub use error::Error;
pub use facade::{Models, Question, Reply, Settings, Stats};
#[doc(hidden)]
pub use fuzz::fuzz_answer;
pub use meter::day;
