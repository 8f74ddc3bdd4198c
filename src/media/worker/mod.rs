//! Decode workers as the daemon sees them: warm child processes that get a job and bytes, and hand back pictures.

mod fuzz;
pub mod job;
pub mod pool;
pub mod process;
pub mod proofs;
pub mod protocol;
pub mod wire;

#[doc(hidden)]
pub use fuzz::fuzz_worker_says;
