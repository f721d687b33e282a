//! The xfrm role against a real kernel.

mod batches;
mod clear;
mod clock;
mod events;
mod forged;
mod orders;
mod output;
mod reach;
mod renewal;
mod role;
mod station;
