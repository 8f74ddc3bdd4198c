//! The command line: one file per command, thin; and the one place that knows exit codes.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::camera::{self, Camera};
use crate::config::{Config, Env, Invalid};
use crate::{encord, http, server};

mod capture;
mod cert;
mod check;
mod decode_worker;
mod doctor;
mod frame;
mod pending;
mod progress;
mod run;
mod schema;
mod trigger;

/// Answers Encord's label editor from a box in your own network.
///
/// An annotator presses a button; edgelabel fetches the one frame they look at, asks the configured model, and saves
/// the answer to the label row.
#[derive(Debug, Parser)]
#[command(name = "edgelabel", version, propagate_version = true, max_term_width = 100, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit codes:
  0   done
  1   it failed
  2   wrong usage
  78  wrong configuration (systemd does not restart on it)

Files:
  /etc/edgelabel/config.toml       the configuration; every key is explained in it
  /etc/edgelabel/conf.d/*.toml     amendments, read in order of name
  /etc/edgelabel/certs/            the server's certificate and key

Environment:
  EDGELABEL__SECTION__KEY          any key, such as EDGELABEL__SERVER__REQUEST_BUDGET=30s
  ENCORD_SSH_KEY_FILE, ENCORD_SSH_KEY, ENCORD_DOMAIN, ENCORD_WEBHOOK_SECRET, OPENAI_API_KEY, OPENAI_BASE_URL
                                   win over the files";

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Arguments),
    Cert(cert::Arguments),
    Check(check::Arguments),
    Doctor(doctor::Arguments),
    Frame(frame::Arguments),
    Capture(capture::Arguments),
    Trigger(trigger::Arguments),
    Schema(schema::Arguments),
    Pending(pending::Arguments),
    #[command(hide = true)]
    DecodeWorker(decode_worker::Arguments),
}

/// Where the configuration is.
#[derive(Debug, Args)]
struct ConfigArgument {
    /// Configuration file; conf.d/*.toml beside it is read too [default: /etc/edgelabel/config.toml]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

impl ConfigArgument {
    /// Reads the configuration in this process's environment and prints its warnings.
    fn load(&self) -> Result<Config, Invalid> {
        let config = Config::load(self.config.as_deref(), &environment())?;
        for warning in &config.warnings {
            eprintln!("warning: {warning}");
        }
        Ok(config)
    }
}

fn environment() -> Env {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
}

/// The command line as it is declared, for manual pages and shell completions.
pub fn declared() -> clap::Command {
    Cli::command()
}

/// Runs the command that the program's arguments name.
pub fn main() -> ExitCode {
    main_seeing(Camera::new)
}

/// The same with cameras of another make, for tests on a box without one.
#[doc(hidden)]
pub fn main_seeing(make: fn(camera::Settings) -> Camera) -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => {
            // Help and version are asked for and go to stdout; all else is wrong usage. A closed stdout is no failure.
            let _ = usage.print();
            return ExitCode::from(if usage.use_stderr() { 2 } else { 0 });
        }
    };
    let done = match cli.command {
        Command::Run(arguments) => run::run(&arguments, make),
        Command::Cert(arguments) => cert::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Frame(arguments) => frame::run(&arguments),
        Command::Capture(arguments) => capture::run(&arguments, make),
        Command::Trigger(arguments) => trigger::run(&arguments),
        Command::Schema(arguments) => schema::run(&arguments),
        Command::Pending(arguments) => pending::run(&arguments),
        Command::DecodeWorker(arguments) => decode_worker::run(&arguments),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("edgelabel: {error:#}");
            ExitCode::from(exit_code(&error))
        }
    }
}

/// The command line is well-formed but cannot be meant.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct WrongUsage(String);

/// 2 for wrong usage; 78 for a configuration that cannot be used, and for the keys, certificates and trust anchors it names; 1 for
/// everything else.
fn exit_code(error: &anyhow::Error) -> u8 {
    if error.chain().any(|cause| cause.is::<WrongUsage>()) {
        return 2;
    }
    let configured = |cause: &(dyn std::error::Error + 'static)| {
        cause.is::<Invalid>()
            || matches!(cause.downcast_ref(), Some(server::StartError::Tls(_)))
            || cause.is::<http::SetupError>()
            || matches!(cause.downcast_ref(), Some(encord::Error::Key { .. }))
    };
    if error.chain().any(configured) { 78 } else { 1 }
}

/// Prints to stdout. A reader that went away, as in `| head`, ends the printing and is no failure.
fn print(text: &str) -> std::io::Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}
