//! Documents as a controller writes them.

/// An outbound entry in tunnel mode with every container.
pub(crate) const OUTBOUND: &str = r#"<spd-entry>
  <name>out/10.1.0.0/in/10.2.0.0</name>
  <direction>outbound</direction>
  <reqid>1</reqid>
  <!-- a comment may stand here -->
  <ipsec-policy-config>
    <anti-replay-window-size>1024</anti-replay-window-size>
    <traffic-selector>
      <local-prefix>10.1.0.0/24</local-prefix>
      <remote-prefix>10.2.0.0/24</remote-prefix>
      <inner-protocol>6</inner-protocol>
      <local-ports><start>80</start><end>80</end></local-ports>
    </traffic-selector>
    <processing-info>
      <action>protect</action>
      <ipsec-sa-cfg>
        <pfp-flag>false</pfp-flag>
        <ext-seq-num>true</ext-seq-num>
        <mode>tunnel</mode>
        <esp-algorithms>
          <encryption><id>3</id><algorithm-type>20</algorithm-type><key-length>256</key-length></encryption>
          <tfc-pad>false</tfc-pad>
        </esp-algorithms>
        <tunnel><local>192.0.2.1</local><remote>192.0.2.2</remote><df-bit>clear</df-bit></tunnel>
      </ipsec-sa-cfg>
    </processing-info>
  </ipsec-policy-config>
  <hybrid-keying xmlns="urn:bartizan:yang:bartizan-ikeless">
    <tunnel-id>1</tunnel-id>
    <peer-node>gw-b.example</peer-node>
    <peer-address>192.0.2.2</peer-address>
    <peer-port>9061</peer-port>
    <dial>lower</dial>
    <qkd><need>required</need><peer-sae-id>sae-b</peer-sae-id></qkd>
    <kem><need>required</need><parameter-set>ml-kem-768</parameter-set></kem>
    <combiner>hmac</combiner>
    <rekey-mode>delegated</rekey-mode>
    <soft-lifetime><time>3000</time><bytes>1000000</bytes></soft-lifetime>
    <hard-lifetime><time>3600</time><bytes>2000000</bytes></hard-lifetime>
  </hybrid-keying>
</spd-entry>"#;

/// A discarding entry of this name and reqid.
pub(crate) fn discard(name: &str, reqid: u32) -> String {
    format!(
        "<spd-entry><name>{name}</name><direction>outbound</direction><reqid>{reqid}</reqid>\
         <ipsec-policy-config><traffic-selector><local-prefix>10.0.0.0/8</local-prefix>\
         <remote-prefix>10.0.0.0/8</remote-prefix></traffic-selector></ipsec-policy-config>\
         </spd-entry>"
    )
}

/// An edit of the SPD with this content.
pub(crate) fn edit(entries: &str) -> String {
    edit_with("", entries)
}

/// An edit of the SPD with parameters before its content.
pub(crate) fn edit_with(parameters: &str, entries: &str) -> String {
    edit_config(
        parameters,
        &format!(
            "<ipsec-ikeless xmlns=\"urn:ietf:params:xml:ns:yang:ietf-i2nsf-ikeless\"><spd>\
             {entries}</spd></ipsec-ikeless>"
        ),
    )
}

/// An edit with this content.
pub(crate) fn edit_config(parameters: &str, config: &str) -> String {
    format!(
        "<edit-config><target><running/></target>{parameters}<config>{config}</config>\
         </edit-config>"
    )
}

/// An edit of the lease.
pub(crate) fn grant(lease: &str) -> String {
    edit_config(
        "",
        &format!(
            "<gateway xmlns=\"urn:bartizan:yang:bartizan-ikeless\"><lease>{lease}</lease></gateway>"
        ),
    )
}

pub(crate) const GET_CONFIG: &str = "<get-config><source><running/></source></get-config>";

/// The way to the entry of [`OUTBOUND`], and on.
pub(crate) fn into_outbound(way: &str) -> String {
    format!(
        "/nsfikels:ipsec-ikeless/nsfikels:spd\
         /nsfikels:spd-entry[nsfikels:name='out/10.1.0.0/in/10.2.0.0']{way}"
    )
}
