//! What annotators' browsers need, ready to copy. No check on the box can see whether they have it; a call that has
//! arrived proves it.

use base64::Engine as _;
use serde_json::{Value, json};

use super::Check;
use crate::config::Config;
use crate::journal::Journal;

/// Whether a browser has ever arrived, and what stations need for it.
pub(super) fn check(config: &Config) -> Vec<Check> {
    let origins: Vec<&str> = config.file.server.allowed_origins.iter().map(|origin| origin.0.as_str()).collect();
    let anchor = anchor(config);
    let needs = format!(
        "annotators' stations need two things:\n\
         1. trust in this box's certificate: import {} as a trusted authority (also at http://{}/ca.crt on the box)\n\
         2. permission to reach the local network: annotators are asked once and must click Allow, or an administrator sets a policy\n\
         Chrome, Edge, Chromium (policies/managed/edgelabel.json): {}\n\
         Firefox 150 and newer (policies.json): {}\n\
         macOS 15 and newer asks once whether the browser may reach devices on the local network",
        anchor.as_ref().map_or("the certificate's authority".into(), |(path, _)| path.clone()),
        config.file.admin.listen,
        chromium(&origins, anchor.as_ref().map(|(_, der)| der.as_slice())),
        firefox(&origins, anchor.as_ref().map(|(path, _)| path.as_str())),
    );
    vec![arrived(config), Check::ok("browsers", needs)]
}

/// Chrome and Edge have the same policies: both addresses in the local network and the box itself, and the trust anchor.
fn chromium(origins: &[&str], anchor: Option<&[u8]>) -> Value {
    let mut policy = json!({ "LocalNetworkAccessAllowedForUrls": origins });
    if let Some(der) = anchor {
        policy["CACertificates"] = json!([base64::engine::general_purpose::STANDARD.encode(der)]);
    }
    policy
}

fn firefox(origins: &[&str], anchor: Option<&str>) -> Value {
    let hosts: Vec<&str> = origins.iter().filter_map(|origin| origin.split_once("://")).map(|(_, host)| host).collect();
    let mut policies = json!({ "LocalNetworkAccess": { "SkipDomains": hosts } });
    if let Some(path) = anchor {
        let file = path.rsplit('/').next().unwrap_or(path);
        policies["Certificates"] = json!({ "Install": [file] });
    }
    json!({ "policies": policies })
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
        return Check::ok(name, "none has been answered yet");
    }
    match Journal::new(settings).recent(1) {
        Ok(last) => match last.first() {
            Some(last) => Check::ok(name, format!("the last one was answered at {} ({})", moment(last.at), last.outcome)),
            None => Check::warning(
                name,
                "none has ever arrived",
                "press the button in the label editor once; if nothing happens, see the next line",
            ),
        },
        Err(error) => Check::warning(name, error.to_string(), "run doctor as the service's user"),
    }
}

fn moment(seconds: i64) -> String {
    let moment = time::OffsetDateTime::from_unix_timestamp(seconds).ok();
    moment.and_then(|moment| moment.format(&time::format_description::well_known::Rfc3339).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policies_name_the_configured_pages_and_the_anchor() {
        let chrome = chromium(&["https://app.encord.com"], Some(&[1, 2, 3]));
        assert_eq!(chrome, json!({ "LocalNetworkAccessAllowedForUrls": ["https://app.encord.com"], "CACertificates": ["AQID"] }));
        let fox = firefox(&["https://app.encord.com"], Some("/etc/edgelabel/certs/ca.pem"));
        assert_eq!(fox["policies"]["LocalNetworkAccess"]["SkipDomains"], json!(["app.encord.com"]));
        assert_eq!(fox["policies"]["Certificates"]["Install"], json!(["ca.pem"]));
    }
}
