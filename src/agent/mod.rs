//! One trigger from the label editor to a saved label.

mod deliver;
pub mod editor;
pub mod error;
mod locks;
mod objects;
pub mod pool;
pub mod replay;
pub mod report;
mod save;
mod select;
pub mod settings;
pub mod trigger;

pub use error::{Error, Kind};
pub use pool::{Pool, PoolLimits, PoolStats};
pub use save::Saves;
pub use select::{choose, choose_attributes};
pub use settings::{Existing, ReplyStyle, Settings, Target};
pub use trigger::{Outcome, Trigger};
