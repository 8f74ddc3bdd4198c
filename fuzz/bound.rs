//! A bound on memory for every target, so that an input which makes a reader allocate without measure is a finding.

use std::alloc::System;

use cap::Cap;

/// Far more than any reader needs for an input of the fuzzer's size.
const MOST: usize = 512 << 20;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, MOST);
