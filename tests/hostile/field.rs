//! The field: one door with little patience, one hostile caller at a time, and ordinary clicks all the while.

use std::collections::HashSet;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use edgelabel::agent::{Error, Outcome, Trigger};
use edgelabel::server::Settings;
use tokio::sync::{Mutex, MutexGuard};

use crate::door::{Client, EDITOR, House, post, trigger_body};

/// Memory that an attack may cost, the attacker's own in this process included.
const MOST_MEMORY: u64 = 64 * 1024 * 1024;

const STATION: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// One test at a time: memory and descriptors are those of the whole process.
static ALONE: Mutex<()> = Mutex::const_new(());

pub struct Field {
    pub house: Arc<House>,
    /// A door that nobody attacks. A click there tells how long one takes on this machine at this moment, which may be
    /// busy with other things, with the attacker too.
    quiet: Arc<House>,
    _alone: MutexGuard<'static, ()>,
}

fn saved(_: &Trigger) -> Result<Outcome, Error> {
    Ok(Outcome::Saved { message: None })
}

/// Much less than the defaults, and still enough for an honest caller on a machine that is busy with other things.
fn short_tempered(settings: &mut Settings) {
    let limits = &mut settings.limits;
    limits.handshake_time = Duration::from_millis(2500);
    limits.first_byte_time = Duration::from_secs(3);
    limits.header_time = Duration::from_millis(1500);
    limits.body_time = Duration::from_millis(1500);
    limits.idle_time = Duration::from_secs(2);
    limits.write_time = Duration::from_millis(1500);
    // The clicks of one address must not be what ends an attack.
    limits.triggers_per_address = 0;
    limits.triggers_per_project = 0;
}

impl Field {
    pub async fn new() -> Self {
        Self::working(saved).await
    }

    pub async fn working(work: impl Fn(&Trigger) -> Result<Outcome, Error> + Send + Sync + 'static) -> Self {
        let alone = ALONE.lock().await;
        let (house, quiet) = (Arc::new(House::open(short_tempered, work)), Arc::new(House::open(short_tempered, saved)));
        // What is made once and kept: buffers of the runtime, the first pages of the allocator.
        tokio::join!(click(&house), click(&quiet));
        house.until_connections(0).await;
        quiet.until_connections(0).await;
        Self { house, quiet, _alone: alone }
    }

    /// Lets an attack happen, clicks meanwhile, looks at what is left of it, and prints its line of the table.
    pub async fn meets(&self, case: &str, attack: impl Future<Output = String>) {
        let (memory, descriptors) = (resident_bytes(), open_descriptors());
        let over = Arc::new(AtomicBool::new(false));
        let clicking = tokio::spawn(click_until(Arc::clone(&over), Arc::clone(&self.house), Arc::clone(&self.quiet)));
        let begun = Instant::now();
        let outcome = attack.await;
        let took = begun.elapsed();
        over.store(true, Ordering::Release);
        let mut clicks = clicking.await.unwrap();
        clicks.sort_unstable_by_key(|click| click.took);
        let (median, slowest) = (clicks[clicks.len() / 2].took, clicks[clicks.len() - 1].took);
        let delay = clicks.iter().map(|click| click.took.saturating_sub(click.elsewhere)).max().unwrap_or_default();
        let grown = resident_bytes().saturating_sub(memory);
        println!(
            "{case:<52} {outcome:<36} {:>6.1} s   {:>3} clicks, median {:>4} ms, slowest {:>4} ms, delayed {:>4} ms   {:>+5.1} MiB",
            took.as_secs_f32(),
            clicks.len(),
            median.as_millis(),
            slowest.as_millis(),
            delay.as_millis(),
            grown as f64 / (1 << 20) as f64,
        );
        // Every one of them: what is beyond a second is the attack's doing, unless it took as long at the quiet door.
        assert!(delay < Duration::from_secs(1), "{case}: clicks took {clicks:?} meanwhile");
        assert!(grown < MOST_MEMORY, "{case}: {grown} bytes more");
        self.house.until_connections(0).await;
        self.quiet.until_connections(0).await;
        until_descriptors(descriptors, case).await;
    }
}

/// How long one click took at the door under attack, and one of the same moment at the quiet door.
#[derive(Debug)]
struct Click {
    took: Duration,
    elsewhere: Duration,
}

async fn click_until(over: Arc<AtomicBool>, house: Arc<House>, quiet: Arc<House>) -> Vec<Click> {
    let mut clicks = Vec::new();
    loop {
        let (took, elsewhere) = tokio::join!(click(&house), click(&quiet));
        clicks.push(Click { took, elsewhere });
        if over.load(Ordering::Acquire) {
            return clicks;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// An ordinary click from a station that has an address of its own, as the attacker has; and how long it took.
pub async fn click(house: &House) -> Duration {
    let begun = Instant::now();
    let mut station = house.client_from(STATION).await.expect("a connection for an honest caller");
    let answer = station.send(&post("/", &trigger_body(0))).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, Some(EDITOR)));
    begun.elapsed()
}

/// What came back on a connection until it ended, at most for `patience`.
pub async fn all_of(client: &mut Client, patience: Duration) -> String {
    let mut answers = String::new();
    let _ = tokio::time::timeout(patience, async {
        while let Some(text) = client.text().await {
            answers.push_str(&text);
        }
    })
    .await;
    answers
}

/// The status lines of what came back, as in `400`, `200 408` or `closed`.
pub fn statuses(answers: &str) -> String {
    let codes: Vec<&str> = answers.split("HTTP/1.1 ").skip(1).filter_map(|rest| rest.get(..3)).collect();
    if codes.is_empty() { "closed".into() } else { codes.join(" ") }
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// Descriptors of this process, without what the runtime of the next test holds while that test waits for its turn: its
/// poll and wake-up descriptors, and the Unix socket by which it learns of signals.
fn open_descriptors() -> usize {
    let unix = std::fs::read_to_string("/proc/self/net/unix").unwrap();
    let of_runtimes: HashSet<String> =
        unix.lines().skip(1).filter_map(|line| line.split_whitespace().nth(6)).map(|inode| format!("socket:[{inode}]")).collect();
    let open = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    open.filter(|file| {
        let file = file.to_string_lossy();
        !file.starts_with("anon_inode:") && !of_runtimes.contains(&*file)
    })
    .count()
}

async fn until_descriptors(baseline: usize, case: &str) {
    for _ in 0..250 {
        if open_descriptors() <= baseline {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{case}: {} descriptors, {baseline} before", open_descriptors());
}
