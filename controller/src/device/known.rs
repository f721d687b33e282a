//! What is known of a device.

use bartizan_evidence::lease::OwnerTime;
use bartizan_model::identity::Farewell;
use bartizan_model::ids::NodeId;

use super::{
    Certificate, Clock, Device, Identity, Kind, Mirror, Owed, Pins, Quarantine, Serial, Site,
    State, Totals,
};

impl Device {
    /// Its serial number.
    pub fn serial(&self) -> &Serial {
        &self.serial
    }

    /// The owner's name for it.
    pub fn node(&self) -> &NodeId {
        &self.node
    }

    /// What it proves itself by.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What the owner wants of it.
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// Why it is in quarantine, if it is.
    pub fn quarantine(&self) -> Option<&Quarantine> {
        self.quarantine.as_ref()
    }

    /// Its TPM, once it enrolled.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// The PCR values that it is bound to, once it enrolled.
    pub fn pins(&self) -> Option<&Pins> {
        self.pins.as_ref()
    }

    /// The boot of its last proof.
    pub fn clock(&self) -> Option<Clock> {
        self.clock
    }

    /// The floors of its TPM, as they were last seen.
    pub fn floors(&self) -> Mirror {
        self.floors
    }

    /// The epoch of its last voucher, if one was seen.
    pub fn epoch(&self) -> Option<u64> {
        self.epoch
    }

    /// The certificate over its LDevID key that was issued last.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }

    /// When it last proved itself.
    pub fn attested(&self) -> Option<OwnerTime> {
        self.attested
    }

    /// When the last of its leases ends.
    pub fn lease_end(&self) -> Option<OwnerTime> {
        self.lease_end
    }

    /// What it has yet to be told.
    pub fn farewell(&self) -> Option<Farewell> {
        self.farewell.map(|owed| match owed {
            Owed::Release => Farewell::Release,
            Owed::Retire => Farewell::Retire,
        })
    }

    /// How often an attestation was asked for; a session that sees it rise attests at once.
    pub fn demands(&self) -> u64 {
        self.demands
    }

    /// How much was ever recorded.
    pub fn totals(&self) -> Totals {
        self.totals
    }
}
