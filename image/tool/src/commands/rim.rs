//! `image rim`: what the verifier is to expect of a built version, signed.

use bartizan_evidence::pcr_key::PcrSigningKey;
use bartizan_evidence::reference::{ReferenceValues, UserspaceLogging};
use bartizan_image::prediction::Prediction;
use bartizan_image::secure_boot::SecureBoot;
use bartizan_image_builder::Built;
use bartizan_signer::Signer;

use crate::arguments::Arguments;
use crate::fault::Fault;
use crate::files::{json, read, write};

/// The name of the reference values in a built version's folder.
pub(crate) const RIM: &str = "rim.cose";

/// Predicts, compares with what the builder says, and signs.
pub(crate) fn rim(arguments: &Arguments) -> Result<String, Fault> {
    let [folder] = arguments.files()?;
    let keys = arguments.folder("--keys")?;
    let built: Built = json(&folder.join("build.json"))?;
    let variable = |name: &str| read(&keys.join(name));
    let variables = SecureBoot::from_signed(
        &variable("PK.auth")?,
        &variable("KEK.auth")?,
        &variable("db.auth")?,
    )
    .map_err(Fault::Variables)?;
    let (boot_loader, kernel_image) = (
        read(&folder.join("boot.efi"))?,
        read(&folder.join("uki.efi"))?,
    );
    let prediction =
        Prediction::new(&boot_loader, &kernel_image, &variables).map_err(Fault::Prediction)?;
    // The builder computed them from what it put in, this tool from what came out.
    let told = built
        .pcr11
        .iter()
        .map(|one| (&one.phase, one.value.clone()));
    let found = prediction
        .phases
        .iter()
        .map(|one| (&one.name, bartizan_evidence::hex::encode(&one.pcr11)));
    if !told.eq(found) {
        return Err(Fault::Disagrees("value of PCR 11 in build.json"));
    }
    let pcr_key = read(&keys.join("pcr.pub"))?;
    let values = ReferenceValues {
        image: format!("{}-{}", arguments.required("--name")?, built.version),
        os_version: built.version,
        rollback_epoch: built.epoch,
        signing_key: PcrSigningKey::from_pem(&pcr_key).map_err(Fault::PcrKey)?,
        // systemd 252 keeps no log of what it measures.
        userspace_log: UserspaceLogging::Unlogged,
        exact: prediction.exact,
        phases: prediction.phases,
        hardware: Vec::new(),
    };
    let payload = values.encode().map_err(Fault::Reference)?;
    let signer = Signer::load(&keys.join("release")).map_err(Fault::Keys)?;
    let envelope = signer.sign(&payload).map_err(Fault::Keys)?;
    write(&folder.join(RIM), &[&envelope])?;
    Ok(shown(&values))
}

/// The values, a line each.
pub(crate) fn shown(values: &ReferenceValues) -> String {
    use bartizan_evidence::hex::encode;
    use std::fmt::Write as _;
    let mut text = String::new();
    for (pcr, digests) in &values.exact {
        for digest in digests {
            let _always_ok = writeln!(text, "PCR {pcr:<2} {}", encode(digest));
        }
    }
    for phase in &values.phases {
        let _always_ok = writeln!(text, "PCR 11 {} {}", encode(&phase.pcr11), phase.name);
    }
    text
}
