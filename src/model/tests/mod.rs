//! The room as a whole: against a server that plays every known quirk, and with ontologies made up at random.

mod ontologies;
mod properties;
mod published;
mod quirks;
mod server;
mod strict;
