//! `hybrid-keying`: where a tunnel's keys come from.

use core::net::SocketAddr;

use bartizan_model::ids::{NodeId, SaeId, TunnelId};
use bartizan_model::policy::{
    Combiner, Dial, KemSource, Keying, Lifetime, Need, QkdPriority, QkdSource,
};

use crate::error::{ErrorInfo, ErrorTag, RpcError};
use crate::policy::view::View;
use crate::schema::{COMBINERS, DIALS, NEEDS, PARAMETER_SETS, REKEY_MODES, RekeyMode};
use crate::tree::Tree;
use crate::words::word;

/// Where the peer role listens if the entry does not say.
const DEFAULT_PEER_PORT: u16 = 9061;

pub(crate) fn read(keying: &View<'_>) -> Result<Keying, RpcError> {
    if !keying.exists() {
        let message = "an entry that protects says where its keys come from";
        let element = ErrorInfo::BadElement(String::from("hybrid-keying"));
        return Err(keying
            .fault(ErrorTag::MissingElement, message)
            .with(element));
    }
    let peer = NodeId::try_from(keying.required("peer-node")?)
        .map_err(|_| keying.invalid("peer-node", "a node id is a short lower-case DNS name"))?;
    let port = keying.number("peer-port")?.unwrap_or(DEFAULT_PEER_PORT);
    if port == 0 {
        return Err(keying.invalid("peer-port", "no such port"));
    }
    match keying.word("rekey-mode", REKEY_MODES)? {
        None | Some(RekeyMode::Delegated) => {}
        Some(RekeyMode::Controller) => {
            return Err(keying.below("rekey-mode").fault(
                ErrorTag::OperationNotSupported,
                "keys are made by the pair of gateways alone",
            ));
        }
    }
    let qkd = qkd(&keying.below("qkd"))?;
    let kem = kem(&keying.below("kem"))?;
    let classical = classical(&keying.below("x25519"))?;
    if qkd.is_none() && kem.is_none() && classical.is_none() {
        return Err(keying.violation("a key needs a source"));
    }
    let (soft, hard) = (keying.below("soft-lifetime"), keying.below("hard-lifetime"));
    let lifetimes = (lifetime(&soft)?, lifetime(&hard)?);
    check_order(&lifetimes.0, &lifetimes.1, keying)?;
    Ok(Keying {
        tunnel: TunnelId(keying.required_value("tunnel-id")?),
        peer,
        peer_address: SocketAddr::new(keying.required_host("peer-address")?, port),
        dial: keying.word("dial", DIALS)?.unwrap_or(Dial::Lower),
        qkd,
        kem,
        classical,
        combiner: keying
            .word("combiner", COMBINERS)?
            .unwrap_or(Combiner::Hmac),
        soft: lifetimes.0,
        hard: lifetimes.1,
    })
}

pub(crate) fn write(keying: &Keying, tree: &mut Tree) {
    tree.set("tunnel-id", keying.tunnel);
    tree.set("peer-node", &keying.peer);
    tree.set("peer-address", keying.peer_address.ip());
    if keying.peer_address.port() != DEFAULT_PEER_PORT {
        tree.set("peer-port", keying.peer_address.port());
    }
    if keying.dial != Dial::Lower {
        tree.set("dial", word(DIALS, keying.dial));
    }
    if let Some(source) = &keying.qkd {
        tree.add("qkd", |qkd| {
            qkd.set("need", word(NEEDS, source.need));
            qkd.set("peer-sae-id", &source.peer_sae);
            if source.priority != QkdPriority::DEFAULT {
                qkd.set("priority", source.priority);
            }
            if source.minimum != 0 {
                qkd.set("minimum-keys-per-hour", source.minimum);
            }
        });
    }
    if let Some(source) = &keying.kem {
        tree.add("kem", |kem| {
            kem.set("need", word(NEEDS, source.need));
            kem.set("parameter-set", word(PARAMETER_SETS, source.parameter_set));
        });
    }
    if let Some(need) = keying.classical {
        tree.add("x25519", |x25519| x25519.set("need", word(NEEDS, need)));
    }
    if keying.combiner != Combiner::Hmac {
        tree.set("combiner", word(COMBINERS, keying.combiner));
    }
    for (name, lifetime) in [
        ("soft-lifetime", &keying.soft),
        ("hard-lifetime", &keying.hard),
    ] {
        tree.add(name, |tree| {
            for (name, limit) in limits(lifetime) {
                if let Some(limit) = limit {
                    tree.set(name, limit);
                }
            }
        });
    }
}

fn qkd(qkd: &View<'_>) -> Result<Option<QkdSource>, RpcError> {
    if !qkd.exists() {
        return Ok(None);
    }
    let peer_sae = SaeId::try_from(qkd.required("peer-sae-id")?).map_err(|_| {
        qkd.invalid(
            "peer-sae-id",
            "an SAE id is 1 to 64 letters, digits or -._~",
        )
    })?;
    let priority = match qkd.number::<u8>("priority")? {
        Some(priority) => QkdPriority::try_from(priority)
            .map_err(|_| qkd.invalid("priority", "a QKD priority is 0 to 7"))?,
        None => QkdPriority::DEFAULT,
    };
    Ok(Some(QkdSource {
        need: qkd.required_word("need", NEEDS)?,
        peer_sae,
        priority,
        minimum: qkd.number("minimum-keys-per-hour")?.unwrap_or(0),
    }))
}

fn kem(kem: &View<'_>) -> Result<Option<KemSource>, RpcError> {
    if !kem.exists() {
        return Ok(None);
    }
    Ok(Some(KemSource {
        need: kem.required_word("need", NEEDS)?,
        parameter_set: kem.required_word("parameter-set", PARAMETER_SETS)?,
    }))
}

fn classical(x25519: &View<'_>) -> Result<Option<Need>, RpcError> {
    if !x25519.exists() {
        return Ok(None);
    }
    x25519.required_word("need", NEEDS).map(Some)
}

fn lifetime(lifetime: &View<'_>) -> Result<Lifetime, RpcError> {
    let limit = |name| match lifetime.number(name)? {
        Some(0) => Err(lifetime.invalid(name, "a limit is at least 1; none is no leaf")),
        limit => Ok(limit),
    };
    Ok(Lifetime {
        seconds: limit("time")?,
        bytes: limit("bytes")?,
        packets: limit("packets")?,
    })
}

/// Checks that a new generation is begun before the old one ends.
fn check_order(soft: &Lifetime, hard: &Lifetime, keying: &View<'_>) -> Result<(), RpcError> {
    for ((_, soft), (_, hard)) in limits(soft).into_iter().zip(limits(hard)) {
        if let Some(hard) = hard
            && soft.is_none_or(|soft| soft >= hard)
        {
            let error = keying.below("soft-lifetime");
            return Err(error.violation("the soft lifetime is shorter than the hard one"));
        }
    }
    Ok(())
}

fn limits(lifetime: &Lifetime) -> [(&'static str, Option<u64>); 3] {
    [
        ("time", lifetime.seconds),
        ("bytes", lifetime.bytes),
        ("packets", lifetime.packets),
    ]
}
