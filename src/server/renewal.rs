//! Keeps the certificate valid: renews one of the box's own authority in time, and warns of the end of any other.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;

use super::authority::{self, AuthorityFiles};
use super::certificate::{CertificateFacts, day};
use super::door::{Door, Phase};
use super::names::Names;
use super::tls::Tls;

/// How often the dates and the box's names and addresses are looked at. A box that has got a new address cannot be
/// called by it until the certificate names it.
const LOOK: Duration = Duration::from_secs(300);

/// How often the files are looked at while nobody calls.
const WATCH: Duration = Duration::from_secs(5);

/// Days before the end on which a certificate that nobody renews is warned of.
const WARN_DAYS: [i64; 3] = [30, 7, 1];

/// Looks after the certificate until the server closes.
pub(super) async fn keep_valid(door: Arc<Door>) {
    let closed = door.phase.clone();
    keep(&door.tls, closed, LOOK, WATCH).await;
}

async fn keep(tls: &Tls, mut phase: watch::Receiver<Phase>, look: Duration, watch: Duration) {
    let mut warned = Warned::default();
    loop {
        tls.try_again();
        look_after(tls, &mut warned).await;
        let next = Instant::now() + look;
        while Instant::now() < next {
            tokio::select! {
                () = tokio::time::sleep(watch) => tls.watch(),
                _ = phase.wait_for(|phase| *phase == Phase::Closed) => return,
            }
        }
    }
}

/// Which certificates were warned of, and how many days before their end.
#[derive(Default)]
struct Warned {
    server: Option<(String, i64)>,
    authority: Option<(String, i64)>,
}

async fn look_after(tls: &Tls, warned: &mut Warned) {
    let files = AuthorityFiles::beside(&tls.settings());
    let looked = tokio::task::spawn_blocking(move || (renew_if_due(&files), authority::issuing_authority(&files))).await;
    let (renewed, authority) = match looked {
        Ok(looked) => looked,
        Err(panic) => return tracing::error!(%panic, "looking after the certificate panicked; the one in use stays in use"),
    };
    let failed = renewed.as_ref().err().cloned();
    if tls.note_renewal(failed.clone())
        && let Some(cause) = failed
    {
        tracing::error!("the certificate cannot be renewed: {cause}; `edgelabel cert renew` does it by hand");
    }
    match renewed {
        Ok(Some(reason)) => tracing::info!(%reason, "the certificate is renewed"),
        Ok(None) | Err(_) => {
            let facts = tls.state().facts;
            if let Some(days) = crosses(&facts, SystemTime::now(), &mut warned.server) {
                tracing::warn!(days, until = day(facts.not_after), certificate = %facts, "the certificate ends soon and is not renewed by edgelabel");
            }
        }
    }
    if let Some(authority) = authority
        && let Some(days) = crosses(&authority, SystemTime::now(), &mut warned.authority)
    {
        tracing::warn!(
            days,
            until = day(authority.not_after),
            authority = authority.subject,
            "the box's own certificate authority ends soon, and with it every certificate it made: `edgelabel cert init --replace`, \
             with --name and --ip as before, makes a new one, which every station must then be told to trust"
        );
    }
}

/// Why the certificate was renewed, if it was. The next look at the files finds the new ones.
fn renew_if_due(files: &AuthorityFiles) -> Result<Option<String>, String> {
    authority::heal(files);
    let Some(reason) = authority::renewal_due(files, &Names::to_be_reached(), SystemTime::now()) else { return Ok(None) };
    authority::renew(files, &Names::default(), &Names::of_this_box()).map_err(|cause| format!("{reason}, but {cause}"))?;
    Ok(Some(reason))
}

/// The days that are left, once for each threshold that has been crossed.
fn crosses(facts: &CertificateFacts, now: SystemTime, warned: &mut Option<(String, i64)>) -> Option<i64> {
    let days = facts.days_left(now);
    let crossed = WARN_DAYS.iter().copied().filter(|limit| days < *limit).min()?;
    let crossed = Some((facts.sha256.clone(), crossed));
    if *warned == crossed {
        return None;
    }
    *warned = crossed;
    Some(days)
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
            .filter(|quarters| crosses(&facts, end - Duration::from_secs(6 * 3600) * *quarters, &mut warned).is_some())
            .collect();
        assert_eq!(changes, [30 * 4 - 1, 7 * 4 - 1, 4 - 1]);
        assert_eq!(warned, Some((facts.sha256, 1)));
    }

    /// A pair of an own authority that is due for renewal, as it lacks this box's names.
    fn due(folder: &std::path::Path) -> (AuthorityFiles, Tls) {
        let tls = TlsSettings { certificate: folder.join("server.pem"), private_key: folder.join("server.key"), client_ca: None };
        let files = AuthorityFiles::beside(&tls);
        authority::init(&files, &Names::parse(["box.local"]).unwrap(), false).unwrap();
        (files, Tls::load(tls).unwrap())
    }

    #[tokio::test]
    async fn a_renewal_that_fails_is_told_of_until_it_succeeds() {
        let folder = tempfile::tempdir().unwrap();
        let (files, tls) = due(folder.path());
        let mut warned = Warned::default();
        for _ in 0..2 {
            let key = std::fs::read(&files.ca_key).unwrap();
            std::fs::write(&files.ca_key, "no key").unwrap();
            look_after(&tls, &mut warned).await;
            let problem = tls.state().renewal.expect("a renewal that failed");
            assert!(problem.contains("this box has got the name") && problem.contains("no private key"), "{problem}");
            assert!(!tls.note_renewal(Some(problem)), "it is told once");
            std::fs::write(&files.ca_key, key).unwrap();
            look_after(&tls, &mut warned).await;
            assert_eq!(tls.state().renewal, None);
            // Due once more, and then the same failure is news again.
            authority::init(&files, &Names::parse(["box.local"]).unwrap(), true).unwrap();
        }
    }

    #[tokio::test]
    async fn new_files_are_taken_although_nobody_calls() {
        let folder = tempfile::tempdir().unwrap();
        let (files, tls) = due(folder.path());
        let tls = Arc::new(tls);
        let before = tls.leaf();
        let (_open, phase) = watch::channel(Phase::Serving);
        let keeping = tokio::spawn({
            let tls = Arc::clone(&tls);
            async move { keep(&tls, phase, Duration::from_secs(3600), Duration::from_millis(50)).await }
        });
        // What the first look renews, and what somebody renews by hand afterwards.
        let mut seen = std::collections::BTreeSet::from([before.to_vec()]);
        for _ in 0..400 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            // `leaf` does not look at the files by itself.
            if seen.insert(tls.leaf().to_vec()) && seen.len() == 2 {
                authority::renew(&files, &Names::default(), &Names::default()).unwrap();
            }
            if seen.len() == 3 {
                break;
            }
        }
        assert_eq!(seen.len(), 3);
        keeping.abort();
    }
}
