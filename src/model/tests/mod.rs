//! The room as a whole: against a server that plays every known quirk, and with ontologies made up at random.

mod ontologies;
mod quirks;
mod properties;
mod server;
mod strict;
