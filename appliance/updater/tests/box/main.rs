//! The box's own disk under updates: a file with a partition table, and a folder of boot entries.
#![cfg(test)]
#![forbid(unsafe_code)]

mod disk;
mod faulty;
mod fixture;
mod install;
mod maker;
mod proving;
mod role;
