//! Boxes that are switched off and on again.

use std::time::Duration;

use super::{
    appliance::{Appliance, Start},
    fleet::Fleet,
    measured::Image,
    site::Site,
    swtpm::Swtpm,
    topology::{Side, Topology},
};

/// How long xfrm may take until it blocks everything.
const BLOCKED: Duration = Duration::from_secs(20);

impl Fleet {
    /// Cuts a box's power and boots `image` on it: the same disk and TPM, a kernel that knows nothing.
    ///
    /// As the units have it, its network comes up only when xfrm stands. Its TPM and processes are other ones afterwards.
    ///
    /// # Panics
    /// If it does not boot.
    pub fn reboot(&mut self, side: Side, image: &Image) {
        self.switch_off(side);
        self.switch_on(side, image);
    }

    /// Cuts a box's power.
    ///
    /// # Panics
    /// If something of it stays.
    pub fn switch_off(&mut self, side: Side) {
        self.gateway(side).cut_power();
        self.tpm(side).cut_power();
        let place = &self.topology.side(side).gateway;
        place.ip(&["link set dev wan down", "addr flush dev wan"]);
        for table in ["state", "policy"] {
            place.ip(&[format!("xfrm {table} flush")]);
        }
    }

    /// Boots `image` on a box that was switched off.
    ///
    /// # Panics
    /// If it does not boot.
    pub fn switch_on(&mut self, side: Side, image: &Image) {
        let tpm = Swtpm::start(&self.site.tpm(side));
        image.measured().extend(&tpm.resource_manager());
        let builder = self.site.pki().builder();
        builder.leave(&Image::approved(), image, &self.site.measured(side));
        let mut gateway = power_on(&self.topology, &self.site, side, &tpm);
        gateway.wait_ready(&["bartizan-xfrm.service"], BLOCKED);
        self.topology.side(side).raise();
        *self.gateway(side) = gateway;
        *self.tpm(side) = tpm;
    }

    /// A gateway's TPM.
    pub fn tpm(&mut self, side: Side) -> &mut Swtpm {
        let [a, b] = &mut self.tpms;
        match side {
            Side::A => a,
            Side::B => b,
        }
    }
}

/// Starts the appliance of a box whose TPM was measured into.
pub(super) fn power_on(topology: &Topology, site: &Site, which: Side, tpm: &Swtpm) -> Appliance {
    let start = Start {
        units: None,
        configuration: site.gateway(which),
        only: Vec::new(),
        tpm: Some(tpm.resource_manager()),
        measured: Some(site.measured(which)),
    };
    Appliance::start(&topology.side(which).gateway, which.letter(), &start)
}
