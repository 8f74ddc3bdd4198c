//! New certificates and keys take the place of the old ones together: a power cut leaves the old pair or the new one.
//!
//! All new files are written out beside the old ones first (`server.key.new`), then renamed. Between two renames a key
//! stands beside a certificate that is not its own, but then the certificate's successor lies there whole: [`recover`]
//! goes on with such a switch and clears away one that had not begun, and the server serves from the successor meanwhile.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rcgen::KeyPair;
use rustix::fs::{FlockOperation, flock};
use zeroize::Zeroizing;

use super::authority::{AuthorityError, AuthorityFiles, file_error};
use super::certificate::CertificateFacts;
use super::tls::certificates;

/// How long a switch waits for another one, by hand or by the daemon, to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a file's successor lies until it takes its place.
pub(crate) fn successor(path: &Path) -> PathBuf {
    path.with_extension(format!("{}.new", path.extension().unwrap_or_default().to_string_lossy()))
}

/// A switch under way. Nobody else begins one before it is dropped.
pub(super) struct Switch {
    staged: Vec<PathBuf>,
    _lock: File,
}

impl Switch {
    /// Waits for its turn, and ends what an earlier switch left.
    pub(super) fn begin(files: &AuthorityFiles) -> Result<Self, AuthorityError> {
        let lock = lock(files)?;
        clear_up(files)?;
        Ok(Self { staged: Vec::new(), _lock: lock })
    }

    /// Writes a file's successor; readable by whoever owns the folder, who is the one that serves from it.
    pub(super) fn stage(&mut self, path: &Path, content: &[u8], mode: u32) -> Result<(), AuthorityError> {
        let write = || -> io::Result<()> {
            step()?;
            let fresh = successor(path);
            let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh)?;
            let (first, rest) = content.split_at(content.len() / 2);
            file.write_all(first)?;
            step()?;
            file.write_all(rest)?;
            file.sync_all()?;
            if rustix::process::geteuid().is_root() {
                let owner = fs::metadata(folder_of(path))?;
                chown(&fresh, Some(owner.uid()), Some(owner.gid()))?;
            }
            Ok(())
        };
        write().map_err(|cause| file_error(path, &cause))?;
        self.staged.push(path.to_owned());
        Ok(())
    }

    /// Puts all of them in place, in the order in which they were staged.
    pub(super) fn commit(self) -> Result<(), AuthorityError> {
        let sync = || self.staged.iter().map(|path| folder_of(path)).collect::<BTreeSet<_>>().into_iter().try_for_each(sync_folder);
        sync()?;
        self.staged.iter().try_for_each(|path| put_in_place(path))?;
        sync()
    }
}

/// Ends a switch that was cut short, forwards if it had begun and backwards otherwise; says whether there was one.
/// Touches nothing where no successor lies.
pub(super) fn recover(files: &AuthorityFiles) -> Result<bool, AuthorityError> {
    if all(files).iter().all(|path| !successor(path).exists()) {
        return Ok(false);
    }
    let _lock = lock(files)?;
    clear_up(files)
}

/// Whether a private key and a certificate, both in PEM, belong to each other. Not if one of them cannot be read.
pub(crate) fn belong_together(key: &Path, certificate: &Path) -> bool {
    let Some(key) = fs::read_to_string(key).ok().map(Zeroizing::new).and_then(|pem| KeyPair::from_pem(&pem).ok()) else { return false };
    let Ok(chain) = certificates("certificate", certificate) else { return false };
    let parsed = x509_parser::parse_x509_certificate(&chain[0]);
    parsed.is_ok_and(|(_, certificate)| *certificate.public_key().subject_public_key.data == *key.public_key_raw())
}

fn clear_up(files: &AuthorityFiles) -> Result<bool, AuthorityError> {
    let mut found = finish_pair(&files.ca_key, &files.ca_certificate)? | finish_pair(&files.private_key, &files.certificate)?;
    // A server's pair that lies there whole, from the authority that is in place, is the second half of a new authority,
    // or a renewal that was about to begin.
    let (key, certificate) = (successor(&files.private_key), successor(&files.certificate));
    if belong_together(&key, &certificate) && is_issued_by(&certificate, &files.ca_certificate) {
        put_in_place(&files.private_key)?;
        put_in_place(&files.certificate)?;
        found = true;
    }
    for rest in all(files).map(|path| successor(path)) {
        if rest.exists() {
            fs::remove_file(&rest).map_err(|cause| file_error(&rest, &cause))?;
            found = true;
        }
    }
    sync_folder(folder_of(&files.certificate))?;
    Ok(found)
}

/// Goes on where one half of a pair is new already. File systems may keep renames in another order than ours.
fn finish_pair(key: &Path, certificate: &Path) -> Result<bool, AuthorityError> {
    let behind = if belong_together(key, &successor(certificate)) {
        certificate
    } else if belong_together(&successor(key), certificate) {
        key
    } else {
        return Ok(false);
    };
    put_in_place(behind).map(|()| true)
}

fn is_issued_by(certificate: &Path, authority: &Path) -> bool {
    let facts = |path: &Path| certificates("certificate", path).ok().and_then(|chain| CertificateFacts::read(&chain[0]).ok());
    // An authority's name holds a mark of its key.
    matches!((facts(certificate), facts(authority)), (Some(certificate), Some(authority)) if certificate.issuer == authority.subject)
}

fn all(files: &AuthorityFiles) -> [&PathBuf; 4] {
    [&files.ca_key, &files.ca_certificate, &files.private_key, &files.certificate]
}

fn put_in_place(path: &Path) -> Result<(), AuthorityError> {
    step().and_then(|()| fs::rename(successor(path), path)).map_err(|cause| file_error(path, &cause))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync_folder(folder: &Path) -> Result<(), AuthorityError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|cause| file_error(folder, &cause))
}

/// Held by the file that comes back; the kernel lets go of it when the process ends, however it ends.
fn lock(files: &AuthorityFiles) -> Result<File, AuthorityError> {
    let folder = folder_of(&files.certificate);
    let file = File::open(folder).map_err(|cause| file_error(folder, &cause))?;
    let end = Instant::now() + PATIENCE;
    while let Err(wrong) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if wrong != rustix::io::Errno::WOULDBLOCK {
            return Err(file_error(folder, &wrong.into()));
        }
        if Instant::now() >= end {
            return Err(AuthorityError::File { path: folder.to_owned(), cause: "another edgelabel is making a certificate there".into() });
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(file)
}

#[cfg(not(test))]
#[allow(clippy::unnecessary_wraps)] // In tests the power fails here.
fn step() -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
use power::step;

/// A power supply that fails on demand.
#[cfg(test)]
pub(super) mod power {
    use std::cell::Cell;
    use std::io;

    thread_local! {
        static STEPS_LEFT: Cell<Option<u32>> = const { Cell::new(None) };
    }

    /// From now on this thread gets that many steps far; `None` for ever.
    pub(in super::super) fn fails_after(steps: Option<u32>) {
        STEPS_LEFT.set(steps);
    }

    pub(super) fn step() -> io::Result<()> {
        match STEPS_LEFT.get() {
            Some(0) => Err(io::Error::other("the power fails")),
            left => {
                STEPS_LEFT.set(left.map(|steps| steps - 1));
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::authority::{authority_facts, init, renew, server_facts};
    use super::super::names::Names;
    use super::super::settings::TlsSettings;
    use super::super::tls::Tls;
    use super::*;

    fn settings(folder: &Path) -> TlsSettings {
        TlsSettings { certificate: folder.join("server.pem"), private_key: folder.join("server.key"), client_ca: None }
    }

    fn files_in(folder: &Path) -> AuthorityFiles {
        AuthorityFiles::beside(&settings(folder))
    }

    fn names() -> Names {
        Names::parse(["box.local"]).unwrap()
    }

    fn is_whole(files: &AuthorityFiles) -> bool {
        belong_together(&files.private_key, &files.certificate)
            && belong_together(&files.ca_key, &files.ca_certificate)
            && is_issued_by(&files.certificate, &files.ca_certificate)
    }

    /// Cuts the power at every step of `act`, beginning with the files of `before`, and shows what is left to `judge`.
    fn at_every_step(before: &Path, act: impl Fn(&AuthorityFiles) -> bool, judge: impl Fn(&Path, &AuthorityFiles)) {
        for steps in 0..100 {
            let folder = tempfile::tempdir().unwrap();
            for file in fs::read_dir(before).unwrap().map(Result::unwrap) {
                fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
            }
            let files = files_in(folder.path());
            power::fails_after(Some(steps));
            let done = act(&files);
            power::fails_after(None);
            judge(folder.path(), &files);
            if done {
                assert!(steps >= 6, "two files are written and put in place");
                return;
            }
        }
        panic!("it never ends");
    }

    #[test]
    fn a_power_cut_at_any_moment_leaves_a_pair_that_serves_and_heals() {
        let before = tempfile::tempdir().unwrap();
        let old = init(&files_in(before.path()), &names(), false).unwrap();
        let acts: [fn(&AuthorityFiles) -> bool; 2] =
            [|files| renew(files, &names(), &Names::default()).is_ok(), |files| init(files, &names(), true).is_ok()];
        for act in acts {
            at_every_step(before.path(), act, |folder, files| {
                // The daemon starts, even where it may not mend the files.
                let tls = Tls::load(settings(folder)).unwrap();
                let served = tls.state().facts;
                recover(files).unwrap();
                assert!(is_whole(files));
                assert!(all(files).iter().all(|path| !successor(path).exists()));
                assert!(!recover(files).unwrap(), "nothing is left to do");
                let now = server_facts(files).unwrap();
                assert!(served == now || served == old, "either the old one or the new one");
                tls.reload(settings(folder)).unwrap();
                assert!(tls.state().problem.is_none());
                renew(files, &names(), &Names::default()).unwrap();
            });
        }
    }

    #[test]
    fn the_first_authority_survives_a_power_cut_or_is_made_anew() {
        let nothing = tempfile::tempdir().unwrap();
        at_every_step(
            nothing.path(),
            |files| init(files, &names(), false).is_ok(),
            |_, files| {
                recover(files).unwrap();
                let begun = files.ca_key.exists();
                let again = init(files, &names(), false);
                assert_eq!(again.is_err(), begun, "{again:?}");
                assert!(is_whole(files));
            },
        );
    }

    #[test]
    fn a_running_server_hears_no_false_alarm_in_the_middle_of_a_switch() {
        let folder = tempfile::tempdir().unwrap();
        let files = files_in(folder.path());
        init(&files, &names(), false).unwrap();
        let tls = Tls::load(settings(folder.path())).unwrap();
        let before = tls.state().facts.sha256;
        // Two files of three steps are written, and the key is in place.
        power::fails_after(Some(5));
        assert!(renew(&files, &names(), &Names::default()).is_err());
        power::fails_after(None);
        assert!(!belong_together(&files.private_key, &files.certificate));
        std::thread::sleep(Duration::from_millis(1100));
        let state = tls.state();
        assert!(state.problem.is_none() && state.facts.sha256 != before, "{:?}", state.problem);
        assert_eq!(authority_facts(&files).unwrap().subject, state.facts.issuer);
    }

    #[test]
    fn two_switches_do_not_mix() {
        let folder = tempfile::tempdir().unwrap();
        let files = files_in(folder.path());
        init(&files, &names(), false).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..5).for_each(|_| drop(renew(&files, &names(), &Names::default()).unwrap())));
            }
        });
        assert!(is_whole(&files));
    }

    #[test]
    fn file_systems_that_rename_in_another_order_are_healed_too() {
        let folder = tempfile::tempdir().unwrap();
        let files = files_in(folder.path());
        init(&files, &names(), false).unwrap();
        let old = fs::read(&files.private_key).unwrap();
        renew(&files, &names(), &Names::default()).unwrap();
        fs::rename(&files.private_key, successor(&files.private_key)).unwrap();
        fs::write(&files.private_key, old).unwrap();
        assert!(recover(&files).unwrap() && is_whole(&files));
    }
}
