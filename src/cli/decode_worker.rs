//! `edgelabel decode-worker`: the process in which media is decoded, started by the daemon.

use anyhow::Result;

/// Works until the daemon closes the connection.
pub fn run() -> Result<()> {
    Ok(crate::media::decode::serve()?)
}
