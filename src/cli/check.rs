//! `edgelabel check`: is the configuration valid, and what is in force?

use std::process::ExitCode;

use super::ConfigArgument;
use crate::config::Config;
use crate::encord::Encord;

/// Validates the configuration and prints the effective one, with the origin of each value
///
/// Reads every layer (built-in defaults, config.toml, conf.d/*.toml, systemd credentials, environment), checks every key
/// and every file it names, and prints the result as TOML on stdout. Secrets are masked. Nothing is changed and nothing
/// is called, so it is safe as ExecStartPre=.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 valid, 78 not valid; all problems are listed on stderr, each with file and line.")]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// Only say what is wrong
    #[arg(long)]
    quiet: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut config = Config::load(arguments.config.config.as_deref(), &super::environment())?;
    let ready = config.ready().map_err(anyhow::Error::from).and_then(|()| key_is_usable(&config));
    if !arguments.quiet {
        super::print(&config.effective())?;
    }
    for warning in &config.warnings {
        eprintln!("warning: {warning}");
    }
    ready?;
    Ok(ExitCode::SUCCESS)
}

/// The key's file can be read; now whether it holds a key that Encord takes. Nothing is called.
fn key_is_usable(config: &Config) -> anyhow::Result<()> {
    Encord::new(config.encord()?)?;
    Ok(())
}
