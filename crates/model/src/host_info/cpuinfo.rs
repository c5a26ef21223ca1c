//! The host as `/proc/cpuinfo` and s390's `/proc/sysinfo` show it, where there is no SMBIOS.

use crate::domain::sysinfo::{Sysinfo, SysinfoBlock, SysinfoEntry, SysinfoType};

/// Adds an entry that has a value.
fn add(block: &mut SysinfoBlock, name: &str, value: Option<&str>) {
    if let Some(value) = value.filter(|value| !value.is_empty()) {
        let entry = SysinfoEntry { name: name.to_owned(), value: value.to_owned() };
        block.entries.push(entry);
    }
}

/// Key and value of each line that has both.
fn lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| {
        let (key, value) = line.split_once(':')?;
        Some((key.trim(), value.trim()))
    })
}

/// The value of the first line with a key.
fn first<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    lines(text).find(|(found, _)| *found == key).map(|(_, value)| value)
}

fn info() -> Sysinfo {
    Sysinfo { kind: SysinfoType::Smbios, ..Sysinfo::default() }
}

fn some(block: SysinfoBlock) -> Option<SysinfoBlock> {
    (!block.entries.is_empty()).then_some(block)
}

/// The machine, as POWER and some ARM kernels name it.
fn machine(cpuinfo: &str) -> Option<SysinfoBlock> {
    let mut system = SysinfoBlock::default();
    add(&mut system, "version", first(cpuinfo, "machine"));
    add(&mut system, "serial", first(cpuinfo, "model"));
    add(&mut system, "family", first(cpuinfo, "platform"));
    some(system)
}

/// The lines of each processor: from its line `processor` to the next.
fn processors(cpuinfo: &str) -> Vec<Vec<(&str, &str)>> {
    let mut all: Vec<Vec<(&str, &str)>> = Vec::new();
    for (key, value) in lines(cpuinfo) {
        if key == "processor" {
            all.push(vec![(key, value)]);
        } else if let Some(last) = all.last_mut() {
            last.push((key, value));
        }
    }
    all
}

/// POWER: `/proc/cpuinfo`.
pub fn ppc_sysinfo(cpuinfo: &str) -> Sysinfo {
    let mut info = info();
    info.system = machine(cpuinfo);
    for lines in processors(cpuinfo) {
        let value = |key: &str| lines.iter().find(|(found, _)| *found == key).map(|(_, v)| *v);
        let mut processor = SysinfoBlock::default();
        add(&mut processor, "socket_destination", value("processor"));
        add(&mut processor, "type", value("cpu"));
        add(&mut processor, "version", value("revision"));
        info.processors.extend(some(processor));
    }
    info
}

/// ARM: `/proc/cpuinfo`. The kernel names the processor once, or with each.
pub fn arm_sysinfo(cpuinfo: &str) -> Sysinfo {
    let mut info = info();
    info.system = machine(cpuinfo);
    let name = first(cpuinfo, "Processor").or_else(|| first(cpuinfo, "model name"));
    for lines in processors(cpuinfo) {
        let number = lines.first().map(|(_, value)| *value);
        let mut processor = SysinfoBlock::default();
        add(&mut processor, "socket_destination", number);
        add(&mut processor, "type", name);
        info.processors.extend(some(processor));
    }
    info
}

/// A value inside a line such as `processor 0: version = 00,  identification = 145F07`.
fn inside<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.split(',').find_map(|part| {
        let (found, value) = part.split_once('=')?;
        (found.trim() == key).then(|| value.trim())
    })
}

/// s390: `/proc/sysinfo` for the machine, `/proc/cpuinfo` for its processors.
pub fn s390_sysinfo(sysinfo: &str, cpuinfo: &str) -> Sysinfo {
    let mut info = info();
    let mut system = SysinfoBlock::default();
    add(&mut system, "manufacturer", first(sysinfo, "Manufacturer"));
    add(&mut system, "serial", first(sysinfo, "Sequence Code"));
    add(&mut system, "family", first(sysinfo, "Type"));
    info.system = some(system);
    let speeds: Vec<&str> = speeds(cpuinfo);
    let maker = first(cpuinfo, "vendor_id");
    for (key, line) in lines(cpuinfo) {
        let number = key.strip_prefix("processor ").map(|n| n.trim().parse::<u32>());
        let Some(Ok(_)) = number else { continue };
        let speed = speeds.get(info.processors.len()).copied();
        let mut processor = SysinfoBlock::default();
        add(&mut processor, "family", inside(line, "machine"));
        add(&mut processor, "manufacturer", maker);
        add(&mut processor, "version", inside(line, "version"));
        add(&mut processor, "max_speed", speed);
        add(&mut processor, "serial_number", inside(line, "identification"));
        info.processors.extend(some(processor));
    }
    info
}

/// The speed of each processor, by its number.
fn speeds(cpuinfo: &str) -> Vec<&str> {
    let mut all = Vec::new();
    let mut at = None;
    for (key, value) in lines(cpuinfo) {
        match key {
            "cpu number" => at = value.parse::<usize>().ok().filter(|n| *n == all.len()),
            "cpu MHz dynamic" if at.take().is_some() => all.push(value),
            _ => {}
        }
    }
    all
}
