//! The document as it is written, before any check; also how it is stored.

use core::net::IpAddr;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What the owner wrote.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Document {
    /// `[node.NAME]`.
    #[serde(default)]
    pub(super) node: BTreeMap<String, NodeDocument>,
    /// `[[tunnel]]`.
    #[serde(default)]
    pub(super) tunnel: Vec<TunnelDocument>,
}

#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct NodeDocument {
    pub(super) addresses: Vec<IpAddr>,
    #[serde(default = "peer_port")]
    pub(super) peer_port: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sae: Option<String>,
}

#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct TunnelDocument {
    pub(super) id: u32,
    pub(super) between: [String; 2],
    pub(super) mode: ModeWord,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) endpoints: Option<[IpAddr; 2]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) networks: Option<[String; 2]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) protocol: Option<u8>,
    /// 0 is any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ports: Option<[u16; 2]>,
    #[serde(default)]
    pub(super) df_bit: DfWord,
    #[serde(default = "replay_window")]
    pub(super) replay_window: u32,
    #[serde(default)]
    pub(super) dial: DialWord,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) qkd: Option<NeedWord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) qkd_priority: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) qkd_minimum_keys_per_hour: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) kem: Option<KemDocument>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) x25519: Option<NeedWord>,
    #[serde(default)]
    pub(super) combiner: CombinerWord,
    #[serde(default)]
    pub(super) soft: LifetimeDocument,
    #[serde(default)]
    pub(super) hard: LifetimeDocument,
}

#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct KemDocument {
    pub(super) need: NeedWord,
    pub(super) parameter_set: ParameterSetWord,
}

#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct LifetimeDocument {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) seconds: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) packets: Option<u64>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ModeWord {
    Tunnel,
    Transport,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum DfWord {
    #[default]
    Clear,
    Copy,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum DialWord {
    #[default]
    Lower,
    Higher,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum NeedWord {
    Required,
    Optional,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(super) enum ParameterSetWord {
    #[serde(rename = "ml-kem-512")]
    MlKem512,
    #[serde(rename = "ml-kem-768")]
    MlKem768,
    #[serde(rename = "ml-kem-1024")]
    MlKem1024,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum CombinerWord {
    #[default]
    Hmac,
    Xor,
    Xorhmac,
}

fn peer_port() -> u16 {
    9061
}

fn replay_window() -> u32 {
    4096
}
