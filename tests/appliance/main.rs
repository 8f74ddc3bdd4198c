//! The scripts that make a system an appliance, run in temporary folders with the real program and the shell that is there.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod boot_slots;
mod device;
mod first_boot;
