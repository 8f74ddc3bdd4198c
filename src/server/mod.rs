//! The HTTPS door for the label editor, and the admin address for people and monitoring on the box.

pub mod settings;

pub use settings::{AdminSettings, DEFAULT_ORIGINS, Limits, Network, Settings, SignaturePolicy, TlsSettings};
