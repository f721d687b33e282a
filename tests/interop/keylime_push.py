"""Has the Keylime verifier attest a TPM through its push protocol: starts it, and speaks as the agent.

keylime_push.py FOLDER ROUNDS PCRS

FOLDER has ak.bin, the TPM2B_PUBLIC of the attestation key; PCRS are those that must be as they are
told at first, separated by commas. The TPM is at the other end of the standard streams: a line
"certify NONCE" is answered by "ATTEST SIGNATURE" (TPM2_Certify of the attestation key by itself), a line
"quote NONCE PCRS" by "ATTEST SIGNATURE PCR=VALUE,..." (the SHA-256 bank); all of it in hexadecimal.
The last lines are what was measured, and "done". An attestation that does not pass ends it with a failure.
"""

import base64
import datetime
import http.client
import ipaddress
import json
import os
import pathlib
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AGENT = "d432fbb3-d2f1-4a97-9ef7-75bd81c00000"
LIMIT = 60
SHA256 = 0x000B

# The verifier looks for a scheme whose name begins as the one of the key's algorithm does, which it does for RSA alone
# (verification/tpm_engine.py, _validate_tpm_quote_items); the second is no scheme and never chosen.
SCHEMES = ["ecdsa", "ecc"]

# Two things stand between 7.14.3 and a gateway. It imports gpg for OpenPGP keys of IMA signatures, which nothing here has
# and no wheel brings. And AuthSession.create_in_memory (models/verifier/auth_session.py) sets RSASSA for every session,
# to be negotiated later, which nothing does: so an agent whose attestation key is ECC gets no token, whatever the
# verifier is told to accept of it. The older way to a token, POST /v3.0/agents/ID/session, ends in an exception always
# (web/base/controller.py, respond). What the verifier then thinks of a quote is its own.
VERIFIER = """
import sys, types
sys.modules["gpg"] = types.ModuleType("gpg")
from keylime.cmd import verifier
from keylime.models.verifier import AuthSession
create = AuthSession.create_in_memory
AuthSession.create_in_memory = lambda *asked: {**create(*asked), "signing_scheme": "ecdsa"}
verifier.main()
"""

CONFIG = """
[verifier]
version = 2.5
mode = push
uuid = default
ip = 127.0.0.1
port = {port}
registrar_ip = 127.0.0.1
registrar_port = 1
enable_agent_mtls = False
tls_dir = {folder}
server_key = server-key.pem
server_key_password =
server_cert = server.pem
trusted_client_ca = ["ca.pem"]
client_key = admin-key.pem
client_key_password =
client_cert = admin.pem
trusted_server_ca = ["ca.pem"]
database_url = sqlite
database_pool_sz_ovfl = 5,10
auto_migrate_db = True
num_workers = 1
max_workers = 1
exponential_backoff = True
retry_interval = 2
max_retries = 5
quote_interval = 0
verification_timeout = 30
max_upload_size = 104857600
request_timeout = 60
measured_boot_policy_name = accept-all
measured_boot_imports = []
measured_boot_evaluate = once
severity_labels = ["info", "notice", "warning", "error", "critical", "alert", "emergency"]
severity_policy = [{{"event_id": ".*", "severity_label": "emergency"}}]
ignore_tomtou_errors = False
durable_attestation_import =
challenge_lifetime = 1800
session_create_rate_limit_per_ip = 1000

[revocations]
enabled_revocation_notifications = []
zmq_ip = 127.0.0.1
zmq_port = 1
webhook_url =
"""

LOGGING = """
[logging]
version = 2.5

[loggers]
keys = root

[handlers]
keys = stderr

[formatters]
keys = plain

[formatter_plain]
format = %(asctime)s %(name)s %(levelname)s %(message)s

[logger_root]
level = INFO
handlers = stderr

[handler_stderr]
class = StreamHandler
level = INFO
formatter = plain
args = (sys.stderr,)
"""


def certify(folder):
    """A CA, the verifier's certificate and its administrator's."""
    now = datetime.datetime.now(datetime.timezone.utc)
    day = datetime.timedelta(days=1)

    def make(name, issuer, usage):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer_name, issuer_key = issuer or (subject, key)
        builder = x509.CertificateBuilder(issuer_name, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - day).not_valid_after(now + day)
        builder = builder.add_extension(x509.BasicConstraints(issuer is None, None), critical=True)
        if usage:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
            builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
        certificate = builder.sign(issuer_key, hashes.SHA256())
        (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        plain = serialization.NoEncryption()
        pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        (folder / f"{name}-key.pem").write_bytes(key.private_bytes(pem, pkcs8, plain))
        return subject, key

    ca = make("ca", None, None)
    make("server", ca, ExtendedKeyUsageOID.SERVER_AUTH)
    make("admin", ca, ExtendedKeyUsageOID.CLIENT_AUTH)


class Verifier:
    """The verifier's process; it ends with the block."""

    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder = folder
        certify(folder)
        (folder / "verifier.conf").write_text(CONFIG.format(port=self.port, folder=folder))
        (folder / "logging.conf").write_text(LOGGING)
        (folder / "ca.conf").write_text("[ca]\nversion = 2.5\n")
        environment = dict(os.environ)
        environment["KEYLIME_DIR"] = str(folder)
        for part in ["verifier", "logging", "ca"]:
            environment[f"KEYLIME_{part.upper()}_CONFIG"] = str(folder / f"{part}.conf")
        self.process = subprocess.Popen(
            [sys.executable, "-c", VERIFIER], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            cwd=folder, start_new_session=True, text=True,
        )
        self.lines = []
        self.listens = threading.Event()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.append(line)
            if "Listening on" in line:
                self.listens.set()

    def __enter__(self):
        assert self.listens.wait(LIMIT), self.log()
        return self

    def __exit__(self, *_):
        # Its workers are of its group.
        os.killpg(self.process.pid, 9)
        self.process.wait()

    def log(self):
        return "".join(self.lines)

    def connect(self, certificate=None):
        context = ssl.create_default_context(cafile=self.folder / "ca.pem")
        if certificate:
            context.load_cert_chain(self.folder / f"{certificate}.pem", self.folder / f"{certificate}-key.pem")
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=LIMIT)
        connection.connect()
        return connection

    def resident(self):
        """KiB of all its processes."""
        total = 0
        for folder in pathlib.Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                group = os.getpgid(int(folder.name))
                status = (folder / "status").read_text()
            except OSError:
                continue
            if group == self.process.pid:
                total += int(status.split("VmRSS:")[1].split()[0])
        return total


def ask(connection, method, path, body, token=None, media="application/vnd.api+json"):
    headers = {"Accept": media}
    if body is not None:
        headers["Content-Type"] = media
    if token:
        headers["Authorization"] = f"Bearer {token}"
    connection.request(method, path, json.dumps(body) if body is not None else None, headers)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read() or b"null")


class Tpm:
    """The one at the other end of the standard streams."""

    @staticmethod
    def _ask(question):
        print(question, flush=True)
        return sys.stdin.readline().split()

    def certify(self, nonce):
        attest, signature = self._ask(f"certify {nonce.hex()}")
        return bytes.fromhex(attest), bytes.fromhex(signature)

    def quote(self, nonce, pcrs):
        attest, signature, values = self._ask(f"quote {nonce.hex()} {','.join(map(str, sorted(pcrs)))}")
        values = dict(value.split("=") for value in values.split(","))
        values = {int(pcr): bytes.fromhex(value) for pcr, value in values.items()}
        return bytes.fromhex(attest), bytes.fromhex(signature), values


def as_the_tools_write_them(values):
    """PCR values as tpm2_quote writes them to a file: structures of a little-endian machine."""
    mask = sum(1 << pcr for pcr in values)
    selection = struct.pack("<HB3s2x", SHA256, 3, mask.to_bytes(3, "little"))
    blob = struct.pack("<I", 1) + selection + bytes(8) * 15
    digests = [values[pcr] for pcr in sorted(values)]
    lists = [digests[at : at + 8] for at in range(0, len(digests), 8)]
    blob += struct.pack("<I", len(lists))
    for some in lists:
        blob += struct.pack("<I", len(some))
        for digest in some + [b""] * (8 - len(some)):
            blob += struct.pack("<H64s", len(digest), digest)
    return blob


def base(data):
    return base64.b64encode(data).decode()


def enrol(verifier, ak, policy):
    body = {
        "cloudagent_ip": None, "cloudagent_port": None, "tpm_policy": json.dumps(policy), "metadata": "{}",
        "ima_sign_verification_keys": "[]", "revocation_key": "", "runtime_policy": "", "runtime_policy_name": "",
        "runtime_policy_key": "", "mb_policy": None, "mb_policy_name": None, "mtls_cert": None,
        "accept_tpm_hash_algs": ["sha256"], "accept_tpm_encryption_algs": ["ecc"],
        "accept_tpm_signing_algs": SCHEMES, "ak_tpm": base(ak), "supported_version": "3.0",
    }
    answer = ask(verifier.connect("admin"), "POST", f"/v2.5/agents/{AGENT}", body, media="application/json")
    assert answer[0] == 200, answer


def begin_session(connection, tpm):
    """The agent proves that it holds the attestation key; returns the token for what follows."""
    supported = [{"authentication_class": "pop", "authentication_type": "tpm_pop"}]
    attributes = {"agent_id": AGENT, "authentication_supported": supported}
    body = {"data": {"type": "session", "attributes": attributes}}
    status, begun = ask(connection, "POST", "/v3.0/sessions", body)
    assert status == 200, begun
    asked = begun["data"]["attributes"]["authentication_requested"][0]
    attest, signature = tpm.certify(base64.b64decode(asked["chosen_parameters"]["challenge"]))
    provided = {
        "authentication_class": "pop", "authentication_type": "tpm_pop",
        "data": {"message": base(attest), "signature": base(signature)},
    }
    attributes = {"agent_id": AGENT, "authentication_provided": [provided]}
    session = begun["data"]["id"]
    body = {"data": {"type": "session", "id": session, "attributes": attributes}}
    status, proved = ask(connection, "PATCH", f"/v3.0/sessions/{session}", body)
    assert status == 200 and proved["data"]["attributes"]["evaluation"] == "pass", proved
    return proved["data"]["attributes"]["token"]


def attest(connection, admin, tpm, ak, token):
    """One attestation: what is supported, what is asked for, the evidence, the verdict."""
    key = {
        "key_class": "asymmetric", "key_algorithm": "ecc", "key_size": 256, "server_identifier": "ak",
        "allowable_signature_schemes": ["ecdsa"], "allowable_hash_algorithms": ["sha256"], "public": base(ak),
    }
    capabilities = {
        "component_version": "2.0", "signature_schemes": SCHEMES, "hash_algorithms": ["sha256"],
        "available_subjects": {"sha256": list(range(24))}, "certification_keys": [key],
    }
    item = {"evidence_class": "certification", "evidence_type": "tpm_quote", "capabilities": capabilities}
    boot = "2026-01-01T00:00:00Z"
    attributes = {"evidence_supported": [item], "system_info": {"boot_time": boot}}
    path = f"/v3.0/agents/{AGENT}/attestations"
    body = {"data": {"type": "attestation", "attributes": attributes}}
    status, asked = ask(connection, "POST", path, body, token)
    assert status in (200, 201), asked
    parameters = asked["data"]["attributes"]["evidence_requested"][0]["chosen_parameters"]
    nonce = base64.b64decode(parameters["challenge"])
    message, signature, values = tpm.quote(nonce, parameters["selected_subjects"]["sha256"])
    data = {
        "message": base(message), "signature": base(signature),
        "subject_data": base(as_the_tools_write_them(values)),
    }
    item = {"evidence_class": "certification", "evidence_type": "tpm_quote", "data": data}
    body = {"data": {"type": "attestation", "attributes": {"evidence_collected": [item]}}}
    status, taken = ask(connection, "PATCH", f"{path}/latest", body, token)
    assert status in (200, 202), taken
    # The verdict comes after the answer.
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        status, shown = ask(admin, "GET", f"{path}/latest", None)
        assert status in (200, 201), shown
        evaluation = shown["data"]["attributes"]["evaluation"]
        if evaluation != "pending":
            return evaluation
    raise AssertionError("no verdict")


def main(folder, rounds, pcrs):
    folder = pathlib.Path(folder).resolve()
    ak = (folder / "ak.bin").read_bytes()
    tpm = Tpm()
    _, _, values = tpm.quote(bytes(16), pcrs)
    policy = {str(pcr): [value.hex()] for pcr, value in values.items()}
    policy["mask"] = hex(sum(1 << pcr for pcr in pcrs))
    with Verifier(folder) as verifier:
        try:
            enrol(verifier, ak, policy)
            connection, admin = verifier.connect(), verifier.connect("admin")
            token = begin_session(connection, tpm)
            took = []
            for _ in range(rounds):
                begun = time.monotonic()
                evaluation = attest(connection, admin, tpm, ak, token)
                took.append(time.monotonic() - begun)
                assert evaluation == "pass", evaluation
            print("tamper", flush=True)
            sys.stdin.readline()
            evaluation = attest(connection, admin, tpm, ak, token)
            assert evaluation == "fail", evaluation
        except BaseException:
            sys.stderr.write(verifier.log())
            raise
        took.sort()
        print(f"each-microseconds {' '.join(str(int(one * 1e6)) for one in took)}")
        print(f"resident-kib {verifier.resident()}")
    print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), [int(pcr) for pcr in sys.argv[3].split(",")])
