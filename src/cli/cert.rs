//! `edgelabel cert`: the box's own certificate authority and server certificate.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use super::ConfigArgument;
use crate::config::Config;
use crate::server::TlsSettings;
use crate::server::authority::{self, AuthorityFiles};
use crate::server::certificate::day;
use crate::server::names::Names;

/// Makes, shows and renews the box's own certificate
///
/// Browsers call the box only over HTTPS, and only if they trust its certificate. `cert init` makes a certificate
/// authority of the box's own and a server certificate from it; the annotators' stations are told once to trust the
/// authority (ca.pem), and every renewed server certificate is then accepted.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    config: ConfigArgument,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Makes the authority and the first server certificate
    Init(InitArguments),
    /// Prints names, end and fingerprint of both
    Show,
    /// Makes a new server certificate from the authority that is there
    Renew(MoreNames),
}

#[derive(Debug, clap::Args)]
struct InitArguments {
    #[command(flatten)]
    names: MoreNames,
    /// Throw an existing authority away; every station must then be told to trust the new one
    #[arg(long)]
    replace: bool,
}

#[derive(Debug, clap::Args)]
struct MoreNames {
    /// A host name that annotators' browsers use, besides this box's own names
    #[arg(long = "name", value_name = "HOST")]
    names: Vec<String>,
    /// An address that annotators' browsers use, besides this box's own addresses
    #[arg(long = "ip", value_name = "ADDR")]
    addresses: Vec<IpAddr>,
}

impl MoreNames {
    fn parse(&self) -> anyhow::Result<Names> {
        let mut given = Names::parse(self.names.iter().map(String::as_str)).map_err(anyhow::Error::msg)?;
        given.addresses.extend(&self.addresses);
        Ok(given)
    }
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let files = AuthorityFiles::beside(&tls_settings(&arguments.config));
    match &arguments.command {
        Command::Init(init) => {
            authority::init(&files, &init.names.parse()?.and(&Names::of_this_box()), init.replace)?;
        }
        Command::Renew(more) => {
            authority::renew(&files, &more.parse()?, &Names::of_this_box())?;
        }
        Command::Show => authority::heal(&files),
    }
    super::print(&describe(&files)?)?;
    Ok(ExitCode::SUCCESS)
}

/// The certificate is often made before the rest of the configuration is complete, so a configuration that cannot be
/// used yet only means that the files are in their usual places.
fn tls_settings(argument: &ConfigArgument) -> TlsSettings {
    let loaded = Config::load(argument.config.as_deref(), &super::environment()).and_then(|config| config.server());
    loaded.map(|server| server.tls).unwrap_or_else(|_| {
        let config = argument.config.as_deref().unwrap_or(Path::new("/etc/edgelabel/config.toml"));
        let folder = config.parent().unwrap_or(Path::new("")).join("certs");
        eprintln!("note: the configuration is not valid yet; taking {} for the certificate's folder", folder.display());
        TlsSettings { certificate: folder.join("server.pem"), private_key: folder.join("server.key"), client_ca: None }
    })
}

fn describe(files: &AuthorityFiles) -> anyhow::Result<String> {
    let now = SystemTime::now();
    let mut text = String::new();
    let server = authority::server_facts(files)?;
    let names = server.dns_names.iter().cloned().chain(server.addresses.iter().map(IpAddr::to_string));
    // Writing to a String cannot fail.
    let _ = writeln!(text, "server certificate  {}", files.certificate.display());
    for name in names {
        let _ = writeln!(text, "  for               {name}");
    }
    let _ = writeln!(text, "  until             {} ({} days)", day(server.not_after), server.days_left(now));
    let _ = writeln!(text, "  SHA-256           {}", server.sha256);
    if let Some(problem) = server.date_problem(now) {
        let _ = writeln!(text, "  not valid now:    {problem}");
    }
    match authority::authority_facts(files) {
        Ok(ca) if ca.subject == server.issuer => {
            let _ = writeln!(text, "authority           {}", files.ca_certificate.display());
            let _ = writeln!(text, "  name              {}", ca.subject);
            let _ = writeln!(text, "  until             {} ({} days)", day(ca.not_after), ca.days_left(now));
            let _ = writeln!(text, "  SHA-256           {}", ca.sha256);
            let _ = writeln!(text, "Stations must trust {} once; compare the fingerprint there.", files.ca_certificate.display());
        }
        _ => {
            let _ = writeln!(text, "issued by           {} (not the box's own authority)", server.issuer);
        }
    }
    Ok(text)
}
