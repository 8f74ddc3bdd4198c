//! `edgelabel decode-worker`: the process in which media is decoded, started by the daemon.

use std::process::ExitCode;

/// Decodes for the daemon that started it; of no use by hand
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {}

pub(super) fn run(_: &Arguments) -> anyhow::Result<ExitCode> {
    crate::media::decode::serve()?;
    Ok(ExitCode::SUCCESS)
}
