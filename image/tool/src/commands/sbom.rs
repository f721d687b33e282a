//! `image sbom`: what a built version is made of, as SPDX 3.0.1 in JSON-LD.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::arguments::Arguments;
use crate::fault::Fault;
use crate::files::{json, read, write};

/// The name of the bill of materials in a built version's folder.
pub(crate) const SBOM: &str = "sbom.json";

#[derive(Deserialize)]
struct Lock {
    package: Vec<Crate>,
}

#[derive(Deserialize)]
struct Crate {
    name: String,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
}

/// A line of `packages.json`.
#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    licence: String,
    reason: String,
}

/// Lists the crates of the lock file and the packages of the built version.
pub(crate) fn sbom(arguments: &Arguments) -> Result<String, Fault> {
    let [folder] = arguments.files()?;
    let lock = arguments.folder("--lock")?;
    let crates = crates(lock)?;
    let packages: Vec<Package> = json(&folder.join("packages.json"))?;
    let built: bartizan_image_builder::Built = json(&folder.join("build.json"))?;
    let space = arguments.required("--namespace")?;
    if !space.starts_with("https://") || space.contains(['#', ' ', '"']) {
        return Err(Fault::Value("--namespace"));
    }
    let mut graph = Graph::new(space);
    graph.add_image(&built.version);
    for one in &crates {
        graph.add_crate(one);
    }
    for one in &packages {
        graph.add_package(one);
    }
    let document = graph.finish(&built.version);
    let file = folder.join(SBOM);
    let mut text = serde_json::to_vec_pretty(&document).map_err(|cause| Fault::Json {
        file: file.display().to_string(),
        cause,
    })?;
    text.push(b'\n');
    write(&file, &[&text])?;
    Ok(format!(
        "{} crates, {} packages\n",
        crates.len(),
        packages.len()
    ))
}

fn crates(lock: &Path) -> Result<Vec<Crate>, Fault> {
    let text = read(lock)?;
    let lock: Lock =
        toml::from_str(&String::from_utf8_lossy(&text)).map_err(|cause| Fault::Toml {
            file: lock.display().to_string(),
            cause,
        })?;
    Ok(lock.package)
}

/// The elements so far.
struct Graph<'a> {
    space: &'a str,
    elements: Vec<Value>,
    contained: Vec<Value>,
}

impl<'a> Graph<'a> {
    fn new(space: &'a str) -> Self {
        let elements = vec![
            json!({
                "type": "CreationInfo",
                "@id": "_:creation",
                "specVersion": "3.0.1",
                // Two builds are the same: there is no other time in them either.
                "created": "1970-01-01T00:00:00Z",
                "createdBy": [format!("{space}/maker")],
            }),
            json!({
                "type": "Organization",
                "spdxId": format!("{space}/maker"),
                "creationInfo": "_:creation",
                "name": "Bartizan",
            }),
        ];
        Self {
            space,
            elements,
            contained: Vec::new(),
        }
    }

    fn element(&mut self, kind: &str, id: &str, more: Value) -> Value {
        let id = json!(format!("{}/{id}", self.space));
        let mut element = json!({
            "type": kind,
            "spdxId": id,
            "creationInfo": "_:creation",
        });
        if let (Some(element), Value::Object(more)) = (element.as_object_mut(), more) {
            element.extend(more);
        }
        self.elements.push(element);
        id
    }

    fn add_image(&mut self, version: &str) {
        self.element(
            "software_Package",
            "image",
            json!({
                "name": "bartizan-image",
                "software_packageVersion": version,
                "software_primaryPurpose": "operatingSystem",
            }),
        );
    }

    fn add_crate(&mut self, one: &Crate) {
        let mut more = json!({
            "name": one.name,
            "software_packageVersion": one.version,
            "software_primaryPurpose": "library",
        });
        if let Some(more) = more.as_object_mut() {
            if one.source.is_some() {
                let purl = format!("pkg:cargo/{}@{}", one.name, one.version);
                more.insert("software_packageUrl".to_owned(), json!(purl));
            }
            if let Some(checksum) = &one.checksum {
                let hash = json!([{"type": "Hash", "algorithm": "sha256", "hashValue": checksum}]);
                more.insert("verifiedUsing".to_owned(), hash);
            }
        }
        let id = format!("crate/{}/{}", one.name, one.version);
        let id = self.element("software_Package", &id, more);
        self.contained.push(id);
    }

    fn add_package(&mut self, one: &Package) {
        // A version may have characters that an URL may not.
        let version = one.version.replace(':', "%3A").replace('+', "%2B");
        let id = self.element(
            "software_Package",
            &format!("deb/{}", one.name),
            json!({
                "name": one.name,
                "software_packageVersion": one.version,
                "software_packageUrl": format!("pkg:deb/debian/{}@{version}", one.name),
                "summary": one.reason,
                "comment": format!("licences as its copyright file names them: {}", one.licence),
            }),
        );
        self.contained.push(id);
    }

    fn finish(mut self, version: &str) -> Value {
        let image = format!("{}/image", self.space);
        let contained = std::mem::take(&mut self.contained);
        self.element(
            "Relationship",
            "contains",
            json!({
                "from": image,
                "relationshipType": "contains",
                "completeness": "complete",
                "to": contained,
            }),
        );
        let sbom = self.element(
            "software_Sbom",
            "sbom",
            json!({
                "name": format!("bartizan-image {version}"),
                "software_sbomType": ["build"],
                "rootElement": [image],
            }),
        );
        self.element(
            "SpdxDocument",
            "document",
            json!({
                "name": format!("bartizan-image {version}"),
                "profileConformance": ["core", "software"],
                "rootElement": [sbom],
            }),
        );
        json!({
            "@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld",
            "@graph": self.elements,
        })
    }
}
