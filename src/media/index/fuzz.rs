//! The ways in for the fuzzer: bytes as a store could send them, and as a cache could hold them.

use super::super::source::Source;
use super::blob::seal;
use super::{Found, SampleTable, read, read_closely};

/// How many frames of a table are planned.
const LOOKED_AT: usize = 16;

/// Whatever the bytes are, they are read or refused; and what a table promises holds for every frame.
#[doc(hidden)]
pub fn fuzz_index(bytes: &[u8]) {
    for reader in [read, read_closely] {
        let Ok(Found::Table(table)) = reader(&mut Source::memory(bytes.to_vec())) else { return };
        assert!(table.samples.len() <= bytes.len(), "more samples than bytes");
        hold(&table);
        assert_eq!(SampleTable::from_bytes(&table.to_bytes()).as_ref(), Some(&*table));
    }
}

/// Whatever a cached table was turned into, it is a table that can be planned with, or none.
#[doc(hidden)]
pub fn fuzz_kept_index(bytes: &[u8]) {
    let mut blob = bytes.to_vec();
    // A fuzzer finds no hash by itself.
    seal(&mut blob);
    let Some(table) = SampleTable::from_bytes(&blob) else { return };
    assert!(table.samples.len() <= bytes.len() && table.shown.len() <= bytes.len(), "more entries than bytes");
    hold(&table);
    assert_eq!(SampleTable::from_bytes(&table.to_bytes()), Some(table));
}

/// What the rest of the program relies on.
fn hold(table: &SampleTable) {
    assert!(table.timescale > 0 && table.pixel_aspect.is_none_or(|(across, down)| across > 0 && down > 0));
    assert!(table.turn.clockwise < 360 && table.turn.clockwise.is_multiple_of(90));
    for sample in &table.samples {
        assert!(sample.offset.checked_add(sample.size.into()).is_some(), "{sample:?} ends beyond all files");
    }
    let count = table.count();
    let every = 1 + table.shown.len() / LOOKED_AT;
    for frame in (0..count).step_by(every).chain(count.checked_sub(1)) {
        assert!(table.seconds(frame).is_finite());
        plan_holds(table, frame);
    }
    assert!(table.plan(count).is_err() && table.plan(u64::MAX).is_err());
}

/// A plan feeds its target, last of all that is needed, with tickets in the order of presentation.
fn plan_holds(table: &SampleTable, frame: u64) {
    let Ok(plan) = table.plan(frame) else { panic!("frame {frame} of {} has no plan", table.count()) };
    let fed = &table.samples[plan.samples.clone()];
    assert!(plan.samples.contains(&plan.target), "the target is not fed");
    assert_eq!(plan.target, table.shown[frame as usize] as usize);
    assert!(plan.samples.start == 0 || fed[0].sync, "decoding begins in the middle of a GOP");
    assert_eq!(plan.tickets.len(), fed.len());
    for (at, pair) in fed.windows(2).enumerate() {
        let order = pair[0].pts.cmp(&pair[1].pts);
        let tickets = plan.tickets[at].cmp(&plan.tickets[at + 1]);
        assert!(order == tickets || order.is_eq(), "samples {pair:?} have tickets in another order");
    }
    let same = plan.tickets.iter().filter(|&&ticket| ticket == plan.ticket()).count();
    assert!(plan.nth < same, "frame {frame} is number {} of {same}", plan.nth);
}
