//! The words of the edge to the KME link.

use serde::{Deserialize, Serialize};

use crate::ids::{KeyId, OrderId, SaeId, StreamName};
use crate::report::{LinkReport, QkdRefusal};

/// Orders to the KME link.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum EngineToQkd {
    /// Get a fresh key to share with this SAE (ETSI GS QKD 014, 6.2: `enc_keys`).
    NewKey {
        /// Repeated in the reply.
        order: OrderId,
        /// The peer's SAE.
        peer: SaeId,
    },
    /// Get the key that this SAE named (`dec_keys`).
    SameKey {
        /// Repeated in the reply.
        order: OrderId,
        /// The peer's SAE.
        peer: SaeId,
        /// Its name.
        key: KeyId,
    },
    /// This SAE has opened a stream, or opened it before its gateway's link came back: join it.
    Join {
        /// The peer's SAE.
        peer: SaeId,
        /// The stream.
        stream: StreamName,
    },
    /// The peer made no use of this key, which this gateway named.
    Unused {
        /// The peer's SAE.
        peer: SaeId,
        /// Its name.
        key: KeyId,
    },
    /// The answer is no longer wanted.
    Cancel(OrderId),
}

/// Replies of the KME link.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum QkdToEngine {
    /// The key (32 bytes) is in the secret slot.
    Key {
        /// Which order.
        order: OrderId,
        /// Its name.
        key: KeyId,
    },
    /// There is none.
    Refused {
        /// Which order.
        order: OrderId,
        /// Why.
        reason: QkdRefusal,
    },
    /// A stream is open: its peer must be told, now and whenever its gateway's link comes back.
    Stream {
        /// The peer's SAE.
        peer: SaeId,
        /// The stream; it takes the place of the one before.
        stream: StreamName,
    },
    /// A link is not what it was.
    Link(Box<LinkReport>),
}
