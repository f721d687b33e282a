//! The dead part of the stack.

use zeroize::Zeroize;

/// Bytes below the caller's frame that [`clobber_stack`] overwrites.
const DEPTH: usize = 96 * 1024;

/// Overwrites the stack that earlier calls have left behind, up to 96 KiB.
///
/// Called after foreign code has worked on a secret: such code keeps its intermediate values in
/// frames that are given up without being wiped.
#[inline(never)]
#[expect(
    clippy::large_stack_arrays,
    reason = "its place on the stack is its purpose"
)]
pub fn clobber_stack() {
    let mut dead = [0_u8; DEPTH];
    dead.zeroize();
    core::hint::black_box(&dead);
}
