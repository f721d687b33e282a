//! Published vectors and second implementations, through the public doors.

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]
mod classical;
#[cfg(test)]
mod hybrid;
#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]
mod kem;
#[cfg(test)]
mod lease;
#[cfg(test)]
mod mac;
#[cfg(test)]
mod plain;
