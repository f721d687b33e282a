//! The life of a device, and what its record refuses.

#[cfg(test)]
mod record;
#[cfg(test)]
mod table;
