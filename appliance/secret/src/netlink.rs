//! The two netlink socket options that no safe crate offers.
#![expect(unsafe_code, reason = "setsockopt for SOL_NETLINK has no safe wrapper")]

use core::ffi::c_int;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use crate::mapping::last_errno;

/// Stops the kernel from echoing a refused request, key and all, in its error message.
///
/// # Errors
///
/// The kernel's [`Errno`]; the socket must not carry keys then.
pub fn set_netlink_cap_ack(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    set(socket, libc::NETLINK_CAP_ACK)
}

/// Asks the kernel for the text and the offset of an error (extended ACK).
///
/// # Errors
///
/// The kernel's [`Errno`].
pub fn set_netlink_ext_ack(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    set(socket, libc::NETLINK_EXT_ACK)
}

fn set(socket: BorrowedFd<'_>, option: c_int) -> Result<(), Errno> {
    let on: c_int = 1;
    let size = libc::socklen_t::try_from(size_of::<c_int>()).map_err(|_| Errno::INVAL)?;
    let value = (&raw const on).cast();
    // SAFETY: `value` points to `size` readable bytes that outlive the call.
    let set =
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_NETLINK, option, value, size) };
    if set == 0 { Ok(()) } else { Err(last_errno()) }
}
