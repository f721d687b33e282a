//! An owner with a CA, and what it makes a gateway know.

use bartizan::ownership::Owned;
use bartizan_model::config::{Der, Groups, KmeConfig, KmeInterface, KmeTransport, VerifierKeys};
use bartizan_model::ids::{NodeId, SaeId};
use bartizan_model::ownership::{Ownership, SiteNetwork};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// The gateway's name.
pub(crate) const NODE: &str = "gateway.example";

/// An owner's CA and the key of one gateway.
pub(crate) struct Owner {
    issuer: CertifiedIssuer<'static, KeyPair>,
    ldevid: KeyPair,
}

impl Owner {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
        params.distinguished_name.push(DnType::CommonName, "Owner");
        Self {
            issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap(),
            ldevid: KeyPair::generate().unwrap(),
        }
    }

    /// A certificate over the gateway's key for these names.
    pub(crate) fn certify(&self, names: &[&str]) -> Der {
        self.certify_key(names, &self.ldevid)
    }

    /// A certificate over another key.
    pub(crate) fn certify_key(&self, names: &[&str], key: &KeyPair) -> Der {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let params = CertificateParams::new(names).unwrap();
        Der(params.signed_by(key, &self.issuer).unwrap().der().to_vec())
    }

    /// What it makes the gateway know.
    pub(crate) fn ownership(&self) -> Ownership {
        let anchors = vec![Der(self.issuer.der().to_vec())];
        let ldevid = vec![self.certify(&[NODE])];
        Ownership {
            node: NodeId::try_from(NODE).unwrap(),
            epoch: 3,
            anchors: anchors.clone(),
            verifier: VerifierKeys {
                es384: vec![4; 97],
                ml_dsa_65: vec![5; 1952],
            },
            call_home: "198.51.100.10:4335".parse().unwrap(),
            registrar: "198.51.100.10:9443".parse().unwrap(),
            controller: NodeId::try_from("controller.example").unwrap(),
            ldevid: ldevid.clone(),
            addresses: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            peer_port: 9061,
            kmes: vec![KmeConfig {
                address: "192.0.2.20:443".parse().unwrap(),
                name: NodeId::try_from("kme.example").unwrap(),
                anchors,
                sae: SaeId::try_from("gateway").unwrap(),
                chain: ldevid,
                groups: Groups::HybridOnly,
                interface: KmeInterface::Etsi014,
                transport: KmeTransport::Tls,
                link: None,
                least_rate: 0,
            }],
            network: SiteNetwork::default(),
        }
    }
}

/// A gateway of some owner.
pub(crate) fn owned() -> Owned {
    Owned::new(Owner::new().ownership()).unwrap()
}
