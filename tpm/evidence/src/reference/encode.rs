//! Writes the one form.

use super::label as l;
use super::{Hardware, ReferenceValues, UserspaceLogging};
use crate::cbor::Writer;
use crate::quote::Digest;

pub(super) fn corim(values: &ReferenceValues) -> Vec<u8> {
    let mut out = Writer::default();
    out.tag(l::CORIM).map(3);
    out.unsigned(l::ID).text(&values.image);
    out.unsigned(l::TAGS).array(1);
    out.tag(l::COMID).bytes(&comid(values));
    out.unsigned(l::PROFILE).tag(l::URI).text(l::PROFILE_NAME);
    out.into_bytes()
}

fn comid(values: &ReferenceValues) -> Vec<u8> {
    let mut out = Writer::default();
    out.map(2);
    out.unsigned(l::TAG_IDENTITY).map(1);
    out.unsigned(l::TAG_ID).text(&values.image);
    out.unsigned(l::TRIPLES).map(1);
    out.unsigned(l::REFERENCE_TRIPLES);
    out.array(count(values.hardware.len()).saturating_add(1));
    image(&mut out, values);
    for hardware in &values.hardware {
        model(&mut out, hardware);
    }
    out.into_bytes()
}

fn image(out: &mut Writer, values: &ReferenceValues) {
    environment(out, l::OUR_VENDOR, l::OUR_MODEL);
    out.array(count(values.phases.len()).saturating_add(2));
    // What it is.
    out.map(1).unsigned(l::MVAL).map(4);
    out.unsigned(l::VERSION).map(1);
    out.unsigned(l::VERSION).text(&values.os_version);
    out.unsigned(l::ROLLBACK).tag(l::SVN);
    out.unsigned(values.rollback_epoch);
    out.unsigned(l::CRYPTOKEYS).array(1);
    out.tag(l::PKIX_BASE64_KEY)
        .text(&values.signing_key.to_pem());
    out.int(l::USERSPACE_LOG);
    match values.userspace_log {
        UserspaceLogging::Logged => out.yes(),
        UserspaceLogging::Unlogged => out.no(),
    };
    // What it measures, whatever the phase.
    out.map(1).unsigned(l::MVAL).map(1);
    out.unsigned(l::INTEGRITY_REGISTERS);
    out.map(count(values.exact.len()));
    for (pcr, digests) in &values.exact {
        register(out, *pcr, digests);
    }
    for phase in &values.phases {
        out.map(2).unsigned(l::MKEY).text(&phase.name);
        out.unsigned(l::MVAL).map(1);
        out.unsigned(l::INTEGRITY_REGISTERS).map(1);
        register(out, 11, &[phase.pcr11]);
    }
}

fn model(out: &mut Writer, hardware: &Hardware) {
    environment(out, &hardware.vendor, &hardware.model);
    out.array(1);
    out.map(1).unsigned(l::MVAL).map(1);
    out.unsigned(l::INTEGRITY_REGISTERS).map(2);
    register(out, 0, &hardware.pcr0);
    register(out, 2, &hardware.pcr2);
}

/// The beginning of a triple: which kind of thing is spoken of.
fn environment(out: &mut Writer, vendor: &str, model: &str) {
    out.array(2).map(1);
    out.unsigned(l::CLASS).map(2);
    out.unsigned(l::VENDOR).text(vendor);
    out.unsigned(l::MODEL).text(model);
}

fn register(out: &mut Writer, pcr: u8, digests: &[Digest]) {
    out.unsigned(pcr.into()).array(count(digests.len()));
    for digest in digests {
        out.array(2).unsigned(l::SHA_256).bytes(digest);
    }
}

fn count(items: usize) -> u64 {
    u64::try_from(items).unwrap_or(u64::MAX)
}
