//! Secrets from files. What is in them is never printed, not even when it is wrong.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::ids::Secret;

/// No key, token or list of secrets is longer.
const MOST_BYTES: u64 = 64 << 10;

/// A secret and what is doubtful about its file.
pub(super) struct Found {
    pub secret: Secret,
    pub warning: Option<String>,
}

/// Reads the secret in `path`, without surrounding white space.
///
/// # Errors
/// What is wrong with the file, and what would be right.
pub(super) fn read(path: &Path) -> Result<Found, String> {
    if let Some(what) = is_secret_itself(path) {
        return Err(what);
    }
    let shown = path.display();
    let file = std::fs::File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("{shown} does not exist"),
        std::io::ErrorKind::PermissionDenied => {
            format!("{shown} may not be read by this user: give it to the user of the service (chown, chmod 600)")
        }
        _ => format!("{shown} cannot be read: {error}"),
    })?;
    let facts = file.metadata().map_err(|error| format!("{shown} cannot be read: {error}"))?;
    if facts.is_dir() {
        return Err(format!("{shown} is a directory"));
    }
    let mut bytes = zeroize::Zeroizing::new(Vec::new());
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(|error| format!("{shown} cannot be read: {error}"))?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(format!("{shown} is larger than {MOST_BYTES} bytes: it holds no secret"));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| format!("{shown} is not text"))?.trim();
    if text.is_empty() {
        return Err(format!("{shown} is empty"));
    }
    let everybody = facts.permissions().mode() & 0o004 != 0;
    let warning = everybody.then(|| format!("{shown} can be read by every user of this box: chmod 600 {shown}"));
    Ok(Found { secret: Secret::new(text), warning })
}

/// People paste the key where its file should be named: say so without showing it.
fn is_secret_itself(path: &Path) -> Option<String> {
    let text = path.file_name()?.to_string_lossy();
    let whole = path.to_string_lossy();
    let pasted = text.starts_with("sk-") || whole.contains("PRIVATE KEY") || whole.contains('\n');
    pasted.then(|| "holds a secret itself: it must name a file that holds it".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &[u8], mode: u32) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    #[test]
    fn a_secret_is_trimmed_and_a_private_file_gives_no_warning() {
        let file = file(b"  abc\r\n\n", 0o600);
        let found = read(file.path()).unwrap();
        assert_eq!(found.secret.expose(), "abc");
        assert_eq!(found.warning, None);
    }

    #[test]
    fn a_file_that_everybody_reads_gives_a_warning_with_the_remedy() {
        let file = file(b"abc", 0o644);
        assert!(read(file.path()).unwrap().warning.unwrap().contains("chmod 600"));
    }

    #[test]
    fn what_holds_no_secret_is_refused_by_name() {
        for (content, word) in [(&b" \n"[..], "is empty"), (b"\xff\xfe\x00", "is not text"), (&[b'a'; 70_000], "larger")] {
            let file = file(content, 0o600);
            let what = read(file.path()).err().unwrap();
            assert!(what.contains(word) && what.contains(&file.path().display().to_string()), "{what}");
        }
        assert!(read(Path::new("/nowhere/key")).err().unwrap().contains("/nowhere/key does not exist"));
        assert!(read(Path::new("/")).err().unwrap().contains("is a directory"));
    }

    #[test]
    fn a_pasted_key_is_recognised_and_not_repeated() {
        for pasted in ["/etc/edgelabel/sk-proj-abcdef", "/etc/edgelabel/-----BEGIN OPENSSH PRIVATE KEY-----\nabcdef"] {
            let what = read(Path::new(pasted)).err().unwrap();
            assert!(what.contains("must name a file") && !what.contains("abcdef"), "{what}");
        }
    }
}
