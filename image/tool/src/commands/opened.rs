//! A bundle whose manifest is the maker's, and every check that can be made of the rest.

use bartizan_evidence::cose::VerifierKeys;
use bartizan_evidence::hex;
use bartizan_evidence::reference::ReferenceValues;
use bartizan_image::pe::Pe;
use bartizan_image::{prediction, verity};
use bartizan_manifest::bundle::{self, HEAD_LEN};
use bartizan_manifest::{Manifest, Part};
use sha2::{Digest as _, Sha256};

use crate::fault::Fault;

/// A bundle with the maker's signatures, of the length that they say.
pub(crate) struct Opened<'a> {
    pub(crate) manifest: Manifest,
    /// All parts.
    body: &'a [u8],
}

impl<'a> Opened<'a> {
    /// Checks the manifest and the length.
    pub(crate) fn new(bytes: &'a [u8], keys: &VerifierKeys) -> Result<Self, Fault> {
        let short = || Fault::Bundle(bundle::BundleError::Magic);
        let (head, rest) = bytes.split_first_chunk::<HEAD_LEN>().ok_or_else(short)?;
        let len = bundle::manifest_len(head).map_err(Fault::Bundle)?;
        let (signed, body) = rest.split_at_checked(len).ok_or_else(short)?;
        let manifest = Manifest::verify(signed, keys).map_err(Fault::Manifest)?;
        let opened = Self { manifest, body };
        for part in Part::ALL {
            opened.part(part)?;
        }
        if usize::try_from(opened.manifest.parts_len()) != Ok(body.len()) {
            return Err(Fault::Long);
        }
        Ok(opened)
    }

    /// The bytes of a part.
    pub(crate) fn part(&self, part: Part) -> Result<&'a [u8], Fault> {
        let range = || {
            let begin = usize::try_from(self.manifest.offset(part)).ok()?;
            let len = usize::try_from(self.manifest.part(part).size).ok()?;
            self.body.get(begin..begin.checked_add(len)?)
        };
        range().ok_or(Fault::Short(part))
    }

    /// Every hash, the hash tree, and whether kernel image and reference values are of this root,
    /// version and epoch; says what was found.
    pub(crate) fn check(&self, keys: &VerifierKeys) -> Result<String, Fault> {
        let manifest = &self.manifest;
        for part in Part::ALL {
            let digest: [u8; 32] = Sha256::digest(self.part(part)?).into();
            if digest != manifest.part(part).sha256 {
                return Err(Fault::Hash(part));
            }
        }
        let root = self.part(Part::Root)?;
        let root_hash = verity::root_hash(root, self.part(Part::Verity)?).map_err(Fault::Verity)?;
        if root_hash != manifest.root_hash {
            return Err(Fault::Disagrees("root hash"));
        }
        let values = self.reference_values(keys)?;
        let version = manifest.version.to_string();
        if (values.os_version.as_str(), values.rollback_epoch)
            != (version.as_str(), manifest.rollback_epoch)
        {
            return Err(Fault::Disagrees("version or epoch of the reference values"));
        }
        self.check_kernel_image(&values)?;
        Ok(format!(
            "{} {version}, epoch {}, root hash {}: whole\n",
            manifest.machine,
            manifest.rollback_epoch,
            hex::encode(&root_hash)
        ))
    }

    /// The reference values, if their signatures are the maker's, too.
    pub(crate) fn reference_values(&self, keys: &VerifierKeys) -> Result<ReferenceValues, Fault> {
        let signed = self.part(Part::ReferenceValues)?;
        ReferenceValues::verify(signed, keys).map_err(Fault::Reference)
    }

    /// The kernel image asks for this root, and measures what the reference values say.
    fn check_kernel_image(&self, values: &ReferenceValues) -> Result<(), Fault> {
        let kernel_image = self.part(Part::Uki)?;
        let pe = Pe::parse(kernel_image).map_err(|cause| Fault::Pe(Part::Uki, cause))?;
        let command_line = pe.section(".cmdline").unwrap_or_default();
        let asked = format!("roothash={}", hex::encode(&self.manifest.root_hash));
        let mut words = command_line.split(u8::is_ascii_whitespace);
        if !words.any(|word| word == asked.as_bytes()) {
            return Err(Fault::Disagrees("root hash on the kernel's command line"));
        }
        let measured = prediction::measured(self.part(Part::BootLoader)?, kernel_image)
            .map_err(Fault::Prediction)?;
        let agrees = measured
            .exact
            .iter()
            .all(|(pcr, digests)| values.exact.get(pcr) == Some(digests));
        if !agrees || measured.phases != values.phases {
            return Err(Fault::Disagrees("reference values"));
        }
        let signed = |part| {
            let pe = Pe::parse(self.part(part)?).map_err(|cause| Fault::Pe(part, cause))?;
            if pe.certificates().is_empty() {
                return Err(Fault::Disagrees(
                    "signature of a boot file, which is missing,",
                ));
            }
            Ok(())
        };
        signed(Part::Uki)?;
        signed(Part::BootLoader)
    }
}
