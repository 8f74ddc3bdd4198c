//! What annotators' browsers need, ready to copy. No check on the box can see whether they have it; a call that has
//! arrived proves it.

use std::time::Duration;

use serde_json::Value;

use super::Check;
use super::policies::{self, Site};
use crate::config::Config;
use crate::deadline::Deadline;
use crate::http;
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
    let admin = config.admin().map_err(|invalid| invalid.to_string())?;
    let client = http::Client::new(&http::Settings::default()).map_err(|error| error.to_string())?;
    let url = format!("http://{}/status.json", admin.listen);
    let mut request = http::Request::get(&url);
    if let Some(token) = &admin.token {
        request = request.header("authorization", format!("Bearer {}", token.expose()));
    }
    let answer = client.send(&request, &Deadline::after(Duration::from_secs(3))).map_err(|fault| fault.to_string())?;
    let status: Value = serde_json::from_slice(&answer.body).map_err(|_| format!("{url} answers {}", answer.status))?;
    let call = &status["last_browser_call"];
    let text = |key: &str| call[key].as_str().unwrap_or_default().to_owned();
    Ok(call["at"].as_i64().map(|at| Call { at, origin: text("origin"), address: text("address") }))
}

fn moment(seconds: i64) -> String {
    let moment = time::OffsetDateTime::from_unix_timestamp(seconds).ok();
    moment.and_then(|moment| moment.format(&time::format_description::well_known::Rfc3339).ok()).unwrap_or_default()
}
