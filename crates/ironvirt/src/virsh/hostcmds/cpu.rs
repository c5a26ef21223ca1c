//! CPU models: lists, comparison, baseline.

use crate::virsh::cmd::Cmd;
use crate::virsh::conn::call;
use crate::virsh::ctl::{Ctl, put, say};
use crate::virsh::fail::{Context, Fail, Outcome, fail};
use crate::virsh::util::{parse_xml, read_file};

/// `cpu-models`
pub fn cmd_cpu_models(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let arch = cmd.req("arch")?.to_owned();
    let r = call!(ctl, ConnectGetCpuModelNames { arch, need_results: 1, flags: 0 })
        .ctx("failed to get CPU model names")?;
    if r.models.is_empty() {
        say!(ctl, "all CPU models are accepted\n");
    }
    ctl.member("models", r.models.clone());
    for m in r.models {
        put!(ctl, "{m}\n");
    }
    Ok(())
}

/// The `<cpu>` elements of a file that holds CPUs, domains, capabilities or domain capabilities.
fn cpus(file: &str) -> Outcome<Vec<String>> {
    let text = read_file(file)?;
    // A file may hold several documents one after the other; an element around them makes one.
    let body = match text.trim_start().strip_prefix("<?xml") {
        Some(rest) => rest.split_once("?>").map_or(rest, |(_, r)| r),
        None => &text,
    };
    let wrapped = format!("<container>{body}</container>");
    let doc = parse_xml(&wrapped)?;
    let mut found = Vec::new();
    for e in doc.root().children() {
        collect(e, &mut found);
    }
    if found.is_empty() {
        fail!(
            "File '{file}' does not contain any <cpu> element or valid domain XML, host capabilities XML, or domain capabilities XML"
        );
    }
    Ok(found)
}

fn collect(e: xml::Element<'_>, found: &mut Vec<String>) {
    match e.name() {
        "cpu" => found.push(e.source().to_owned()),
        "domain" | "host" => found.extend(e.child("cpu").map(|c| c.source().to_owned())),
        "capabilities" | "container" => e.children().for_each(|c| collect(c, found)),
        "domainCapabilities" => {
            let model = e
                .child("cpu")
                .into_iter()
                .flat_map(|c| c.children())
                .find(|m| m.attr("name") == Some("host-model"));
            if let Some(m) = model {
                let inner: String = m.children().map(|c| c.source()).collect();
                found.push(format!("<cpu>{inner}</cpu>"));
            }
        }
        _ => {}
    }
}

fn verdict(ctl: &mut Ctl, result: i32, file: &str, who: &str, by: &str) -> Outcome {
    match result {
        0 => {
            put!(ctl, "CPU described in {file} is incompatible with {who}\n");
            Err(Fail::silent())
        }
        1 => {
            put!(ctl, "CPU described in {file} is identical to {by}\n");
            Ok(())
        }
        2 => {
            put!(ctl, "{} is a superset of CPU described in {file}\n", capital(by));
            Ok(())
        }
        _ => fail!("Failed to compare host CPU with {file}"),
    }
}

fn capital(by: &str) -> String {
    let mut c = by.trim_start_matches("the ").chars();
    let head = c.next().map_or_else(String::new, |f| f.to_uppercase().to_string());
    if by == "the host CPU" {
        "Host CPU".into()
    } else {
        format!("{head}{}", c.as_str()).replacen("CPU", "The CPU", 1)
    }
}

/// `cpu-compare`
pub fn cmd_cpu_compare(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let file = cmd.req("file")?.to_owned();
    let flags = cmd.flags(&[("error", 1), ("validate", 2)]);
    let xml = first_cpu(&file)?;
    let r = call!(ctl, ConnectCompareCpu { xml, flags })
        .ctx(format!("Failed to compare host CPU with {file}"))?;
    verdict(ctl, r.result, &file, "host CPU", "host CPU")
}

fn first_cpu(file: &str) -> Outcome<String> {
    cpus(file)?.into_iter().next().ok_or_else(Fail::silent)
}

/// `cpu-baseline`
pub fn cmd_cpu_baseline(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = cmd.flags(&[("features", 1), ("migratable", 2)]);
    let xml_cpus = cpus(cmd.req("file")?)?;
    let r = call!(ctl, ConnectBaselineCpu { xml_cpus, flags })?;
    put!(ctl, "{}", r.cpu);
    Ok(())
}

struct Target {
    emulator: Option<String>,
    arch: Option<String>,
    machine: Option<String>,
    virttype: Option<String>,
}

fn target(cmd: &Cmd) -> Outcome<Target> {
    let get = |n: &str| -> Outcome<Option<String>> { Ok(cmd.str(n)?.map(str::to_owned)) };
    Ok(Target {
        emulator: get("emulator")?,
        arch: get("arch")?,
        machine: get("machine")?,
        virttype: get("virttype")?,
    })
}

/// `hypervisor-cpu-compare`
pub fn cmd_hypervisor_cpu_compare(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let file = cmd.req("file")?.to_owned();
    let flags = cmd.flags(&[("error", 1), ("validate", 2)]);
    let t = target(cmd)?;
    let xml_cpu = first_cpu(&file)?;
    let r = call!(
        ctl,
        ConnectCompareHypervisorCpu {
            emulator: t.emulator,
            arch: t.arch,
            machine: t.machine,
            virttype: t.virttype,
            xml_cpu,
            flags
        }
    )
    .ctx(format!("Failed to compare hypervisor CPU with {file}"))?;
    let by = "the CPU provided by hypervisor on the host";
    match r.result {
        2 => {
            put!(
                ctl,
                "The CPU provided by hypervisor on the host is a superset of CPU described in {file}\n"
            );
            Ok(())
        }
        other => verdict(ctl, other, &file, by, by),
    }
}

/// `hypervisor-cpu-baseline`
pub fn cmd_hypervisor_cpu_baseline(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = cmd.flags(&[("features", 1), ("migratable", 2)]);
    let mut xml_cpus = Vec::new();
    if let Some(file) = cmd.str("file")? {
        xml_cpus = cpus(file)?;
    }
    if let Some(model) = cmd.str("model")? {
        xml_cpus.push(format!("<cpu><model>{}</model></cpu>", crate::virsh::util::escape(model)));
    }
    let t = target(cmd)?;
    let r = call!(
        ctl,
        ConnectBaselineHypervisorCpu {
            emulator: t.emulator,
            arch: t.arch,
            machine: t.machine,
            virttype: t.virttype,
            xml_cpus,
            flags
        }
    )?;
    put!(ctl, "{}", r.cpu);
    Ok(())
}

/// `hypervisor-cpu-models`
pub fn cmd_hypervisor_cpu_models(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let t = target(cmd)?;
    let xml = call!(
        ctl,
        ConnectGetDomainCapabilities {
            emulatorbin: t.emulator,
            arch: t.arch,
            machine: t.machine,
            virttype: t.virttype,
            flags: 0
        }
    )
    .ctx("failed to get hypervisor CPU model names")?
    .capabilities;
    let doc = parse_xml(&xml)?;
    let all = cmd.has("all");
    let models: Vec<String> = doc
        .root()
        .child("cpu")
        .into_iter()
        .flat_map(|c| c.children())
        .filter(|m| m.attr("name") == Some("custom"))
        .flat_map(|m| m.children())
        .filter(|m| m.name() == "model" && (all || m.attr("usable") == Some("yes")))
        .map(|m| m.text().into_owned())
        .collect();
    ctl.member("models", models.clone());
    for m in models {
        put!(ctl, "{m}\n");
    }
    Ok(())
}
