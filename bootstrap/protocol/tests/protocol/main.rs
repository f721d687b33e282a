//! Bootstrap and enrolment through the public door: a maker, an owner, a box.

mod certificates;
mod message;
mod parties;
mod refusals;
