//! One trigger from the label editor to a saved label.

pub mod error;
pub mod pool;
pub mod settings;
pub mod trigger;

pub use error::{Error, Kind};
pub use pool::{Pool, PoolLimits, PoolStats};
pub use settings::{Existing, ReplyStyle, Settings, Target};
pub use trigger::{Outcome, Trigger};
