//! Items over real sockets: a store on loopback that serves ranges, or refuses, changes, breaks and expires.

mod kept;
mod server;

use std::time::Duration;

use super::*;
use crate::media::DataType;
use server::{Mishap, Server};

const MIB: usize = 1 << 20;

fn pattern(length: usize) -> Vec<u8> {
    (0..length as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

struct Here {
    store: Store,
    dir: tempfile::TempDir,
}

fn settings(dir: &Path, cache_bytes: u64) -> StoreSettings {
    StoreSettings { cache_dir: dir.to_owned(), cache_bytes, http: http::Settings::default() }
}

fn fresh() -> Here {
    let dir = tempfile::tempdir().unwrap();
    Here { store: Store::open_cache(&settings(dir.path(), 1 << 30)).unwrap(), dir }
}

fn link(url: &str) -> AssetLink {
    AssetLink { url: url.parse().unwrap(), data_type: DataType::Video, mime: None, title: "clip".into() }
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

fn never() -> Option<SignedUrl> {
    panic!("the link was renewed without need")
}

fn counts(item: &Item<'_>) -> (u64, u32) {
    (item.facts().bytes_fetched, item.facts().requests)
}

#[test]
fn a_first_trigger_asks_for_the_head_and_then_for_exactly_what_is_missing() {
    let content = pattern(2 * MIB + 77);
    let server = Server::new(content.clone());
    let here = fresh();
    let mut renew = never;
    let mut item = here.store.open(&link(&server.link("/a.mp4?sig=1")), &mut renew, &soon()).unwrap();
    assert_eq!(item.size(), content.len() as u64);
    assert_eq!(item.head(), &content[..65536]);
    assert_eq!(item.content_type(), Some("video/mp4"));
    assert_eq!(item.read(1000, 100_000, &soon()).unwrap(), content[1000..101_000]);
    assert_eq!(item.read(MIB as u64, 2 * MIB, &soon()).unwrap(), content[MIB..]);
    assert_eq!(item.read(2 * MIB as u64 + 100, 10, &soon()).unwrap(), b"");
    assert_eq!(server.ranges(), ["bytes=0-65535", "bytes=65536-100999", &format!("bytes={MIB}-{}", content.len() - 1)]);
    assert_eq!(counts(&item), ((101_000 + content.len() - MIB) as u64, 3));
    assert_eq!(server.set(|content| content.connections), 1, "the connection is used again");
}

fn open<'a>(store: &'a Store, url: &str, renew: &'a mut dyn FnMut() -> Option<SignedUrl>) -> Result<Item<'a>, Error> {
    store.open(&link(url), renew, &soon())
}

fn message<T>(result: Result<T, Error>) -> String {
    match result {
        Ok(_) => panic!("it went well"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_second_trigger_and_a_restart_need_no_request() {
    let content = pattern(MIB);
    let server = Server::new(content.clone());
    let Here { mut store, dir } = fresh();
    let mut renew = never;
    let mut item = open(&store, &server.link("/a.mp4?X-Amz-Signature=1"), &mut renew).unwrap();
    item.read(500_000, 100_000, &soon()).unwrap();
    item.store_index_blob(b"sample table");
    drop(item);
    server.ranges();
    for restart in [false, true] {
        if restart {
            drop(store);
            store = Store::open_cache(&settings(dir.path(), 1 << 30)).unwrap();
        }
        let mut item = open(&store, &server.link("/a.mp4?X-Amz-Signature=2"), &mut renew).unwrap();
        assert_eq!(item.read(510_000, 50_000, &soon()).unwrap(), content[510_000..560_000]);
        assert_eq!(item.head(), &content[..65536]);
        item.confirm(&soon()).unwrap();
        assert_eq!(item.index_blob().as_deref(), Some(&b"sample table"[..]));
        assert_eq!(counts(&item), (0, 0));
        // Between what is kept, only the gap is fetched.
        if !restart {
            assert_eq!(item.read(0, 600_000, &soon()).unwrap(), content[..600_000]);
            assert_eq!(server.ranges(), ["bytes=65536-499999"]);
        }
    }
    assert_eq!(server.ranges(), [""; 0]);
}

#[test]
fn a_picture_comes_in_one_request() {
    let content = pattern(3 * MIB);
    let server = Server::new(content.clone());
    let here = fresh();
    let mut renew = never;
    let picture = AssetLink { data_type: DataType::Image, ..link(&server.link("/a.jpg")) };
    let mut item = here.store.open(&picture, &mut renew, &soon()).unwrap();
    assert_eq!(item.read(0, content.len(), &soon()).unwrap(), content);
    assert_eq!(counts(&item), (content.len() as u64, 1));
}

#[test]
fn samples_between_audio_come_in_one_request() {
    let content = pattern(2 * MIB);
    let server = Server::new(content.clone());
    let here = fresh();
    let mut renew = never;
    let mut item = open(&here.store, &server.link("/a.mp4"), &mut renew).unwrap();
    let spans: Vec<Span> = (0..10).map(|at| Span { offset: MIB as u64 + at * 50_000, length: 45_000 }).collect();
    let mut came = Vec::new();
    item.stream(&spans, &soon(), &mut |piece| came.extend_from_slice(piece)).unwrap();
    let wanted: Vec<u8> = spans.iter().flat_map(|span| &content[span.offset as usize..span.end() as usize]).copied().collect();
    assert_eq!(came, wanted);
    assert_eq!(counts(&item).1, 2);
}

#[test]
fn spans_are_handed_out_in_their_order_and_as_they_come() {
    let content = pattern(2 * MIB);
    for (room, kept) in [(1 << 30, false), (0, false), (1 << 30, true)] {
        let server = Server::new(content.clone());
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_cache(&settings(dir.path(), room)).unwrap();
        let mut renew = never;
        let mut item = open(&store, &server.link("/a.mp4"), &mut renew).unwrap();
        if kept {
            // A part is there already.
            item.read(1_000_000, 100_000, &soon()).unwrap();
        }
        let spans =
            [(1_200_000, 300_000), (900_000, 250_000), (10, 20), (2 * MIB as u64 - 5, 100)].map(|(offset, length)| Span { offset, length });
        let (mut came, mut pieces) = (Vec::new(), 0);
        item.stream(&spans, &soon(), &mut |piece| {
            came.extend_from_slice(piece);
            pieces += 1;
        })
        .unwrap();
        let wanted: Vec<u8> =
            spans.iter().flat_map(|span| &content[span.offset as usize..content.len().min(span.end() as usize)]).copied().collect();
        assert!(came == wanted, "{} bytes instead of {}", came.len(), wanted.len());
        assert!(pieces > 5, "{pieces} pieces");
    }
}

#[test]
fn an_item_replaced_between_two_reads_is_never_mixed() {
    for (before, after) in [
        ((Some("\"one\""), None), (Some("\"two\""), None)),
        ((Some("W/\"one\""), None), (Some("W/\"two\""), None)),
        ((None, Some("Mon, 01 Jan 2024 00:00:00 GMT")), (None, Some("Tue, 02 Jan 2024 00:00:00 GMT"))),
    ] {
        let server = Server::new(pattern(MIB));
        let version = |(etag, date): (Option<&str>, Option<&str>)| {
            server.set(|content| {
                content.etag = etag.map(Into::into);
                content.last_modified = date.map(Into::into);
            });
        };
        version(before);
        let here = fresh();
        let mut renew = never;
        let mut item = open(&here.store, &server.link("/a.mp4"), &mut renew).unwrap();
        version(after);
        let fresh_bytes: Vec<u8> = pattern(MIB).iter().rev().copied().collect();
        server.set(|content| content.bytes = fresh_bytes.clone());
        assert!(message(item.read(200_000, 1000, &soon())).contains("replaced"));
        assert!(item.changed());
        assert!(item.read(0, 10, &soon()).is_err(), "also what was kept is of the old one");
        let mut renew = never;
        let mut item = open(&here.store, &server.link("/a.mp4"), &mut renew).unwrap();
        assert_eq!(item.read(0, MIB, &soon()).unwrap(), fresh_bytes);
    }
}

#[test]
fn old_knowledge_is_checked_by_the_first_request_or_at_the_end() {
    let content = pattern(MIB);
    let server = Server::new(content.clone());
    let here = fresh();
    let mut renew = never;
    drop(open(&here.store, &server.link("/a.mp4"), &mut renew).unwrap());
    let age = |store: &Store| store.cache.age_for_test(Key::of(&server.link("/a.mp4").parse().unwrap()));
    age(&here.store);
    server.ranges();
    let mut item = open(&here.store, &server.link("/a.mp4"), &mut renew).unwrap();
    assert_eq!(item.read(10, 10, &soon()).unwrap(), content[10..20]);
    item.read(100_000, 10, &soon()).unwrap();
    item.confirm(&soon()).unwrap();
    assert_eq!(server.ranges(), ["bytes=100000-100009"]);

    drop(item);
    age(&here.store);
    let mut item = open(&here.store, &server.link("/a.mp4"), &mut renew).unwrap();
    item.confirm(&soon()).unwrap();
    assert_eq!(server.ranges(), ["bytes=0-0"]);

    drop(item);
    age(&here.store);
    let mut item = open(&here.store, &server.link("/a.mp4"), &mut renew).unwrap();
    server.set(|content| content.etag = Some("\"two\"".into()));
    assert!(message(item.confirm(&soon())).contains("replaced"));
    assert!(item.changed());
}

#[test]
fn without_any_validator_old_bytes_are_not_used() {
    let server = Server::new(pattern(MIB));
    server.set(|content| content.etag = None);
    let here = fresh();
    let mut renew = never;
    let mut item = open(&here.store, &server.link("/a.mp4"), &mut renew).unwrap();
    item.read(100_000, 100, &soon()).unwrap();
    drop(item);
    let item = open(&here.store, &server.link("/a.mp4"), &mut renew).unwrap();
    assert_eq!(counts(&item).1, 0, "a moment later they are");
    drop(item);
    here.store.cache.age_for_test(Key::of(&server.link("/a.mp4").parse().unwrap()));
    let item = open(&here.store, &server.link("/a.mp4"), &mut renew).unwrap();
    assert_eq!(counts(&item).1, 1);
}

#[test]
fn a_store_without_ranges_is_streamed_once_and_only_as_far_as_needed() {
    let content = pattern(8 * MIB);
    let server = Server::new(content.clone());
    server.set(|content| content.ranges = false);
    let here = fresh();
    let mut renew = never;
    let mut item = open(&here.store, &server.link("/a.mp4"), &mut renew).unwrap();
    assert_eq!(item.read(3 * MIB as u64, 1000, &soon()).unwrap(), content[3 * MIB..3 * MIB + 1000]);
    assert!(counts(&item).0 < 5 * MIB as u64);
    assert_eq!(item.read(100, 1000, &soon()).unwrap(), content[100..1100]);
    assert_eq!(item.read(7 * MIB as u64, MIB, &soon()).unwrap(), content[7 * MIB..]);
    assert_eq!(counts(&item), (content.len() as u64, 1));
    drop(item);
    let mut item = open(&here.store, &server.link("/a.mp4"), &mut renew).unwrap();
    assert_eq!(item.read(5 * MIB as u64, 10, &soon()).unwrap(), content[5 * MIB..5 * MIB + 10]);
    assert_eq!(counts(&item), (0, 0));
}

#[test]
fn a_store_that_tells_no_length_is_read_to_the_end() {
    let content = pattern(3 * MIB + 5);
    let server = Server::new(content.clone());
    server.set(|content| (content.ranges, content.says_length) = (false, false));
    for cache_bytes in [1 << 30, 0] {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_cache(&settings(dir.path(), cache_bytes)).unwrap();
        let mut renew = never;
        let result = open(&store, &server.link("/a.mp4"), &mut renew);
        let mut item = result.unwrap();
        assert_eq!(item.size(), content.len() as u64);
        assert_eq!(item.read(0, content.len(), &soon()).unwrap(), content);
        assert_eq!(counts(&item), (content.len() as u64, 1));
    }
}

#[test]
fn an_item_too_large_for_the_cache_is_refused_only_where_it_must_be_kept_whole() {
    let server = Server::new(pattern(50 * MIB));
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_cache(&settings(dir.path(), 0)).unwrap();
    let mut renew = never;
    let mut item = open(&store, &server.link("/a.mp4"), &mut renew).unwrap();
    item.read(40 * MIB as u64, MIB, &soon()).unwrap();
    drop(item);
    server.set(|content| content.ranges = false);
    let refused = message(open(&store, &server.link("/b.mp4"), &mut renew));
    assert!(refused.contains("serves no ranges") && refused.contains("media.cache_bytes"), "{refused}");
}

#[test]
fn a_transfer_that_breaks_goes_on_where_it_broke() {
    let content = pattern(3 * MIB);
    let server = Server::new(content.clone());
    let here = fresh();
    let mut renew = never;
    server.set(|content| content.mishaps.extend([Mishap::CutAfter(30_000), Mishap::Nothing]));
    let mut item = open(&here.store, &server.link("/a.mp4"), &mut renew).unwrap();
    assert_eq!(item.head(), &content[..65536]);
    server.set(|content| content.mishaps.extend([Mishap::Hangup, Mishap::CutAfter(MIB + MIB / 2), Mishap::Short(MIB / 4)]));
    assert_eq!(item.read(65536, 2 * MIB, &soon()).unwrap(), content[65536..65536 + 2 * MIB]);
    assert_eq!(counts(&item).0, 65536 + 2 * MIB as u64, "nothing came twice");
    assert_eq!(counts(&item).1, 2 + 4);
}

#[test]
fn a_store_without_ranges_that_breaks_begins_again() {
    let content = pattern(3 * MIB);
    let server = Server::new(content.clone());
    server.set(|content| (content.ranges, content.mishaps) = (false, [Mishap::CutAfter(MIB)].into()));
    let here = fresh();
    let mut renew = never;
    let mut item = open(&here.store, &server.link("/a.mp4"), &mut renew).unwrap();
    assert_eq!(item.read(0, 3 * MIB, &soon()).unwrap(), content);
    assert_eq!(counts(&item), (4 * MIB as u64, 2));
}

#[test]
fn an_expired_link_is_renewed_once() {
    let content = pattern(MIB);
    let server = Server::new(content.clone());
    server.set(|content| content.expired = Some("sig=old"));
    let here = fresh();
    let fresh_link: SignedUrl = server.link("/a.mp4?sig=new").parse().unwrap();
    let mut renewed = 0;
    let mut renew = || {
        renewed += 1;
        Some(fresh_link.clone())
    };
    let mut item = open(&here.store, &server.link("/a.mp4?sig=old"), &mut renew).unwrap();
    assert_eq!(item.read(65536, 10, &soon()).unwrap(), content[65536..65546]);
    server.set(|content| content.expired = Some("sig="));
    let refused = item.read(300_000, 10, &soon());
    assert!(matches!(refused, Err(Error::LinkRefused { status: 403, .. })), "{refused:?}");
    drop(item);
    assert_eq!(renewed, 1);

    let mut renew = || None;
    let refused = open(&here.store, &server.link("/b.mp4?sig=x"), &mut renew).map(|item| item.size());
    assert!(matches!(refused, Err(Error::LinkRefused { status: 403, .. })), "{refused:?}");
    assert!(!message(refused).contains("sig="));
}

#[test]
fn a_token_that_google_calls_expired_is_an_expired_link_too() {
    let server = Server::new(pattern(100));
    server.set(|content| {
        content.mishaps = [Mishap::Status(400, "<Error><Code>ExpiredToken</Code></Error>"), Mishap::Status(400, "no")].into();
    });
    let here = fresh();
    let mut renew = || Some(server.link("/a.mp4?sig=new").parse().unwrap());
    let refused = message(open(&here.store, &server.link("/a.mp4"), &mut renew));
    assert!(refused.contains("status 400"), "{refused}");
    assert_eq!(server.ranges().len(), 2);
}

#[test]
fn answers_that_cannot_be_trusted_are_refused_with_the_reason() {
    for (mishap, reason) in [
        (Mishap::Shifted(5), "asked for bytes 100000 to 100099, it sent bytes 100005"),
        (Mishap::Headers("Content-Encoding: gzip\r\n"), "compressed (gzip)"),
        (Mishap::Status(418, "tea"), "status 418"),
        (Mishap::Status(206, "x"), "without a usable Content-Range"),
        (Mishap::Redirect("ftp://x/".into()), "ftp://"),
        (Mishap::Redirect("http://8.8.8.8/".into()), "plain http"),
    ] {
        let server = Server::new(pattern(MIB));
        let here = fresh();
        let mut renew = never;
        let mut item = open(&here.store, &server.link("/a.mp4"), &mut renew).unwrap();
        server.set(|content| content.mishaps = [mishap.clone()].into());
        let refused = message(item.read(100_000, 100, &soon()));
        assert!(refused.contains(reason), "{mishap:?}: {refused}");
        assert!(refused.contains("127.0.0.1"), "{refused}");
    }
}

#[test]
fn an_empty_item_has_size_zero() {
    let server = Server::new(Vec::new());
    let here = fresh();
    let mut renew = never;
    let mut item = open(&here.store, &server.link("/a.mp4"), &mut renew).unwrap();
    assert_eq!((item.size(), item.head().len(), item.read(0, 10, &soon()).unwrap().len()), (0, 0, 0));
}

#[test]
fn a_redirect_is_followed_and_a_loop_of_them_is_not() {
    let content = pattern(MIB);
    let server = Server::new(content.clone());
    let here = fresh();
    let mut renew = never;
    server.set(|state| state.mishaps = [Mishap::Redirect("/b.mp4".into()), Mishap::Redirect(server.link("/c.mp4"))].into());
    let item = open(&here.store, &server.link("/a.mp4"), &mut renew).unwrap();
    assert_eq!(item.head(), &content[..65536]);
    server.set(|state| state.mishaps = (0..9).map(|_| Mishap::Redirect("/loop".into())).collect());
    assert!(message(open(&here.store, &server.link("/d.mp4"), &mut renew)).contains("redirects again"));
}

#[test]
fn a_slow_store_ends_with_the_deadline() {
    let server = Server::new(pattern(MIB));
    let here = fresh();
    let mut renew = never;
    server.set(|state| state.mishaps = [Mishap::Late(Duration::from_secs(5))].into());
    let start = std::time::Instant::now();
    let late = here.store.open(&link(&server.link("/a.mp4")), &mut renew, &Deadline::after(Duration::from_millis(300)));
    assert!(matches!(late, Err(Error::Deadline(_))));
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[test]
fn triggers_on_one_item_share_their_requests() {
    let content = pattern(2 * MIB);
    let server = Server::new(content.clone());
    server.set(|state| state.mishaps = [Mishap::Late(Duration::from_millis(100)), Mishap::Late(Duration::from_millis(100))].into());
    let here = fresh();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut renew = never;
                let mut item = open(&here.store, &server.link("/a.mp4"), &mut renew).unwrap();
                assert_eq!(item.read(MIB as u64, MIB, &soon()).unwrap(), content[MIB..]);
            });
        }
    });
    assert_eq!(server.ranges().len(), 2);
}

#[test]
fn a_local_file_is_read_like_any_item() {
    let content = pattern(100_000);
    let here = fresh();
    let path = here.dir.path().join("a.mp4");
    std::fs::write(&path, &content).unwrap();
    let mut item = here.store.open_file(&path).unwrap();
    assert_eq!(item.read(99_990, 100, &soon()).unwrap(), content[99_990..]);
    assert_eq!((item.head(), item.size()), (&content[..65536], 100_000));
    assert_eq!(counts(&item), (0, 0));
    assert!(message(here.store.open_file(here.dir.path())).contains("not a file"));
    assert!(message(here.store.open_file(&here.dir.path().join("no"))).contains("No such file"));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]
    #[test]
    fn any_reads_in_any_order_give_the_items_bytes_and_fetch_each_about_once(
        reads in proptest::collection::vec((0..400_000u64, 0..150_000usize, 1..200_000usize), 1..12),
        ranges in proptest::bool::weighted(0.8),
        reopened in 0..12usize,
    ) {
        let content = pattern(350_000);
        let server = Server::new(content.clone());
        server.set(|state| state.ranges = ranges);
        let Here { mut store, dir } = fresh();
        let mut fetched = 0;
        for (at, (offset, length, short)) in reads.into_iter().enumerate() {
            if at == reopened {
                drop(store);
                store = Store::open_cache(&settings(dir.path(), 1 << 30)).unwrap();
            }
            let mut renew = never;
            let mut item = open(&store, &server.link("/a.mp4"), &mut renew).unwrap();
            server.set(|state| state.mishaps = [Mishap::Short(short)].into());
            let first = content.len().min(offset as usize);
            let last = content.len().min(first + length);
            proptest::prop_assert_eq!(item.read(offset, length, &soon()).unwrap(), &content[first..last]);
            server.set(|state| state.mishaps.clear());
            fetched += item.facts().bytes_fetched;
        }
        // Bridged gaps come twice, and a store without ranges begins again for each reader.
        let bound = if ranges { 2 } else { 13 };
        proptest::prop_assert!(fetched <= bound * content.len() as u64, "{fetched}");
    }
}
