//! Numbers of linux/netlink.h and linux/xfrm.h.

/// Message types.
pub(crate) mod message {
    pub(crate) const ERROR: u16 = 2;
    pub(crate) const DONE: u16 = 3;
    pub(crate) const NEWSA: u16 = 0x10;
    pub(crate) const DELSA: u16 = 0x11;
    pub(crate) const GETSA: u16 = 0x12;
    pub(crate) const NEWPOLICY: u16 = 0x13;
    pub(crate) const DELPOLICY: u16 = 0x14;
    pub(crate) const GETPOLICY: u16 = 0x15;
    pub(crate) const ALLOCSPI: u16 = 0x16;
    pub(crate) const ACQUIRE: u16 = 0x17;
    pub(crate) const EXPIRE: u16 = 0x18;
    pub(crate) const UPDPOLICY: u16 = 0x19;
    pub(crate) const UPDSA: u16 = 0x1a;
    pub(crate) const FLUSHSA: u16 = 0x1c;
    pub(crate) const FLUSHPOLICY: u16 = 0x1d;
    pub(crate) const NEWAE: u16 = 0x1e;
    pub(crate) const GETAE: u16 = 0x1f;
    pub(crate) const NEWSPDINFO: u16 = 0x24;
}

/// `nlmsg_flags`.
pub(crate) mod flag {
    pub(crate) const REQUEST: u16 = 0x1;
    pub(crate) const ACK: u16 = 0x4;
    pub(crate) const DUMP: u16 = 0x300;
    /// In a reply: the request is not echoed beyond its header.
    pub(crate) const CAPPED: u16 = 0x100;
    /// In a reply: attributes follow the error.
    pub(crate) const ACK_TLVS: u16 = 0x200;
}

/// Attributes of an extended ACK.
pub(crate) mod extended {
    pub(crate) const TEXT: u16 = 1;
}

/// `XFRMA_SPD_*`, of NEWSPDINFO.
pub(crate) mod spd {
    pub(crate) const IPV4_HASHED: u16 = 3;
    pub(crate) const IPV6_HASHED: u16 = 4;
}

/// `XFRMA_*`.
pub(crate) mod attribute {
    pub(crate) const TEMPLATE: u16 = 5;
    pub(crate) const CURRENT_LIFETIME: u16 = 9;
    pub(crate) const AEAD: u16 = 18;
    pub(crate) const REPLAY_ESN: u16 = 23;
}

/// `IPPROTO_ESP`.
pub(crate) const ESP: u8 = 50;

/// `XFRM_STATE_NOPMTUDISC`: the outer header's DF bit stays clear; else it is the inner one's.
pub(crate) const STATE_NOPMTUDISC: u8 = 4;

/// `XFRM_STATE_ESN`.
pub(crate) const STATE_ESN: u8 = 128;

/// `XFRM_MODE_TRANSPORT`.
pub(crate) const MODE_TRANSPORT: u8 = 0;

/// `XFRM_MODE_TUNNEL`.
pub(crate) const MODE_TUNNEL: u8 = 1;

/// `XFRM_INF`: no limit of bytes or packets. For seconds it is 0 that means no limit.
pub(crate) const NO_LIMIT: u64 = u64::MAX;
