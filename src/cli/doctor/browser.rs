//! What annotators' browsers need, ready to copy. No check on the box can see whether they have it; a call that has
//! arrived proves it.

use super::Check;
use super::policies::{self, Site};
use super::running::{self, moment};
use crate::config::Config;
use crate::journal::Journal;

/// Whether a browser has ever arrived, and what stations need for it.
pub(super) fn check(config: &Config) -> Vec<Check> {
    let site = Site {
        origins: config.file.server.allowed_origins.iter().map(|origin| origin.0.as_str()).collect(),
        anchor: anchor(config),
        admin: config.file.admin.listen.to_string(),
    };
    let mut checks = vec![arrived(config)];
    checks.extend(policies::checks(&site));
    checks
}

/// The box's own authority: its file and its DER.
fn anchor(config: &Config) -> Option<(String, Vec<u8>)> {
    use rustls_pki_types::{CertificateDer, pem::PemObject};
    let path = config.file.server.tls.certificate.get()?.parent()?.join("ca.pem");
    let der = CertificateDer::from_pem_file(&path).ok()?;
    Some((path.display().to_string(), der.to_vec()))
}

fn arrived(config: &Config) -> Check {
    let name = "triggers";
    let settings = config.journal();
    // Opening would make the file, perhaps as a user whose files the daemon cannot write.
    if !settings.path.exists() {
        return never(name, config);
    }
    match Journal::new(settings).recent(1) {
        Ok(last) => match last.first() {
            Some(last) => Check::ok(name, format!("the last one was answered at {} ({})", moment(last.at), last.outcome)),
            None => never(name, config),
        },
        Err(error) => Check::warning(name, error.to_string(), "run doctor as the service's user"),
    }
}

/// Without a trigger: whether a browser has got as far as the door since the daemon's start.
fn never(name: &'static str, config: &Config) -> Check {
    let press = "press the button in the label editor once; if nothing happens, see the next lines";
    match last_call(config) {
        Ok(Some(call)) => Check::warning(
            name,
            format!("none has ever been answered, but a page of {} called from {} at {}", call.origin, call.address, moment(call.at)),
            "trust and network are right there; press the button in the label editor once",
        ),
        Ok(None) => Check::warning(name, "none has ever arrived, and no browser has called since the daemon's start", press),
        Err(cause) => Check::warning(name, format!("none has ever arrived (the daemon was not asked: {cause})"), press),
    }
}

struct Call {
    at: i64,
    origin: String,
    address: String,
}

/// What the running daemon says of the last call of a browser.
fn last_call(config: &Config) -> Result<Option<Call>, String> {
    let status = running::status(config)?;
    let call = &status["last_browser_call"];
    let text = |key: &str| call[key].as_str().unwrap_or_default().to_owned();
    Ok(call["at"].as_i64().map(|at| Call { at, origin: text("origin"), address: text("address") }))
}
