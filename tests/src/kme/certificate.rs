//! Who calls: the SAE in the client's certificate.

use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// The SAE that a certificate (DER) names: its only `dNSName`; `None` where there is not exactly
/// one.
pub fn sae_of(certificate: &[u8]) -> Option<String> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let (_, names) = certificate
        .tbs_certificate()
        .get_extension::<SubjectAltName>()
        .ok()??;
    let mut saes = names.0.iter().filter_map(|name| {
        let GeneralName::DnsName(sae) = name else {
            return None;
        };
        Some(sae.to_string())
    });
    let sae = saes.next()?;
    saes.next().is_none().then_some(sae)
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
