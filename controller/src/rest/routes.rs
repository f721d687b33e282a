//! What there is to ask for: the whole of it is one table.

use crate::device::Serial;

/// What a request does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Act {
    Document,
    Status,
    Metrics,
    Audit,
    List,
    Add,
    Show,
    Site,
    Approve,
    Revoke,
    Release,
    Retire,
    Attest,
    Voucher,
    Transfer,
}

/// A request that can be made.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) act: Act,
}

/// Where a request leads.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Found {
    /// To this, about the device if it is about one.
    Act(Act, Option<Serial>),
    /// To a resource that has other methods.
    OtherMethod,
    /// Nowhere.
    Nothing,
}

#[rustfmt::skip]
pub(super) static ROUTES: [Route; 15] = [
    Route { method: "GET", path: "/v1/openapi.json", act: Act::Document },
    Route { method: "GET", path: "/v1/status", act: Act::Status },
    Route { method: "GET", path: "/metrics", act: Act::Metrics },
    Route { method: "GET", path: "/v1/audit", act: Act::Audit },
    Route { method: "GET", path: "/v1/devices", act: Act::List },
    Route { method: "POST", path: "/v1/devices", act: Act::Add },
    Route { method: "GET", path: "/v1/devices/{serial}", act: Act::Show },
    Route { method: "PUT", path: "/v1/devices/{serial}/site", act: Act::Site },
    Route { method: "POST", path: "/v1/devices/{serial}/approve", act: Act::Approve },
    Route { method: "POST", path: "/v1/devices/{serial}/revoke", act: Act::Revoke },
    Route { method: "POST", path: "/v1/devices/{serial}/release", act: Act::Release },
    Route { method: "POST", path: "/v1/devices/{serial}/retire", act: Act::Retire },
    Route { method: "POST", path: "/v1/devices/{serial}/attest", act: Act::Attest },
    Route { method: "POST", path: "/v1/vouchers", act: Act::Voucher },
    Route { method: "POST", path: "/v1/transfers", act: Act::Transfer },
];

/// Finds what a request is for.
pub(super) fn find(method: &str, path: &str) -> Found {
    let mut found = Found::Nothing;
    for route in &ROUTES {
        let Ok(serial) = fits(route.path, path) else {
            continue;
        };
        if route.method == method {
            return Found::Act(route.act, serial);
        }
        found = Found::OtherMethod;
    }
    found
}

/// A path that is of another template.
struct Elsewhere;

/// The serial number in a path of this template, if it has one.
fn fits(template: &str, path: &str) -> Result<Option<Serial>, Elsewhere> {
    let mut serial = None;
    let mut words = path.split('/');
    for wanted in template.split('/') {
        let word = words.next().ok_or(Elsewhere)?;
        if wanted == "{serial}" {
            let word = decoded(word).ok_or(Elsewhere)?;
            serial = Some(Serial::try_from(word).map_err(|_| Elsewhere)?);
        } else if word != wanted {
            return Err(Elsewhere);
        }
    }
    match words.next() {
        Some(_) => Err(Elsewhere),
        None => Ok(serial),
    }
}

/// Undoes percent-encoding (RFC 3986, 2.1).
pub(super) fn decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut plain = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
            plain.push(u8::try_from(high.checked_mul(16)?.checked_add(low)?).ok()?);
        } else {
            plain.push(byte);
        }
    }
    String::from_utf8(plain).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_document_describes_every_route_and_no_other() {
        let document: serde_json::Value =
            serde_json::from_str(include_str!("openapi.json")).unwrap();
        let mut described = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys() {
                if method != "parameters" {
                    described.insert((method.to_uppercase(), path.clone()));
                }
            }
        }
        let served = ROUTES.iter();
        let served = served.map(|route| (route.method.to_owned(), route.path.to_owned()));
        assert_eq!(described, served.collect());
        assert_eq!(document["openapi"], "3.1.0");
    }

    #[test]
    fn a_path_leads_to_one_route_or_nowhere() {
        let serial = |text| Some(Serial::try_from(text).unwrap());
        for (method, path, found) in [
            ("GET", "/v1/devices", Found::Act(Act::List, None)),
            (
                "GET",
                "/v1/devices/BZ-1",
                Found::Act(Act::Show, serial("BZ-1")),
            ),
            (
                "GET",
                "/v1/devices/a%2Fb%20c",
                Found::Act(Act::Show, serial("a/b c")),
            ),
            (
                "POST",
                "/v1/devices/x/revoke",
                Found::Act(Act::Revoke, serial("x")),
            ),
            ("DELETE", "/v1/devices/x", Found::OtherMethod),
            ("GET", "/v1/devices/x/revoke", Found::OtherMethod),
            ("GET", "/v1/devices/", Found::Nothing),
            ("GET", "/v1/devices/%00", Found::Nothing),
            ("GET", "/v1/devices/%G0", Found::Nothing),
            ("GET", "/v1/devices/%2", Found::Nothing),
            ("GET", "/v1/devices/x/y/z", Found::Nothing),
            ("GET", "/v1/devices/../status", Found::Nothing),
            ("GET", "//v1/status", Found::Nothing),
            ("GET", "/", Found::Nothing),
            ("GET", "", Found::Nothing),
        ] {
            assert_eq!(find(method, path), found, "{method} {path}");
        }
    }
}
