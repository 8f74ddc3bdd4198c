//! The way in for the fuzzer: bytes as a store could send them.

use super::super::source::Source;
use super::{Found, SampleTable, read};

/// Whatever the bytes are, they are read or refused; and what a table promises holds for every frame.
#[doc(hidden)]
pub fn fuzz_index(bytes: &[u8]) {
    let Ok(Found::Table(table)) = read(&mut Source::memory(bytes.to_vec())) else { return };
    assert!(table.samples.len() <= bytes.len(), "more samples than bytes");
    let count = table.count();
    for frame in (0..count).step_by(1 + table.shown.len() / 16).chain([count.saturating_sub(1)]).filter(|&frame| frame < count) {
        let _ = table.seconds(frame);
        let Ok(plan) = table.plan(frame) else { panic!("frame {frame} of {count} has no plan") };
        assert!(plan.samples.contains(&plan.target), "the target is not fed");
        assert_eq!(plan.tickets.len(), plan.samples.len());
        assert_eq!(plan.skippable.len(), plan.samples.len());
        assert!(!plan.skippable[plan.target - plan.samples.start], "the target is skipped");
        let same = plan.tickets.iter().filter(|&&ticket| ticket == plan.ticket()).count();
        assert!(plan.nth < same, "frame {frame} is number {} of {same}", plan.nth);
    }
    assert!(table.plan(count).is_err());
    assert_eq!(SampleTable::from_bytes(&table.to_bytes()).as_ref(), Some(&*table));
}
