//! Who calls: the SAE in the client's certificate.

use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// `id-at-commonName`.
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// The SAE that a certificate (DER) names: its only `dNSName`, or its only common name where it has no alternative
/// names; `None` where there is not exactly one.
pub fn sae_of(certificate: &[u8]) -> Option<String> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let certificate = certificate.tbs_certificate();
    let names = certificate.get_extension::<SubjectAltName>().ok()?;
    let saes: Vec<String> = if let Some((_, names)) = names {
        let names = names.0.iter().filter_map(|name| {
            let GeneralName::DnsName(sae) = name else {
                return None;
            };
            Some(sae.to_string())
        });
        names.collect()
    } else {
        let attributes = certificate.subject().iter();
        let names = attributes.filter(|attribute| attribute.oid == COMMON_NAME);
        let names = names.map(|name| core::str::from_utf8(name.value.value()));
        let names = names.map(|name| Some(name.ok()?.to_owned()));
        names.collect::<Option<_>>()?
    };
    let [sae] = saes.as_slice() else {
        return None;
    };
    Some(sae.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(names: &[&str]) -> Vec<u8> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(names).unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn the_sae_is_the_common_name_where_there_is_no_other() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "sae-a");
        let certificate = params.self_signed(&key).unwrap();
        assert_eq!(sae_of(certificate.der()).as_deref(), Some("sae-a"));
    }

    #[test]
    fn the_sae_is_the_only_dns_name() {
        assert_eq!(
            sae_of(&certificate(&["sae-a", "127.0.0.1"])).as_deref(),
            Some("sae-a")
        );
        assert_eq!(sae_of(&certificate(&["sae-a", "sae-b"])), None);
        assert_eq!(sae_of(&certificate(&["127.0.0.1"])), None);
        assert_eq!(sae_of(b"no certificate"), None);
    }
}
