//! What neli's socket lacks: a descriptor to wait on, and one option.
#![expect(
    unsafe_code,
    reason = "neli gives a bare number; setsockopt for SOL_NETLINK has no safe wrapper"
)]

use core::ffi::c_int;
use std::os::fd::{AsRawFd, BorrowedFd};

use neli::socket::NlSocket;
use rustix::io::Errno;

use crate::mapping::last_errno;

/// Lends the descriptor of a socket, to wait on and to set options of.
pub fn netlink_fd(socket: &NlSocket) -> BorrowedFd<'_> {
    // SAFETY: the socket owns the descriptor and, being borrowed, keeps it open.
    unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) }
}

/// Stops the kernel from echoing a refused request, key and all, in its error message.
///
/// # Errors
///
/// The kernel's [`Errno`]; the socket must not carry keys then.
pub fn set_netlink_cap_ack(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    let on: c_int = 1;
    let size = libc::socklen_t::try_from(size_of::<c_int>()).map_err(|_| Errno::INVAL)?;
    let value = (&raw const on).cast();
    // SAFETY: `value` points to `size` readable bytes that outlive the call.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_NETLINK,
            libc::NETLINK_CAP_ACK,
            value,
            size,
        )
    };
    if set == 0 { Ok(()) } else { Err(last_errno()) }
}
