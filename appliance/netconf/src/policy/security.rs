//! `ipsec-sa-cfg`: how packets are protected.

use core::net::IpAddr;

use bartizan_model::policy::{DontFragment, Mode, Protect, Suite, TrafficSelector};

use crate::error::{ErrorTag, RpcError};
use crate::policy::view::View;
use crate::schema::{DF_BITS, DfBit, MODES};
use crate::tree::Tree;
use crate::words::word;

/// `ENCR_AES_GCM_16` (IANA, `IKEv2` transform type 1).
const AES_GCM_16: u16 = 20;

/// RFC 9061: the default of `key-length`, in bits.
const DEFAULT_KEY_LENGTH: u16 = 128;

/// Encryption that RFC 8221 forbids or advises against, and what encrypts nothing: DES, 3DES, RC5,
/// IDEA, CAST, Blowfish, NULL, GMAC.
const WEAK_ENCRYPTION: [u16; 11] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 21];

/// Integrity that RFC 8221 forbids or advises against: MD5, DES-MAC, KPDK and SHA-1.
const WEAK_INTEGRITY: [u16; 6] = [1, 2, 3, 4, 6, 7];

const WEAK: &str = "weak-algorithm";

/// What the container says.
pub(crate) struct Security {
    pub(crate) mode: Mode,
    pub(crate) local: IpAddr,
    pub(crate) remote: IpAddr,
    pub(crate) df: DontFragment,
    pub(crate) suite: Suite,
}

/// Reads the container; also gives the controller's number for the algorithm.
pub(crate) fn read(
    security: &View<'_>,
    selector: &TrafficSelector,
    selector_view: &View<'_>,
) -> Result<(Security, u16), RpcError> {
    refuse_flags(
        security,
        &["pfp-flag", "seq-overflow", "stateful-frag-check"],
    )?;
    if security.flag("ext-seq-num")? != Some(true) {
        return Err(security.refused("ext-seq-num", "sequence numbers are always extended"));
    }
    let (suite, encryption) = suite(&security.below("esp-algorithms"))?;
    let tunnel = security.below("tunnel");
    let mode = security.word("mode", MODES)?.unwrap_or(Mode::Transport);
    let (local, remote, df) = match mode {
        Mode::Tunnel => ends(&tunnel)?,
        Mode::Transport => {
            if tunnel.exists() {
                let message = "only tunnel mode has this";
                return Err(tunnel.fault(ErrorTag::UnknownElement, message));
            }
            for (name, prefix) in [
                ("local-prefix", selector.local),
                ("remote-prefix", selector.remote),
            ] {
                if !prefix.is_host() {
                    let message = "transport mode protects between two addresses";
                    return Err(selector_view.refused(name, message));
                }
            }
            let (local, remote) = (selector.local.address(), selector.remote.address());
            (local, remote, DontFragment::Clear)
        }
    };
    let security = Security {
        mode,
        local,
        remote,
        df,
        suite,
    };
    Ok((security, encryption))
}

pub(crate) fn write(protect: &Protect, encryption: u16, tree: &mut Tree) {
    tree.set("ext-seq-num", true);
    tree.set("mode", word(MODES, protect.mode));
    tree.add("esp-algorithms", |algorithms| {
        algorithms.add("encryption", |algorithm| {
            algorithm.set("id", encryption);
            match protect.suite {
                Suite::AesGcm256 => {
                    algorithm.set("algorithm-type", AES_GCM_16);
                    algorithm.set("key-length", 256);
                }
            }
        });
    });
    match protect.mode {
        Mode::Transport => {}
        Mode::Tunnel => tree.add("tunnel", |tunnel| {
            tunnel.set("local", protect.local);
            tunnel.set("remote", protect.remote);
            match protect.df {
                DontFragment::Clear => {}
                DontFragment::Copy => tunnel.set("df-bit", word(DF_BITS, DfBit::Copy)),
            }
        }),
    }
}

fn suite(algorithms: &View<'_>) -> Result<(Suite, u16), RpcError> {
    refuse_flags(algorithms, &["tfc-pad"])?;
    for integrity in algorithms.instances("integrity") {
        let number: u16 = integrity.own_text().parse().unwrap_or(u16::MAX);
        if number != 0 {
            let error =
                integrity.not_programmable("an AEAD has no algorithm for integrity beside it");
            return Err(weak_among(error, &WEAK_INTEGRITY, number));
        }
    }
    let mut encryption = algorithms.instances("encryption");
    let Some(algorithm) = encryption.next() else {
        let error = algorithms.refused("encryption", "packets are always encrypted");
        return Err(error.app_tag(WEAK));
    };
    if let Some(second) = encryption.next() {
        return Err(second.not_programmable("an entry has one algorithm"));
    }
    let number: u16 = algorithm.number("algorithm-type")?.unwrap_or(AES_GCM_16);
    if number != AES_GCM_16 {
        let error = algorithm.refused("algorithm-type", "only AES-GCM-16 (20) is programmed");
        return Err(weak_among(error, &WEAK_ENCRYPTION, number));
    }
    let bits = algorithm
        .number("key-length")?
        .unwrap_or(DEFAULT_KEY_LENGTH);
    if bits != 256 {
        return Err(algorithm.refused("key-length", "only keys of 256 bits are programmed"));
    }
    Ok((Suite::AesGcm256, algorithm.required_value("id")?))
}

fn ends(tunnel: &View<'_>) -> Result<(IpAddr, IpAddr, DontFragment), RpcError> {
    let local = tunnel.required_host("local")?;
    let remote = tunnel.required_host("remote")?;
    if local.is_ipv4() != remote.is_ipv4() {
        return Err(tunnel.invalid("remote", "not of the local address's family"));
    }
    let df = match tunnel.word("df-bit", DF_BITS)? {
        None | Some(DfBit::Clear) => DontFragment::Clear,
        Some(DfBit::Copy) => DontFragment::Copy,
        Some(DfBit::Set) => {
            return Err(tunnel.refused("df-bit", "the kernel clears or copies the bit"));
        }
    };
    if tunnel.flag("bypass-dscp")? == Some(false) {
        return Err(tunnel.refused("bypass-dscp", "the DSCP is always copied"));
    }
    if let Some(mapping) = tunnel.instances("dscp-mapping").next() {
        return Err(mapping.not_programmable("the DSCP is always copied"));
    }
    Ok((local, remote, df))
}

fn refuse_flags(view: &View<'_>, names: &[&str]) -> Result<(), RpcError> {
    for name in names {
        if view.flag(name)? == Some(true) {
            return Err(view.refused(name, "the kernel has no such thing"));
        }
    }
    Ok(())
}

fn weak_among(error: RpcError, weak: &[u16], number: u16) -> RpcError {
    if weak.contains(&number) {
        error.app_tag(WEAK)
    } else {
        error
    }
}
