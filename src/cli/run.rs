//! `edgelabel run`: the daemon.

use std::process::ExitCode;

use super::ConfigArgument;
use crate::camera::{self, Camera};
use crate::daemon::{self, Source};

/// Answers the label editor until it is told to stop
///
/// SIGTERM and SIGINT: running triggers finish within server.shutdown_grace, then exit 0. SIGHUP: the configuration is
/// read again, whole or not at all.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
}

pub(super) fn run(arguments: &Arguments, make: fn(camera::Settings) -> Camera) -> anyhow::Result<ExitCode> {
    daemon::run(&Source { path: arguments.config.config.clone(), environment: super::environment() }, make)?;
    Ok(ExitCode::SUCCESS)
}
