//! Counts of processors, sysinfo of each architecture.

use super::{
    CpuCounts, CpuTree, arm_sysinfo, cpu_counts, cpu_mhz, dmi_sysinfo, ppc_sysinfo, s390_sysinfo,
};
use crate::domain::sysinfo::Sysinfo;

fn one_line(info: &Sysinfo) -> String {
    let text = xml::write(info, "sysinfo", &xml::WriteOptions::default());
    text.lines().map(str::trim_start).collect()
}

fn e(name: &str, value: &str) -> String {
    format!("<entry name='{name}'>{value}</entry>")
}

#[test]
fn dmidecode() {
    let text = "# dmidecode 3.2\n\nHandle 0x0, DMI type 0\nBIOS Information\n\tVersion: 1 \n\
        \tVendor: v\n\tCharacteristics:\n\t\tVendor: no\n\nBase Board Information\n\tVersion: b\n\
        \nBase Board Information\n\tVersion:  \n\nMemory Device\n\tSize: No Module Installed\n\
        \nMemory Device\n\tBank Locator: l\n\tSize: 1 GB\n\nOEM Strings\n\tString 1: a\n\
        \tString 2: b.c\n\tOther: x\n";
    let (v, b) = (e("vendor", "v") + &e("version", "1"), e("version", "b"));
    let m = e("size", "1 GB") + &e("bank_locator", "l");
    for (answer, second) in [(Some("b\nc"), "b\nc"), (None, "b.c")] {
        let info = dmi_sysinfo(text, |n| answer.filter(|_| n == 2).map(str::to_owned));
        assert_eq!(
            one_line(&info),
            format!(
                "<sysinfo type='smbios'><bios>{v}</bios><baseBoard>{b}</baseBoard>\
                 <memory_device>{m}</memory_device><oemStrings><entry>a</entry>\
                 <entry>{second}</entry></oemStrings></sysinfo>"
            )
            .replace('\n', "")
        );
    }
}

#[test]
fn cpuinfo_of_each_architecture() {
    let ppc = "processor\t: 4\ncpu\t\t: POWER7\nrevision\t: 2.3\n\nplatform\t: P\nmodel\t: m\nmachine\t: x\n";
    assert_eq!(
        one_line(&ppc_sysinfo(ppc)),
        format!(
            "<sysinfo type='smbios'><system>{}{}{}</system><processor>{}{}{}</processor></sysinfo>",
            e("version", "x"),
            e("serial", "m"),
            e("family", "P"),
            e("socket_destination", "4"),
            e("type", "POWER7"),
            e("version", "2.3")
        )
    );
    let arm = "processor : 0\nmodel name : A\nprocessor : 1\nmodel name : A\n";
    assert_eq!(one_line(&arm_sysinfo(arm)).matches("<entry name='type'>A<").count(), 2);
    let s390 = "vendor_id : IBM/S390\n\
        processor 0: version = 00,  identification = 145F07,  machine = 2964\n\
        processor 1: version = FF,  identification = 145F08,  machine = 2964\n\
        cpu number      : 0\ncpu MHz dynamic : 5000\ncpu number : 1\ncpu MHz dynamic : 4000\n";
    let machine =
        "Manufacturer:         IBM\nType:                 2964\nSequence Code:        9\n";
    assert_eq!(
        one_line(&s390_sysinfo(machine, s390)),
        format!(
            "<sysinfo type='smbios'><system>{}{}{}</system>\
             <processor>{}{}{}{}{}</processor><processor>{}{}{}{}{}</processor></sysinfo>",
            e("manufacturer", "IBM"),
            e("serial", "9"),
            e("family", "2964"),
            e("family", "2964"),
            e("manufacturer", "IBM/S390"),
            e("version", "00"),
            e("max_speed", "5000"),
            e("serial_number", "145F07"),
            e("family", "2964"),
            e("manufacturer", "IBM/S390"),
            e("version", "FF"),
            e("max_speed", "4000"),
            e("serial_number", "145F08"),
        )
    );
}

#[test]
fn speeds() {
    assert_eq!(cpu_mhz("x86_64", "cpu MHz\t\t: 2800.123\n"), 2800);
    assert_eq!(cpu_mhz("ppc64", "clock\t\t: 3690.000000MHz\n"), 3690);
    assert_eq!(cpu_mhz("s390x", "cpu MHz dynamic : 5000\ncpu MHz static  : 4000\n"), 5000);
    assert_eq!(cpu_mhz("aarch64", "BogoMIPS : 100\n"), 0);
    assert_eq!(cpu_mhz("x86_64", "cpu MHz : x"), 0);
}

/// A tree of `nodes` × `sockets` × `cores` × `threads` processors, of which those of `online` run.
fn tree(shape: [u32; 4], online: &str) -> CpuTree {
    let [nodes, sockets, cores, threads] = shape;
    let each = sockets * cores * threads;
    let cpus = |from: u32, to: u32| (from..to).map(|cpu| format!("cpu{cpu}")).collect::<Vec<_>>();
    let entries = |folder: &str| match folder {
        "cpu" => cpus(0, nodes * each),
        "node" => (0..nodes).map(|node| format!("node{node}")).collect(),
        other => {
            let node: u32 = other.trim_start_matches("node/node").parse().unwrap_or(0);
            cpus(node * each, (node + 1) * each)
        }
    };
    let text = |file: &str| {
        if file == "cpu/online" {
            return Some(online.to_owned());
        }
        let rest = file.strip_prefix("cpu/cpu")?;
        let (cpu, name) = rest.split_once("/topology/")?;
        let cpu: u32 = cpu.parse().ok()?;
        match name {
            "physical_package_id" => Some((cpu / (cores * threads)).to_string()),
            "core_id" => Some((cpu / threads % cores * 7).to_string()),
            "thread_siblings" => Some(format!("0000{:x}", (1u32 << threads) - 1)),
            _ => None,
        }
    };
    CpuTree::read(entries, text)
}

#[test]
fn processors_are_counted() {
    let counts = |cpus, present, nodes, sockets, cores, threads| CpuCounts {
        cpus,
        present,
        nodes,
        sockets,
        cores,
        threads,
    };
    assert_eq!(cpu_counts("ppc64", &tree([2, 2, 3, 2], "0-23"), 0), counts(24, 24, 2, 2, 3, 2));
    // One that is off still counts for the whole.
    assert_eq!(cpu_counts("ppc64", &tree([1, 1, 2, 2], "0-2"), 0), counts(3, 4, 1, 1, 2, 2));
    // Four numbers cannot tell this.
    assert_eq!(cpu_counts("ppc64", &tree([1, 2, 2, 1], "0,2-3"), 0), counts(3, 4, 1, 2, 2, 1));
    assert_eq!(cpu_counts("ppc64", &tree([2, 1, 2, 1], "0-2"), 0), counts(3, 4, 2, 1, 2, 1));
    assert_eq!(cpu_counts("ppc64", &tree([1, 1, 3, 2], "0-1"), 0), counts(2, 6, 1, 1, 6, 1));
    assert_eq!(cpu_counts("s390x", &tree([1, 1, 2, 2], "0-3"), 0), counts(4, 4, 1, 1, 4, 1));
    // POWER: threads of a core that runs.
    assert_eq!(cpu_counts("ppc64", &tree([1, 1, 2, 8], "0,8"), 8), counts(16, 16, 1, 1, 2, 8));
    assert_eq!(cpu_counts("ppc64", &tree([1, 1, 2, 8], "0,8,9"), 8), counts(3, 16, 1, 1, 2, 8));
}
