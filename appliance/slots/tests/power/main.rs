//! Updates on a disk whose power fails: at every write, with what was not flushed torn and reordered.

#[cfg(test)]
mod cuts;
#[cfg(test)]
mod disk;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod firmware;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod medium;
#[cfg(test)]
mod tables;
