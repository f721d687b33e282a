//! Boxes as their owner's controller knows them.

use bartizan_controller::status::DeviceStatus;

use super::{
    fleet::{ControllerProcess, Fleet},
    topology::Side,
};

impl Fleet {
    /// What the controller has in its books of a box, its verdicts too.
    ///
    /// # Panics
    /// If it knows no such box.
    pub fn device(&self, side: Side) -> DeviceStatus {
        let printed = self
            .controller
            .device("show", &[self.serial(side), "--json"]);
        serde_json::from_str(&printed).expect("a device's status")
    }

    /// The box's serial number.
    ///
    /// # Panics
    /// If the fleet is not from the factory.
    pub fn serial(&self, side: Side) -> &str {
        let [a, b] = self.site.serials() else {
            panic!("boxes from the factory have serial numbers")
        };
        match side {
            Side::A => a,
            Side::B => b,
        }
    }
}

impl ControllerProcess {
    /// `bartizan-controller device VERB WORDS`; what it prints.
    ///
    /// # Panics
    /// If it refuses.
    pub fn device(&self, verb: &str, words: &[&str]) -> String {
        self.run(&[&["device", verb], words].concat())
    }
}
