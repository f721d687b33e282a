"""Steers a gateway with the netconf-client package: waits for its call, then goes through a session.

netconf_client_session.py FOLDER

FOLDER has certificate.pem and key.pem of the controller and owner-ca.pem. The port that is listened
on is the first line of the output. The test at the other end plays the engine, step by step.
"""

import base64
import hashlib
import os
import select
import socket
import sys
import threading

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from lxml import etree
from netconf_client.connect import CallhomeManager
from netconf_client.error import RpcError
from netconf_client.ncclient import Manager
from netconf_client.session import Session
from OpenSSL import SSL

IKELESS = "urn:ietf:params:xml:ns:yang:ietf-i2nsf-ikeless"
BARTIZAN = "urn:bartizan:yang:bartizan-ikeless"
ATTESTATION = "urn:ietf:params:xml:ns:yang:ietf-tpm-remote-attestation"
NAMES = {
    "nc": "urn:ietf:params:xml:ns:netconf:base:1.0",
    "n": "urn:ietf:params:xml:ns:netconf:notification:1.0",
    "i": IKELESS,
    "b": BARTIZAN,
    "a": ATTESTATION,
}
LIMIT = 30
ENTRY = "out/10.1.0.0/in/10.2.0.0"

POLICY = f"""
<config>
  <!-- a controller may say what it does -->
  <ipsec-ikeless xmlns="{IKELESS}">
    <spd>
      <!-- here too -->
      <spd-entry>
        <name>{ENTRY}</name>
        <direction>outbound</direction>
        <reqid>1</reqid>
        <ipsec-policy-config>
          <anti-replay-window-size>64</anti-replay-window-size>
          <traffic-selector>
            <local-prefix>10.1.0.0/24</local-prefix>
            <remote-prefix>10.2.0.0/24</remote-prefix>
            <inner-protocol>any</inner-protocol>
            <local-ports><start>0</start><end>0</end></local-ports>
            <remote-ports><start>0</start><end>0</end></remote-ports>
          </traffic-selector>
          <processing-info>
            <action>protect</action>
            <ipsec-sa-cfg>
              <pfp-flag>false</pfp-flag>
              <ext-seq-num>true</ext-seq-num>
              <seq-overflow>false</seq-overflow>
              <stateful-frag-check>false</stateful-frag-check>
              <mode>tunnel</mode>
              <protocol-parameters>esp</protocol-parameters>
              <esp-algorithms>
                <integrity>0</integrity>
                <encryption>
                  <id>5</id>
                  <algorithm-type>20</algorithm-type>
                  <key-length>256</key-length>
                </encryption>
                <tfc-pad>false</tfc-pad>
              </esp-algorithms>
              <tunnel>
                <local>192.0.2.1</local>
                <remote>192.0.2.2</remote>
                <df-bit>clear</df-bit>
                <bypass-dscp>true</bypass-dscp>
              </tunnel>
            </ipsec-sa-cfg>
          </processing-info>
        </ipsec-policy-config>
        <hybrid-keying xmlns="{BARTIZAN}">
          <tunnel-id>1</tunnel-id>
          <peer-node>gw-b.example</peer-node>
          <peer-address>192.0.2.2</peer-address>
          <kem><need>required</need><parameter-set>ml-kem-768</parameter-set></kem>
          <soft-lifetime><time>3000</time></soft-lifetime>
          <hard-lifetime><time>3600</time></hard-lifetime>
        </hybrid-keying>
      </spd-entry>
    </spd>
  </ipsec-ikeless>
</config>
"""

DELETE = f"""
<config>
  <ipsec-ikeless xmlns="{IKELESS}">
    <spd>
      <spd-entry nc:operation="delete"><name>{ENTRY}</name><reqid>1</reqid></spd-entry>
    </spd>
  </ipsec-ikeless>
</config>
"""


def challenge(nonce):
    """As RFC 9684 has it, and nothing of ours."""
    return f"""
<tpm20-challenge-response-attestation xmlns="{ATTESTATION}">
  <tpm20-attestation-challenge>
    <nonce-value>{base64.b64encode(nonce).decode()}</nonce-value>
    <tpm20-pcr-selection>
      <tpm20-hash-algo xmlns:taa="urn:ietf:params:xml:ns:yang:ietf-tcg-algs">taa:TPM_ALG_SHA256</tpm20-hash-algo>
      <pcr-index>7</pcr-index>
      <pcr-index>11</pcr-index>
    </tpm20-pcr-selection>
  </tpm20-attestation-challenge>
</tpm20-challenge-response-attestation>
"""


def attest(gateway, key):
    """Asks for a quote, and checks it by the specification of its structures (TPM 2.0 Library, Part 2, 10.12 and 11.3)."""

    def take(data):
        end = 2 + int.from_bytes(data[:2], "big")
        return data[2:end], data[end:]

    nonce = os.urandom(20)
    reply = etree.fromstring(gateway.dispatch(challenge(nonce)).xml)

    def found(path):
        return [base64.b64decode(text) for text in reply.xpath(f".//a:{path}/text()", namespaces=NAMES)]

    attested, rest = take(found("quote-data")[0])
    assert not rest and attested[:6] == b"\xffTCG\x80\x18", attested
    _signer, rest = take(attested[6:])
    qualifying, rest = take(rest)
    assert qualifying == nonce, "the nonce alone is the qualifying data"
    assert rest[25:35] == bytes([0, 0, 0, 1, 0, 0x0B, 3, 0x80, 0x08, 0]), rest
    digest, rest = take(rest[35:])
    values = found("pcr-values/a:pcr-value")
    assert len(values) == 2 and digest == hashlib.sha256(b"".join(values)).digest() and not rest
    signature = found("quote-signature")[0]
    assert signature[:4] == bytes([0, 0x18, 0, 0x0B]), signature
    r, rest = take(signature[4:])
    s, _ = take(rest)
    signature = encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
    key.verify(signature, attested, ec.ECDSA(hashes.SHA256()))


class Tls:
    """A TLS connection for two threads, one of which reads; OpenSSL's own object is for one."""

    def __init__(self, sock, folder):
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(SSL.TLS1_3_VERSION)
        context.use_certificate_chain_file(f"{folder}/certificate.pem")
        context.use_privatekey_file(f"{folder}/key.pem")
        context.load_verify_locations(f"{folder}/owner-ca.pem")
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
        sock.setblocking(True)
        self.sock = sock
        self.lock = threading.Lock()
        self.connection = SSL.Connection(context, sock)
        self.connection.set_connect_state()
        self.connection.do_handshake()
        sock.setblocking(False)

    def recv(self, count):
        while True:
            with self.lock:
                try:
                    return self.connection.recv(count)
                except SSL.WantReadError:
                    pass
                except SSL.ZeroReturnError:
                    return b""
            select.select([self.sock], [], [])

    def sendall(self, data):
        while data:
            with self.lock:
                try:
                    data = data[self.connection.send(data) :]
                    continue
                except SSL.WantWriteError:
                    pass
            select.select([], [self.sock], [])

    def close(self):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


def refused(request, tag, app_tag=None):
    try:
        request()
    except RpcError as error:
        assert error.tag == tag, (error.tag, tag)
        found = error.reply_ele.findtext(".//nc:error-app-tag", namespaces=NAMES)
        assert found == app_tag, (found, app_tag)
    else:
        raise AssertionError(f"not refused: {tag}")


def main(folder):
    with CallhomeManager(bind_to="127.0.0.1", port=0) as home:
        print(home.server_socket.getsockname()[1], flush=True)
        tls = Tls(home.accept_one(timeout=LIMIT), folder)
    assert tls.connection.get_group_name() == "X25519MLKEM768", tls.connection.get_group_name()
    session = Session(tls)
    assert session.mode == "1.1"
    for capability in ["writable-running", "rollback-on-error", "notification"]:
        assert any(capability in known for known in session.server_capabilities), capability

    with Manager(session, timeout=LIMIT) as gateway:
        state = gateway.get(filter=f'<filter type="subtree"><gateway xmlns="{BARTIZAN}"/></filter>')
        nonce = state.data_ele.findtext(".//b:lease-nonce", namespaces=NAMES)
        assert len(base64.b64decode(nonce)) == 32, nonce

        # The test's TPM has one key for all.
        attest(gateway, tls.connection.get_peer_certificate().to_cryptography().public_key())
        refused(lambda: gateway.dispatch(challenge(bytes(15))), "invalid-value", "nonce-length")

        refused(lambda: gateway.edit_config(POLICY), "access-denied", "not-attested")
        lease = base64.b64encode(b"a lease").decode()
        gateway.edit_config(f'<config><gateway xmlns="{BARTIZAN}"><lease>{lease}</lease></gateway></config>')
        gateway.create_subscription()
        gateway.edit_config(
            POLICY,
            default_operation="merge",
            test_option="test-then-set",
            error_option="rollback-on-error",
        )

        shown = gateway.get_config(
            filter=f'<filter><ipsec-ikeless xmlns="{IKELESS}"/></filter>'
        ).data_ele
        names = shown.xpath(".//i:spd-entry/i:name/text()", namespaces=NAMES)
        assert names == [ENTRY], names
        assert shown.findtext(".//i:encryption/i:id", namespaces=NAMES) == "5"
        assert shown.findtext(".//b:peer-node", namespaces=NAMES) == "gw-b.example"

        notification = gateway.take_notification(timeout=LIMIT).notification_ele
        name = notification.findtext(".//i:sadb-expire/i:ipsec-sa-name", namespaces=NAMES)
        assert name == f"{ENTRY}_4096", etree.tostring(notification)

        refused(lambda: gateway.lock("running"), "operation-not-supported")
        refused(lambda: gateway.get_config(source="candidate"), "operation-not-supported")
        gateway.edit_config(DELETE)
        refused(lambda: gateway.edit_config(DELETE), "data-missing")
        gateway.close_session()
    print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
