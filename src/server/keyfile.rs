//! Who besides the service can read a private key's file.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Who can read a file, in the order of alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readers {
    /// The service, and root.
    Service,
    /// A group that is not the service's own.
    Group {
        /// The group's number.
        group: u32,
        /// The file's permission bits.
        mode: u32,
    },
    /// Every user of this box.
    Everyone {
        /// The file's permission bits.
        mode: u32,
    },
}

/// Who can read the file. One that is missing has no readers; that is found out when it is read.
pub(crate) fn readers(path: &Path) -> Readers {
    let Ok(facts) = fs::metadata(path) else { return Readers::Service };
    let mut own = vec![rustix::process::getegid().as_raw()];
    // An administrator looks as root at files of the service, to which the folder belongs.
    if rustix::process::geteuid().is_root() {
        own.extend(path.parent().and_then(|folder| fs::metadata(folder).ok()).map(|folder| folder.gid()));
    }
    of(facts.mode() & 0o7777, facts.gid(), &own)
}

/// systemd hands its credentials over as 0440 of root's group, with an access list that names the service.
fn of(mode: u32, group: u32, own: &[u32]) -> Readers {
    const ROOT: u32 = 0;
    if mode & 0o007 != 0 {
        Readers::Everyone { mode }
    } else if mode & 0o070 != 0 && group != ROOT && !own.contains(&group) {
        Readers::Group { group, mode }
    } else {
        Readers::Service
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown};

    use super::*;

    #[test]
    fn the_service_its_own_group_and_systemd_may_read_a_key() {
        for (mode, group, readers) in [
            (0o600, 1000, Readers::Service),
            (0o400, 1000, Readers::Service),
            (0o640, 998, Readers::Service),
            (0o440, 0, Readers::Service),
            (0o640, 1000, Readers::Group { group: 1000, mode: 0o640 }),
            (0o620, 1000, Readers::Group { group: 1000, mode: 0o620 }),
            (0o604, 998, Readers::Everyone { mode: 0o604 }),
            (0o444, 0, Readers::Everyone { mode: 0o444 }),
            (0o602, 998, Readers::Everyone { mode: 0o602 }),
        ] {
            assert_eq!(of(mode, group, &[998]), readers, "{mode:o} of group {group}");
        }
    }

    #[test]
    fn a_file_is_judged_by_what_the_disk_says() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("server.key");
        assert_eq!(readers(&key), Readers::Service);
        fs::write(&key, "").unwrap();
        for (mode, judged) in [(0o600, Readers::Service), (0o640, Readers::Service), (0o644, Readers::Everyone { mode: 0o644 })] {
            fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(readers(&key), judged);
        }
        // Only root can give a file to a group that it is not in itself.
        if rustix::process::geteuid().is_root() {
            fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
            chown(&key, None, Some(54_321)).unwrap();
            assert_eq!(readers(&key), Readers::Group { group: 54_321, mode: 0o640 });
            chown(folder.path(), None, Some(54_321)).unwrap();
            assert_eq!(readers(&key), Readers::Service, "the folder's group is the service's");
        }
    }
}
