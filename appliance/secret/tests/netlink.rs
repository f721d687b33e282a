//! What the netlink options change in the kernel's answers.
#![cfg(test)]
#![forbid(unsafe_code)]
#![expect(
    clippy::arithmetic_side_effects,
    reason = "an overflow fails the test, as it should"
)]

use std::os::fd::{AsFd as _, OwnedFd};

use bartizan_secret::{netlink_fd, set_netlink_cap_ack};
use neli::consts::socket::NlFamily;
use neli::socket::NlSocket;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with,
};

const HEADER: usize = 16;
const NLM_F_REQUEST: u16 = 1;
const NLMSG_ERROR: u16 = 2;
/// Its interface's name is too long here, which the kernel words in an extended ACK.
const RTM_GETLINK: u16 = 18;
const PAYLOAD: &[u8] = b"a-key-that-must-not-come-back-in-an-error";

#[test]
fn a_refused_request_comes_back_only_without_the_option() {
    let socket = netlink();
    assert!(holds(&refused(&socket), PAYLOAD));
    set_netlink_cap_ack(socket.as_fd()).unwrap();
    assert!(!holds(&refused(&socket), PAYLOAD));
}

#[test]
fn a_socket_of_neli_lends_its_descriptor() {
    let socket = NlSocket::new(NlFamily::Route).unwrap();
    set_netlink_cap_ack(netlink_fd(&socket)).unwrap();
}

#[test]
fn what_is_no_netlink_socket_is_an_error() {
    let (near, _far) = std::os::unix::net::UnixStream::pair().unwrap();
    assert!(set_netlink_cap_ack(near.as_fd()).is_err());
}

fn netlink() -> OwnedFd {
    // Protocol 0 is NETLINK_ROUTE.
    socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        None,
    )
    .unwrap()
}

/// The kernel's answer to a request whose only attribute is too long for it.
fn refused(socket: &OwnedFd) -> Vec<u8> {
    const IFINFOMSG: usize = 16;
    const IFLA_IFNAME: u16 = 3;
    let attribute = PAYLOAD.len() + 4;
    let padded = attribute.next_multiple_of(4);
    let whole = HEADER + IFINFOMSG + padded;
    let mut request = Vec::with_capacity(whole);
    request.extend(u32::try_from(whole).unwrap().to_ne_bytes());
    request.extend(RTM_GETLINK.to_ne_bytes());
    request.extend(NLM_F_REQUEST.to_ne_bytes());
    request.extend([0; 8 + IFINFOMSG]);
    request.extend(u16::try_from(attribute).unwrap().to_ne_bytes());
    request.extend(IFLA_IFNAME.to_ne_bytes());
    request.extend(PAYLOAD);
    request.resize(whole, 0);
    sendto(
        socket,
        &request,
        SendFlags::empty(),
        &SocketAddrNetlink::new(0, 0),
    )
    .unwrap();
    let mut answer = vec![0; 4096];
    let (read, _) = recv(socket, answer.as_mut_slice(), RecvFlags::empty()).unwrap();
    answer.truncate(read);
    assert_eq!(
        u16::from_ne_bytes(answer[4..6].try_into().unwrap()),
        NLMSG_ERROR
    );
    answer
}

fn holds(answer: &[u8], payload: &[u8]) -> bool {
    answer
        .windows(payload.len())
        .any(|window| window == payload)
}
