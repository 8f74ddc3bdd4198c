//! From a link to the picture the annotator sees: bytes by range, decoded in a worker process.

pub mod bytes;
pub mod decode;
pub mod error;
pub mod facade;
pub mod frame;
pub mod index;
pub mod kind;
pub mod source;
pub mod still;
pub mod worker;

pub use error::Error;
pub use facade::{DecoderState, Media, Settings};
pub use frame::{AssetLink, DataType, Frame, Hdr, Picture, Region, Timings, Want};
