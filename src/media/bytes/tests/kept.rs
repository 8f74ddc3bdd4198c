//! What is kept between triggers: bounded, private, and never wrong bytes, whatever happened to the disk.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::*;

/// The one item's folder.
fn folder(dir: &Path) -> PathBuf {
    let mut folders: Vec<PathBuf> = fs::read_dir(dir.join("items")).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(folders.len(), 1, "{folders:?}");
    folders.pop().unwrap()
}

/// A cache with one item of which two spans are kept, closed again.
fn closed(content: &[u8]) -> (Server, tempfile::TempDir) {
    let server = Server::new(content.to_vec());
    let Here { store, dir } = fresh();
    let mut renew = never;
    let mut item = open(&store, &server.link("/a.mp4"), &mut renew).unwrap();
    item.read(100_000, 200_000, &soon()).unwrap();
    item.store_index_blob(b"sample table");
    drop(item);
    server.ranges();
    (server, dir)
}

fn reopen(dir: &Path) -> Store {
    Store::open_cache(&settings(dir, 1 << 30)).unwrap()
}

#[test]
fn a_damaged_piece_is_fetched_again() {
    let content = pattern(MIB);
    let (server, dir) = closed(&content);
    let data = folder(dir.path()).join("data");
    let mut bytes = fs::read(&data).unwrap();
    bytes[150_000..150_100].fill(0);
    fs::write(&data, bytes).unwrap();
    fs::write(folder(dir.path()).join("index"), b"sample tablE").unwrap();
    for _ in 0..2 {
        let store = reopen(dir.path());
        let mut renew = never;
        let mut item = open(&store, &server.link("/a.mp4"), &mut renew).unwrap();
        assert_eq!(item.head(), &content[..65536]);
        assert_eq!(item.read(160_000, 100, &soon()).unwrap(), content[160_000..160_100]);
        assert_eq!(item.read(100_000, 200_000, &soon()).unwrap(), content[100_000..300_000]);
        assert_eq!(item.index_blob(), None);
    }
    assert_eq!(server.ranges(), ["bytes=160000-160099", "bytes=100000-231071"]);
}

#[test]
fn a_log_cut_anywhere_never_gives_wrong_bytes() {
    let content = pattern(MIB);
    let (server, dir) = closed(&content);
    let log = folder(dir.path()).join("log");
    let whole = fs::read(&log).unwrap();
    for cut in (0..whole.len()).step_by(7).chain([whole.len()]) {
        let (_, dir) = closed_copy(dir.path(), &whole[..cut]);
        let store = reopen(dir.path());
        let mut renew = never;
        let mut item = open(&store, &server.link("/a.mp4"), &mut renew).unwrap();
        assert_eq!(item.read(90_000, 20_000, &soon()).unwrap(), content[90_000..110_000]);
    }
    server.ranges();
    for garbage in ["piece 0 99999999999999 00000000\n", "piece 70000 10 00000000\n", "\0\0\0\0\n", "lost x\n", "index 99999999999 0\n"] {
        let (_, dir) = closed_copy(dir.path(), &[&whole[..], garbage.as_bytes()].concat());
        let store = reopen(dir.path());
        let mut renew = never;
        let mut item = open(&store, &server.link("/a.mp4"), &mut renew).unwrap();
        assert_eq!(item.read(0, MIB, &soon()).unwrap(), content, "{garbage:?}");
    }
}

/// A copy of a cache directory with another log.
fn closed_copy(from: &Path, log: &[u8]) -> (PathBuf, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let source = folder(from);
    let target = dir.path().join("items").join(source.file_name().unwrap());
    fs::create_dir_all(&target).unwrap();
    for name in ["data", "index"] {
        fs::copy(source.join(name), target.join(name)).unwrap();
    }
    fs::write(target.join("log"), log).unwrap();
    (target, dir)
}

#[test]
fn what_is_no_item_is_removed_at_the_start_and_nothing_else_is_touched() {
    let (server, dir) = closed(&pattern(MIB));
    let items = dir.path().join("items");
    fs::write(items.join("spool-00000000"), b"x").unwrap();
    fs::create_dir(items.join("folder")).unwrap();
    fs::create_dir(items.join(format!("{}-00000000", "0".repeat(32)))).unwrap();
    fs::write(dir.path().join("registry.bin"), b"somebody else's").unwrap();
    let store = reopen(dir.path());
    folder(dir.path());
    assert!(dir.path().join("registry.bin").exists());
    let mut renew = never;
    assert_eq!(counts(&open(&store, &server.link("/a.mp4"), &mut renew).unwrap()), (0, 0));
}

#[test]
fn the_longest_unused_item_makes_room() {
    let server = Server::new(pattern(3 * MIB));
    let dir = tempfile::tempdir().unwrap();
    let limit = 5 * MIB as u64;
    let read = |store: &Store, name: &str| {
        let mut renew = never;
        let mut item = open(store, &server.link(name), &mut renew).unwrap();
        item.read(0, 2 * MIB, &soon()).unwrap();
        item.facts().requests
    };
    let store = Store::open_cache(&settings(dir.path(), limit)).unwrap();
    assert_eq!((read(&store, "/a"), read(&store, "/b"), read(&store, "/a")), (2, 2, 0));
    assert_eq!((read(&store, "/c"), read(&store, "/a"), read(&store, "/b")), (2, 0, 2), "b was unused for longest");
    drop(store);
    // A smaller bound counts from the start on.
    let store = Store::open_cache(&settings(dir.path(), limit / 2)).unwrap();
    folder(dir.path());
    assert_eq!(read(&store, "/b"), 0);
}

#[test]
fn an_item_larger_than_the_cache_goes_on_working_and_starts_over() {
    let content = pattern(6 * MIB);
    let server = Server::new(content.clone());
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_cache(&settings(dir.path(), 2 * MIB as u64)).unwrap();
    for _ in 0..2 {
        let mut renew = never;
        let mut item = open(&store, &server.link("/a"), &mut renew).unwrap();
        for at in 0..6 {
            assert_eq!(item.read(at * MIB as u64, MIB, &soon()).unwrap(), content[at as usize * MIB..][..MIB]);
        }
        let on_disk = fs::metadata(folder(dir.path()).join("data")).unwrap().blocks() * 512;
        assert!(on_disk <= 2 * MIB as u64, "{on_disk}");
    }
}

#[test]
fn a_second_process_and_a_directory_that_cannot_be_written_do_without() {
    let content = pattern(MIB);
    let server = Server::new(content.clone());
    let here = fresh();
    let file = here.dir.path().join("a-file");
    fs::write(&file, b"").unwrap();
    for dir in [here.dir.path(), &file] {
        let second = reopen(dir);
        for requests in [2, 0] {
            let mut renew = never;
            let mut item = open(&second, &server.link("/a.mp4"), &mut renew).unwrap();
            assert_eq!(item.read(100_000, 1000, &soon()).unwrap(), content[100_000..101_000]);
            item.store_index_blob(b"table");
            assert_eq!(item.index_blob().as_deref(), Some(&b"table"[..]));
            assert_eq!(item.facts().requests, requests);
        }
    }
    assert_eq!(fs::read_dir(here.dir.path().join("items")).unwrap().count(), 0);
}

#[test]
fn what_is_kept_is_for_the_owner_only() {
    let (_server, dir) = closed(&pattern(MIB));
    let folder = folder(dir.path());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&dir.path().join("items")), mode(&folder)), (0o700, 0o700));
    for name in ["data", "log", "index"] {
        assert_eq!(mode(&folder.join(name)), 0o600, "{name}");
    }
    let log = fs::read_to_string(folder.join("log")).unwrap();
    assert!(!log.contains("127.0.0.1") && !log.contains("a.mp4"), "the link is not written down: {log}");
}

#[test]
fn an_item_dropped_while_it_is_read_is_read_to_the_end() {
    let content = pattern(3 * MIB);
    let server = Server::new(content.clone());
    let here = fresh();
    let mut renew = never;
    let mut item = open(&here.store, &server.link("/a.mp4"), &mut renew).unwrap();
    item.read(0, MIB, &soon()).unwrap();
    fs::remove_dir_all(folder(here.dir.path())).unwrap();
    assert_eq!(item.read(0, 3 * MIB, &soon()).unwrap(), content);
    drop(item);
    let mut renew = never;
    let mut item = open(&here.store, &server.link("/a.mp4"), &mut renew).unwrap();
    assert_eq!(item.read(0, 3 * MIB, &soon()).unwrap(), content);
}
