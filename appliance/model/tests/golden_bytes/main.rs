//! The bytes of every message: a change here changes what two versions of a process say to each
//! other, and what two gateways do.

#[cfg(test)]
mod channel;
#[cfg(test)]
mod configs;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod largest;
#[cfg(test)]
mod parts;
#[cfg(test)]
mod samples;
