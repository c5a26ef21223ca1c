//! Node devices: every capability, refusals, the exchange with mdevctl.

use super::{Capability, format, mdevctl, parse, parse_new};
use diag::ErrorCode;
use xml::WriteOptions;

const LIVE: WriteOptions = WriteOptions { live: true, secure: false, migratable: false, indent: 0 };

fn written(capability: &str) -> String {
    let text = format!("<device><name>n</name>{capability}</device>");
    let parsed = parse(&text);
    let device = parsed.value.unwrap_or_else(|| panic!("{text}: {:?}", parsed.diagnostics));
    let out: String = format(&device, &LIVE).lines().map(str::trim_start).collect();
    out.strip_prefix("<device><name>n</name>")
        .unwrap()
        .strip_suffix("</device>")
        .unwrap()
        .to_owned()
}

fn same(capability: &str) {
    assert_eq!(written(capability), capability);
}

fn refused(capability: &str, code: ErrorCode, message: &str) {
    let text = format!("<device><name>n</name>{capability}</device>");
    let parsed = parse(&text);
    assert!(parsed.value.is_none(), "{text}");
    let first = &parsed.diagnostics[0];
    assert_eq!((first.message.as_str(), first.code), (message, code), "{text}");
}

const PCI: &str = "<domain>0</domain><bus>2</bus><slot>16</slot><function>7</function>\
                   <product id='0x10ca'>P</product><vendor id='0x8086'/>";

fn pci(more: &str) -> String {
    format!("<capability type='pci'><class>0x020000</class>{PCI}{more}</capability>")
}

#[test]
fn every_capability_is_written_as_libvirt_does() {
    same(
        "<capability type='system'><product>p</product><hardware><vendor>v</vendor>\
          <uuid>c7a5fdbd-edaf-9455-926a-d65c16db1809</uuid></hardware><firmware></firmware></capability>",
    );
    same(
        "<capability type='usb_device'><bus>1</bus><device>2</device>\
          <product id='0x0001' /><vendor id='0x0002'>x</vendor></capability>",
    );
    same(
        "<capability type='usb'><number>0</number><class>9</class><subclass>0</subclass>\
          <protocol>1</protocol><description>d</description></capability>",
    );
    same(
        "<capability type='net'><interface>e</interface><link speed='1' state='up'/>\
          <feature name='rx'/><feature name='switchdev'/><capability type='80211'/></capability>",
    );
    same(
        "<capability type='scsi_host'><host>1</host><unique_id>0</unique_id>\
          <capability type='fc_host'><wwnn>a</wwnn><wwpn>b</wwpn></capability>\
          <capability type='vport_ops'><max_vports>0</max_vports><vports>0</vports></capability>\
          </capability>",
    );
    same(
        "<capability type='scsi_target'><target>t</target><capability type='fc_remote_port'>\
          <rport>r</rport><wwpn>w</wwpn></capability></capability>",
    );
    same("<capability type='scsi_generic'><char>/dev/sg0</char></capability>");
    same("<capability type='drm'><type>primary</type></capability>");
    same("<capability type='vdpa'><chardev>/dev/v</chardev></capability>");
    same(
        "<capability type='ap_queue'><ap-adapter>0x01</ap-adapter><ap-domain>0x00ff</ap-domain>\
          </capability>",
    );
    same("<capability type='ap_matrix'></capability>");
    same(
        "<capability type='ccw'><state>offline</state><cssid>0x0</cssid><ssid>0x1</ssid>\
          <devno>0x00ab</devno><capability type='ccwgroup_member'><group_device>g</group_device>\
          </capability></capability>",
    );
    same(
        "<capability type='css'><cssid>0xa</cssid><ssid>0x1</ssid><devno>0x00ab</devno>\
          <channel_dev_addr><cssid>0x0</cssid><ssid>0x1</ssid><devno>0x0003</devno></channel_dev_addr>\
          </capability>",
    );
    same(
        "<capability type='ccwgroup'><cssid>0x0</cssid><ssid>0x1</ssid><devno>0x00ab</devno>\
          <members><ccw_device ref='z'></ccw_device></members>\
          <capability type='qeth_layer3'><card_type>t</card_type><chpid>p</chpid></capability></capability>",
    );
    same(&pci(""));
}

#[test]
fn parts_of_a_pci_device_get_libvirts_order() {
    let place = "<address domain='0x0000' bus='0x01' slot='0x02' function='0x3'/>";
    let physical = format!("<capability type='phys_function'>{place}</capability>");
    let types = "<capability type='mdev_types'><type id='a'><deviceAPI>vfio-pci</deviceAPI>\
                 <availableInstances>1</availableInstances></type></capability>";
    let group = format!("<iommuGroup number='3'>{place}</iommuGroup>");
    let virt = "<capability type='virt_functions' maxCount='5'/>";
    let bridge = "<capability type='cardbus-bridge'/>";
    let express = "<pci-express><link validity='cap' port='1' speed='2.5' width='4'/>\
                   <link validity='sta' speed='64' width='0'/></pci-express>";
    let wild = format!(
        "<iommuGroup number='4'/>{bridge}<numa/>{types}<capability type='foo'/>{virt}{physical}{express}"
    );
    assert_eq!(written(&pci(&wild)), pci(&format!("{physical}{virt}{bridge}{types}{express}")));
    assert_eq!(
        written(&pci(&format!("<numa node='2'/>{group}"))),
        pci(&format!("{group}<numa node='2'/>"))
    );
}

#[test]
fn vital_product_data() {
    let vpd =
        |fields: &str| pci(&format!("<capability type='vpd'><name>n</name>{fields}</capability>"));
    assert_eq!(
        written(&vpd("<fields access='readwrite'><system_field index='A'>tag</system_field>\
             <vendor_field index='!'>x</vendor_field><system_field index='B'>b</system_field></fields>\
             <fields access='readonly'><part_number>p</part_number><change_level>c</change_level></fields>")),
        vpd(
            "<fields access='readonly'><change_level>c</change_level><part_number>p</part_number></fields>\
             <fields access='readwrite'><asset_tag>tag</asset_tag>\
             <system_field index='B'>b</system_field></fields>"
        ),
    );
    let xml = ErrorCode::XML_ERROR;
    refused(&vpd("<fields access='foo'/>"), xml, "Unsupported VPD field access type 'foo'");
    refused(
        &vpd("<fields access='readonly'><vendor_field index='aa'>v</vendor_field></fields>"),
        xml,
        "'vendor_field' 'index' value 'aa' malformed",
    );
}

#[test]
fn refusals_have_libvirts_codes_and_words() {
    let (internal, xml) = (ErrorCode::INTERNAL_ERROR, ErrorCode::XML_ERROR);
    let unsupported = ErrorCode::CONFIG_UNSUPPORTED;
    refused("", internal, "no device capabilities for 'n'");
    refused("<capability/>", xml, "Missing required attribute 'type' in element 'capability'");
    refused(&pci("<numa node='x'/>"), internal, "invalid NUMA node ID supplied for 'n'");
    refused(
        &pci("<capability type='mdev_types'><type id='a'/></capability>"),
        xml,
        "missing device API for mediated device type 'a'",
    );
    refused(&pci("<capability/>"), xml, "Missing capability type");
    let far = "<capability type='phys_function'><address slot='0x20'/></capability>";
    refused(&pci(far), xml, "Invalid PCI address slot='0x20', must be <= 0x1F");
    refused("<capability type='drm'/>", unsupported, "unknown drm type '(null)' for 'n'");
    refused(
        "<capability type='storage'><block>b</block></capability>",
        internal,
        "no size supplied for 'n'",
    );
    refused(
        "<capability type='scsi_host'><host>1</host><capability type='q'/></capability>",
        internal,
        "unknown SCSI host capability type 'q' for 'n'",
    );
    refused(
        "<capability type='mdev'><type/></capability>",
        unsupported,
        "missing type id attribute for 'n'",
    );
    refused(
        "<capability type='ap_queue'><ap-adapter>1</ap-adapter><ap-domain>256</ap-domain></capability>",
        unsupported,
        "ap-domain value '256' is out of range for 'n'",
    );
    let parsed = parse("<device/>");
    assert_eq!(parsed.diagnostics[0].code, ErrorCode::NO_NAME);
}

#[test]
fn a_definition_leaves_out_what_only_a_live_device_has() {
    let text = "<device><name>n</name><path>/p</path><devnode type='dev'>/d</devnode>\
                <parent>c</parent><driver><name>x</name></driver>\
                <capability type='mdev'><type id='t'/><parent_addr>a</parent_addr></capability></device>";
    let device = parse(text).value.unwrap();
    let defined: String =
        format(&device, &WriteOptions::default()).lines().map(str::trim_start).collect();
    let mdev = "<parent>c</parent><capability type='mdev'><type id='t'/><iommuGroup number='0'/>\
                </capability></device>";
    assert_eq!(defined, format!("<device><name>n</name>{mdev}"));
    let live: String = format(&device, &LIVE).lines().map(str::trim_start).collect();
    let files = "<path>/p</path><devnode type='dev'>/d</devnode>";
    assert_eq!(live, format!("<device><name>n</name>{files}{mdev}"));
}

#[test]
fn a_new_device_needs_no_name() {
    let first = |text: &str| {
        let parsed = parse_new(text);
        parsed.value.map(|device| device.name).ok_or_else(|| parsed.diagnostics[0].message.clone())
    };
    let new = Ok("new device".to_owned());
    let mdev = "<capability type='mdev'><type id='t'/></capability>";
    assert_eq!(first(&format!("<device><parent>p</parent>{mdev}</device>")), new);
    let hba = "<capability type='scsi_host'><capability type='fc_host'/></capability>";
    assert_eq!(first(&format!("<device><name>n</name>{hba}</device>")), new);
    assert!(parse(&format!("<device><name>n</name>{hba}</device>")).value.is_none());
    for (text, words) in [
        ("<device/>".to_owned(), "no device capabilities for 'new device'"),
        (format!("<device>{mdev}</device>"), "missing parent device"),
        (
            "<device><capability type='vpd'/></device>".to_owned(),
            "unknown capability type '21' for 'new device'",
        ),
        (
            "<device><capability type='vdpa'><chardev>/c</chardev></capability></device>"
                .to_owned(),
            "unknown capability type '17' for 'new device'",
        ),
        (
            "<device><capability type='mdev'/></device>".to_owned(),
            "missing type id attribute for 'new device'",
        ),
        (
            format!("<device><parent wwnn='x'/>{hba}</device>"),
            "when providing parent wwnn='x', the wwpn must also be provided",
        ),
    ] {
        assert_eq!(first(&text), Err(words.to_owned()));
    }
}

#[test]
fn lists_of_mdevctl() {
    let list = r#"[{"0000:00:02.0": [{"c7a5fdbd-edaf-9455-926a-d65c16db1809":
        {"mdev_type": "t", "start": "auto", "attrs": [{"b": "1"}, {"a": "2"}]}}]}]"#;
    let devices = mdevctl::parse_list(list, |address| Some(format!("p{address}"))).unwrap();
    assert_eq!(devices[0].name, "mdev_c7a5fdbd_edaf_9455_926a_d65c16db1809_0000_00_02_0");
    let Capability::Mdev(mdev) = &devices[0].capabilities[0] else { panic!("no mdev") };
    let json = r#"{"mdev_type":"t","start":"auto","attrs":[{"b":"1"},{"a":"2"}]}"#;
    assert_eq!(mdevctl::device_json(mdev), json);
    // The order is mdevctl's.
    let two = r#"[{"matrix": [{"c7a5fdbd-edaf-9455-926a-d65c16db1809": {"mdev_type": "t"}}],
        "0.0.1": [{"a7a5fdbd-edaf-9455-926a-d65c16db1809": {"mdev_type": "t"},
        "07a5fdbd-edaf-9455-926a-d65c16db1809": {"mdev_type": "t"}}]}]"#;
    let devices = mdevctl::parse_list(two, |_| None).unwrap();
    let starts: Vec<_> = devices.iter().map(|device| device.name.get(..6).unwrap()).collect();
    assert_eq!(starts, ["mdev_c", "mdev_a", "mdev_0"]);
    assert_eq!(mdevctl::parse_list(" ", |_| None), Ok(Vec::new()));
    for bad in ["{}", "[1]", "[", r#"[{"a": 1}]"#, r#"[{"a": [{"b": {}}]}]"#] {
        assert!(mdevctl::parse_list(bad, |_| None).is_err(), "{bad}");
    }
}
