//! What a document may have at most. One more of each is refused, and nothing changes.

/// Bytes of one message, framing not counted.
pub const BODY: usize = 16 * 1024 * 1024;

/// Bytes of a message that the owner's end takes: the answer that carries a full configuration.
pub const REPLY: usize = 64 * 1024 * 1024;

/// Bytes that are kept of a message beyond its limit, for its message-id.
pub const HEAD: usize = 8 * 1024;

/// Bytes of a hello.
pub const HELLO: usize = 64 * 1024;

/// Capabilities in a hello.
pub const CAPABILITIES: usize = 512;

/// `spd-entry` instances in one edit, and in the running configuration.
pub const ENTRIES: usize = 12_000;

/// Instances of a list or leaf-list inside one entry.
pub const INNER_ENTRIES: usize = 16;

/// Elements inside each other, `rpc` counted.
pub const DEPTH: usize = 32;

/// Bytes of a leaf's text; a lease has its own limit.
pub const LEAF: usize = 4 * 1024;

/// Instances of a list or leaf-list of PCRs.
pub const PCRS: usize = 32;

/// Bytes of a lease, and of an order that ends ownership.
pub const LEASE: usize = 8 * 1024;

/// Certificates of an LDevID chain.
pub const CHAIN: usize = 4;

/// Bytes of a certificate.
pub const CERTIFICATE: usize = 4 * 1024;

/// Bytes of a nonce that a verifier gives, at least and at most.
pub const NONCE_MIN: usize = 16;

/// See [`NONCE_MIN`].
pub const NONCE_MAX: usize = 64;

/// Bytes of a log in one answer, as they were measured.
pub const LOG_PART: usize = 256 * 1024;

/// Bytes of a log that is shown event by event.
pub const LOG: usize = 4 * 1024 * 1024;

/// Bytes of a lease's text: base64, and whitespace where it was wrapped.
pub const LEASE_TEXT: usize = 12 * 1024;

/// Bytes of one tag with its attributes.
pub const TAG: usize = 4 * 1024;

/// Attributes of one element.
pub const ATTRIBUTES: usize = 16;

/// Elements in a subtree filter.
pub const FILTER: usize = 1024;

/// Bytes of notifications that wait for the controller to read them; a controller that is slower
/// loses its session.
pub const NOTIFICATIONS: usize = 8 * 1024 * 1024;

/// Messages without sense that a session survives.
pub const NONSENSE: u32 = 16;
