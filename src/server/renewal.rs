//! Keeps the certificate valid: renews one of the box's own authority in time, and warns of the end of any other.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::authority::{self, AuthorityFiles};
use super::certificate::{CertificateFacts, day};
use super::door::{Door, Phase};
use super::names::Names;

/// How often the dates and the box's names and addresses are looked at. A box that has got a new address cannot be
/// called by it until the certificate names it.
const LOOK: Duration = Duration::from_secs(300);

/// How often the files are looked at while nobody calls.
const WATCH: Duration = Duration::from_secs(5);

/// Days before the end on which a certificate that nobody renews is warned of.
const WARN_DAYS: [i64; 3] = [30, 7, 1];

/// Looks after the certificate until the server closes.
pub(super) async fn keep_valid(door: Arc<Door>) {
    let mut phase = door.phase.clone();
    let mut warned = None;
    let mut failed = None;
    loop {
        look_after(&door, &mut warned, &mut failed).await;
        let next = Instant::now() + LOOK;
        while Instant::now() < next {
            tokio::select! {
                () = tokio::time::sleep(WATCH) => door.tls.watch(),
                _ = phase.wait_for(|phase| *phase == Phase::Closed) => return,
            }
        }
    }
}

async fn look_after(door: &Door, warned: &mut Option<(String, i64)>, failed: &mut Option<String>) {
    let files = AuthorityFiles::beside(&door.tls.settings());
    match tokio::task::spawn_blocking(move || renew_if_due(&files)).await {
        Ok(Ok(Some(reason))) => tracing::info!(%reason, "the certificate is renewed"),
        Ok(Err(cause)) if failed.as_ref() != Some(&cause) => {
            tracing::error!("the certificate cannot be renewed: {cause}; `edgelabel cert renew` does it by hand");
            *failed = Some(cause);
        }
        Ok(_) => warn_of_end(&door.tls.state().facts, SystemTime::now(), warned),
        Err(panic) => tracing::error!(%panic, "looking after the certificate panicked; the one in use stays in use"),
    }
}

/// Why the certificate was renewed, if it was. The next look at the files finds the new ones.
fn renew_if_due(files: &AuthorityFiles) -> Result<Option<String>, String> {
    let Some(reason) = authority::renewal_due(files, &Names::to_be_reached(), SystemTime::now()) else { return Ok(None) };
    authority::renew(files, &Names::default(), &Names::of_this_box()).map_err(|cause| format!("{reason}, but {cause}"))?;
    Ok(Some(reason))
}

/// Warns once for each threshold that has been crossed.
fn warn_of_end(facts: &CertificateFacts, now: SystemTime, warned: &mut Option<(String, i64)>) {
    let days = facts.days_left(now);
    let Some(crossed) = WARN_DAYS.iter().copied().filter(|limit| days < *limit).min() else { return };
    let crossed = Some((facts.sha256.clone(), crossed));
    if *warned != crossed {
        tracing::warn!(days, until = day(facts.not_after), certificate = %facts, "the certificate ends soon and is not renewed by edgelabel");
        *warned = crossed;
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::TlsSettings;
    use super::*;

    #[test]
    fn an_address_that_the_certificate_lacks_is_added() {
        let folder = tempfile::tempdir().unwrap();
        let tls =
            TlsSettings { certificate: folder.path().join("server.pem"), private_key: folder.path().join("server.key"), client_ca: None };
        let files = AuthorityFiles::beside(&tls);
        let own = Names::of_this_box();
        let mut before = own.clone();
        before.addresses.clear();
        authority::init(&files, &before, false).unwrap();
        let outward = super::super::names::outward_addresses();
        let renewed = renew_if_due(&files).unwrap();
        // Public addresses are beyond what an authority for local names may vouch for.
        let local = outward.iter().any(|address| match address {
            std::net::IpAddr::V4(v4) => v4.is_private() || v4.is_link_local(),
            std::net::IpAddr::V6(v6) => v6.is_unique_local(),
        });
        assert_eq!(renewed.is_some(), local);
        assert_eq!(renew_if_due(&files).unwrap(), None);
    }

    #[test]
    fn the_end_is_warned_of_thirty_seven_and_one_days_before_and_once_each() {
        let foreign = rcgen::generate_simple_self_signed(vec!["box.local".into()]).unwrap();
        let facts = CertificateFacts::read(foreign.cert.der()).unwrap();
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(facts.not_after.try_into().unwrap());
        let mut warned = None;
        // In quarters of a day before the end.
        let changes: Vec<u32> = (0..50 * 4)
            .rev()
            .filter(|quarters| {
                let before = warned.clone();
                warn_of_end(&facts, end - Duration::from_secs(6 * 3600) * *quarters, &mut warned);
                warned != before
            })
            .collect();
        assert_eq!(changes, [30 * 4 - 1, 7 * 4 - 1, 4 - 1]);
        assert_eq!(warned, Some((facts.sha256, 1)));
    }
}
