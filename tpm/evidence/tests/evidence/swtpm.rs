//! Another TPM and other tools: swtpm and tpm2-tools make what we check.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bartizan_evidence::hex;
use bartizan_evidence::pcr_key::{LDEVID_ATTRIBUTES, PcrSigningKey, check_ldevid, ldevid_policy};
use bartizan_evidence::quote::{AttestationKey, Quote, verify_certified};
use bartizan_evidence::replay::{Bank, Pcrs};
use bartizan_evidence::structures::{EndorsementTemplate, Public, endorsement_template};
use bartizan_evidence::verdict::Rule;
use bartizan_model::identity::{Certified, PcrSelection, Quoted};

use crate::machine::PEM;

const AK: &str =
    "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|adminwithpolicy|restricted|sign";

/// A TPM in a folder of its own; it ends with this value.
struct Swtpm {
    folder: PathBuf,
}

impl Swtpm {
    fn start(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _old = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let tpm = Self { folder };
        // It turns into a daemon when its sockets stand.
        tpm.run(
            "swtpm",
            "socket --tpm2 --tpmstate dir=. --server type=unixio,path=tpm \
             --ctrl type=unixio,path=tpm.ctrl --flags not-need-init,startup-clear --daemon \
             --pid file=pid",
        );
        tpm
    }

    /// Runs a program in the TPM's folder, so that no path is longer than a socket's may be.
    #[expect(
        clippy::disallowed_methods,
        reason = "the tools that this test compares with"
    )]
    fn run(&self, program: &str, arguments: &str) -> Vec<u8> {
        let output = Command::new(program)
            .args(arguments.split_whitespace())
            .current_dir(&self.folder)
            .env("TPM2TOOLS_TCTI", "swtpm:path=tpm")
            .env("TSS2_LOG", "all+NONE")
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{program} {arguments}: {complaint}"
        );
        output.stdout
    }

    fn read(&self, file: &str) -> Vec<u8> {
        std::fs::read(self.folder.join(file)).unwrap()
    }

    fn write(&self, file: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.folder.join(file), bytes).unwrap();
    }

    /// Makes a key under the endorsement hierarchy and returns its public area.
    fn primary(&self, context: &str, algorithm: &str, hash: &str) -> Vec<u8> {
        self.run(
            "tpm2_createprimary",
            &format!("-C e -G {algorithm} -g {hash} -a {AK} -c {context}"),
        );
        self.public(context)
    }

    fn public(&self, context: &str) -> Vec<u8> {
        self.run(
            "tpm2_readpublic",
            &format!("-c {context} -f tpmt -o {context}.tpmt -n {context}.name"),
        );
        // Without a resource manager every slot is ours to free.
        self.run("tpm2_flushcontext", "-t");
        self.read(&format!("{context}.tpmt"))
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        let pid = String::from_utf8(self.read("pid")).unwrap();
        self.run("kill", pid.trim());
    }
}

#[test]
fn quotes_of_another_tpm_verify_on_both_curves() {
    let tpm = Swtpm::start("quotes");
    let mut expected = Pcrs::started(Bank::Sha256, 0);
    for (pcr, digest) in [
        (11, "11".repeat(32)),
        (11, "22".repeat(32)),
        (14, "33".repeat(32)),
    ] {
        expected.extend(pcr, &hex::decode(&digest).unwrap());
        tpm.run("tpm2_pcrextend", &format!("{pcr}:sha256={digest}"));
    }
    for (context, algorithm, hash) in [
        ("p256", "ecc256:ecdsa-sha256:null", "sha256"),
        ("p384", "ecc384:ecdsa-sha384:null", "sha384"),
    ] {
        let public = tpm.primary(context, algorithm, hash);
        let ak = AttestationKey::parse(&public).unwrap();
        assert_eq!(ak.public().encode(), public);
        assert_eq!(ak.public().name().0, tpm.read(&format!("{context}.name")));
        let nonce = "5c".repeat(32);
        tpm.run(
            "tpm2_quote",
            &format!(
                "-c {context} -l sha256:0,7,11,14 -q {nonce} -g {hash} -m attest -s signature \
                 -o values -F values"
            ),
        );
        let values = tpm.read("values");
        let (values, _) = values.as_chunks::<32>();
        let quoted = Quoted {
            attest: tpm.read("attest"),
            signature: tpm.read("signature"),
            pcrs: [0, 7, 11, 14]
                .into_iter()
                .zip(values.iter().copied())
                .collect(),
        };
        let selection = PcrSelection(0b100_1000_1000_0001);
        let quote = Quote::verify(&quoted, &ak, &[0x5c; 32], selection).unwrap();
        for (pcr, value) in quote.pcrs() {
            assert_eq!(value[..], expected.value(*pcr), "PCR {pcr}");
        }
        let rule = |nonce: &[u8], selection| {
            Quote::verify(&quoted, &ak, nonce, PcrSelection(selection))
                .unwrap_err()
                .rule
        };
        assert_eq!(rule(&[0x5d; 32], selection.0), Rule::V7);
        assert_eq!(rule(&[0x5c; 32], selection.0 | 2), Rule::V2);
        tpm.run("tpm2_flushcontext", "-t");
    }
}

#[test]
fn an_unrestricted_key_of_another_tpm_attests_nothing() {
    let tpm = Swtpm::start("unrestricted");
    tpm.run(
        "tpm2_createprimary",
        "-C e -G ecc256:ecdsa-sha256 -c key -a fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign",
    );
    let failure = AttestationKey::parse(&tpm.public("key")).unwrap_err();
    assert_eq!(failure.rule, Rule::V4);
}

#[test]
fn endorsement_keys_of_another_tool_are_of_the_default_templates() {
    let tpm = Swtpm::start("endorsement");
    for (algorithm, template) in [
        ("rsa", EndorsementTemplate::L1),
        ("ecc", EndorsementTemplate::L2),
        ("ecc384", EndorsementTemplate::H3),
    ] {
        tpm.run("tpm2_createek", &format!("-G {algorithm} -c ek -u ek.pub"));
        let bytes = tpm.public("ek");
        let public = Public::parse(&bytes).unwrap();
        assert_eq!(public.encode(), bytes);
        assert_eq!(public.name().0, tpm.read("ek.name"));
        assert_eq!(endorsement_template(&public), Some(template));
        tpm.run("tpm2_readpublic", "-c ek -f der -o ek.der");
        assert_eq!(public.spki(), tpm.read("ek.der"), "{algorithm}");
        tpm.run("tpm2_flushcontext", "-t");
    }
}

/// The whole life of an LDevID key's policy: computed here, made there, certified there.
#[test]
fn an_ldevid_of_another_tool_has_the_policy_that_is_computed_here() {
    let tpm = Swtpm::start("ldevid");
    tpm.write("pcr.pem", PEM);
    let signing_key = PcrSigningKey::from_pem(PEM.as_bytes()).unwrap();
    // As systemd loads it: the exponent is written out, which tpm2-tools leave at its default.
    let mut loaded = u16::try_from(signing_key.public().encode().len())
        .unwrap()
        .to_be_bytes()
        .to_vec();
    loaded.extend(signing_key.public().encode());
    tpm.write("pcr.tpm2b", loaded);
    tpm.run("tpm2_loadexternal", "-C o -u pcr.tpm2b -c pcr -n pcr.name");
    tpm.run("tpm2_flushcontext", "-t");
    assert_eq!(signing_key.name().0, tpm.read("pcr.name"));

    tpm.run("tpm2_pcrextend", &format!("7:sha256={}", "77".repeat(32)));
    let mut extended = Pcrs::started(Bank::Sha256, 0);
    extended.extend(7, &[0x77; 32]);
    let pcr7 = extended.value(7).try_into().unwrap();
    tpm.run("tpm2_startauthsession", "-S session");
    tpm.write("empty", "");
    tpm.run(
        "tpm2_policyauthorize",
        "-S session -L policy -n pcr.name -i empty",
    );
    tpm.run("tpm2_policypcr", "-S session -l sha256:7 -L policy");
    tpm.run("tpm2_flushcontext", "session");
    assert_eq!(
        tpm.read("policy"),
        ldevid_policy(&signing_key.name(), &pcr7)
    );

    let ak =
        AttestationKey::parse(&tpm.primary("ak", "ecc256:ecdsa-sha256:null", "sha256")).unwrap();
    tpm.run("tpm2_createprimary", "-C o -G ecc256 -c root");
    tpm.run("tpm2_flushcontext", "-t");
    tpm.run(
        "tpm2_create",
        "-C root -G ecc256:ecdsa-sha256 -g sha256 -L policy -u key.pub -r key.priv -c ldevid \
         -a fixedtpm|fixedparent|sensitivedataorigin|noda|sign",
    );
    tpm.run("tpm2_flushcontext", "-t");
    let public = tpm.public("ldevid");
    let parsed = Public::parse(&public).unwrap();
    assert_eq!(parsed.attributes, LDEVID_ATTRIBUTES);
    check_ldevid(&parsed, &signing_key.name(), &pcr7).unwrap();

    tpm.run(
        "tpm2_certify",
        "-c ldevid -C ak -g sha256 -o attest -s signature",
    );
    let certified = Certified {
        public,
        attest: tpm.read("attest"),
        signature: tpm.read("signature"),
    };
    // What tpm2_certify always sends.
    let qualifying = [0x00, 0xff, 0x55, 0xaa];
    let key = verify_certified(&certified, &ak, &qualifying).unwrap();
    assert_eq!(key, parsed);
}
