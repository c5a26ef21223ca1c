//! Saving, restoring and dumping a domain's memory.

use super::progress::watched;
use super::xmlcmds::print_xml;
use super::*;
use crate::virsh::ctl::say;
use crate::virsh::edit;
use crate::virsh::fail::{Context, fail};
use crate::virsh::util::{os_error, read_file};
use protocol::{TypedParam, remote};

/// `--running` and `--paused` as flags of the save calls.
pub fn run_state(cmd: &Cmd) -> u32 {
    cmd.flags(&[("running", 2), ("paused", 4)])
}

/// Flags that exclude each other, with their bits, as the library refuses them before it calls.
type Exclusive<'a> = &'a [((u32, &'a str), (u32, &'a str))];

/// Those of the save calls.
const RUN_STATES: Exclusive<'_> =
    &[((2, "VIR_DOMAIN_SAVE_RUNNING"), (4, "VIR_DOMAIN_SAVE_PAUSED"))];

/// Those of the dump calls.
const DUMP_ENDS: Exclusive<'_> = &[
    ((1, "VIR_DUMP_CRASH"), (2, "VIR_DUMP_LIVE")),
    ((1, "VIR_DUMP_CRASH"), (8, "VIR_DUMP_RESET")),
    ((2, "VIR_DUMP_LIVE"), (8, "VIR_DUMP_RESET")),
];

/// Refuses two flags of a pair together.
fn no_two(flags: u32, pairs: Exclusive<'_>) -> Outcome {
    for ((a, first), (b, second)) in pairs {
        if flags & a != 0 && flags & b != 0 {
            fail!("Flags '{first}' and '{second}' are mutually exclusive");
        }
    }
    Ok(())
}

/// The daemon resolves a relative path in its own folder: send an absolute one.
fn absolute(path: &str) -> Outcome<String> {
    std::path::absolute(path)
        .map(|p| p.to_string_lossy().into_owned())
        .map_err(|e| Fail::new(format!("{path}: {}", os_error(&e))))
}

/// `save`
pub fn cmd_save(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = run_state(cmd) | cmd.flags(&[("bypass-cache", 1)]);
    let dom = domain(ctl, cmd)?;
    let shown = cmd.req("file")?.to_owned();
    let to = absolute(&shown)?;
    let dxml = cmd.str("xml")?.map(read_file).transpose()?;
    let channels = cmd.int("parallel-channels")?;
    let format = cmd.str("image-format")?.map(str::to_owned);
    let name = dom.name.clone();
    let done = no_two(flags, RUN_STATES).and_then(|()| {
        let of = dom.clone();
        if channels.is_some() || format.is_some() {
            let mut params = vec![TypedParam::new("file", to)];
            if let Some(x) = dxml {
                params.push(TypedParam::new("dxml", x));
            }
            if let Some(n) = channels {
                params.push(TypedParam::new("parallel.channels", n));
            }
            if let Some(f) = format {
                params.push(TypedParam::new("image_format", f));
            }
            let args = remote::DomainSaveParamsArgs { dom, params, flags };
            watched::<remote::procs::DomainSaveParams>(ctl, cmd, &of, "Save", &args)
        } else if flags != 0 || dxml.is_some() {
            let args = remote::DomainSaveFlagsArgs { dom, to, dxml, flags };
            watched::<remote::procs::DomainSaveFlags>(ctl, cmd, &of, "Save", &args)
        } else {
            let args = remote::DomainSaveArgs { dom, to };
            watched::<remote::procs::DomainSave>(ctl, cmd, &of, "Save", &args)
        }
    });
    done.ctx(format!("Failed to save domain '{name}' to {shown}"))?;
    say!(ctl, "\nDomain '{name}' saved to {shown}\n");
    Ok(())
}

/// `restore`
pub fn cmd_restore(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = run_state(cmd) | cmd.flags(&[("bypass-cache", 1), ("reset-nvram", 8)]);
    let shown = cmd.req("file")?.to_owned();
    let from = absolute(&shown)?;
    let dxml = cmd.str("xml")?.map(read_file).transpose()?;
    let channels = cmd.int("parallel-channels")?;
    let done = if let Err(refused) = no_two(flags, RUN_STATES) {
        Err(refused)
    } else if let Some(n) = channels {
        let mut params = vec![TypedParam::new("file", from)];
        if let Some(x) = dxml {
            params.push(TypedParam::new("dxml", x));
        }
        params.push(TypedParam::new("parallel.channels", n));
        call!(ctl, DomainRestoreParams { params, flags })
    } else if flags != 0 || dxml.is_some() {
        call!(ctl, DomainRestoreFlags { from, dxml, flags })
    } else {
        call!(ctl, DomainRestore { from })
    };
    done.ctx(format!("Failed to restore domain from {shown}"))?;
    say!(ctl, "Domain restored from {shown}\n");
    Ok(())
}

/// `managedsave`
pub fn cmd_managedsave(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = run_state(cmd) | cmd.flags(&[("bypass-cache", 1)]);
    let dom = domain(ctl, cmd)?;
    let name = dom.name.clone();
    let args = remote::DomainManagedSaveArgs { dom: dom.clone(), flags };
    no_two(flags, RUN_STATES)
        .and_then(|()| {
            type P = remote::procs::DomainManagedSave;
            watched::<P>(ctl, cmd, &dom, "Managedsave", &args)
        })
        .ctx(format!("Failed to save domain '{name}' state"))?;
    say!(ctl, "\nDomain '{name}' state saved by libvirt\n");
    Ok(())
}

/// `managedsave-remove`
pub fn cmd_managedsave_remove(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    let name = dom.name.clone();
    let has = call!(ctl, DomainHasManagedSaveImage { dom: dom.clone(), flags: 0 })
        .ctx("Failed to check for domain managed save image")?
        .result;
    if has == 0 {
        say!(ctl, "Domain '{name}' has no manage save image; removal skipped");
        return Ok(());
    }
    call!(ctl, DomainManagedSaveRemove { dom, flags: 0 })
        .ctx(format!("Failed to remove managed save image for domain '{name}'"))?;
    say!(ctl, "Removed managedsave image for domain '{name}'");
    Ok(())
}

/// `dump`
pub fn cmd_dump(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = cmd.flags(&[
        ("crash", 1),
        ("live", 2),
        ("bypass-cache", 4),
        ("reset", 8),
        ("memory-only", 16),
    ]);
    let dom = domain(ctl, cmd)?;
    let shown = cmd.req("file")?.to_owned();
    let to = absolute(&shown)?;
    let dumpformat = match cmd.str("format")? {
        None => 0,
        Some(_) if !cmd.has("memory-only") => {
            fail!("--format only works with --memory-only")
        }
        Some("elf") => 0,
        Some("kdump-zlib") => 1,
        Some("kdump-lzo") => 2,
        Some("kdump-snappy") => 3,
        Some("win-dmp") => 4,
        Some(other) => fail!(
            "format '{other}' is not supported, expecting 'kdump-zlib', 'kdump-lzo', 'kdump-snappy', 'win-dmp' or 'elf'"
        ),
    };
    let name = dom.name.clone();
    let of = dom.clone();
    let done = no_two(flags, DUMP_ENDS).and_then(|()| {
        if dumpformat != 0 {
            let args = remote::DomainCoreDumpWithFormatArgs { dom, to, dumpformat, flags };
            watched::<remote::procs::DomainCoreDumpWithFormat>(ctl, cmd, &of, "Dump", &args)
        } else {
            let args = remote::DomainCoreDumpArgs { dom, to, flags };
            watched::<remote::procs::DomainCoreDump>(ctl, cmd, &of, "Dump", &args)
        }
    });
    done.ctx(format!("Failed to core dump domain '{name}' to {shown}"))?;
    say!(ctl, "\nDomain '{name}' dumped to {shown}\n");
    Ok(())
}

/// `save-image-dumpxml`
pub fn cmd_save_image_dumpxml(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = cmd.flags(&[("security-info", 1)]);
    let file = cmd.req("file")?.to_owned();
    let xml = call!(ctl, DomainSaveImageGetXmlDesc { file, flags })?.xml;
    print_xml(ctl, cmd, &xml)
}

/// `save-image-define`
pub fn cmd_save_image_define(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = run_state(cmd);
    let file = cmd.req("file")?.to_owned();
    let dxml = read_file(cmd.req("xml")?)?;
    no_two(flags, RUN_STATES)
        .and_then(|()| call!(ctl, DomainSaveImageDefineXml { file: file.clone(), dxml, flags }))
        .ctx(format!("Failed to update {file}"))?;
    say!(ctl, "State file {file} updated.\n");
    Ok(())
}

/// `save-image-edit`
pub fn cmd_save_image_edit(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    cmd.exclusive("running", "paused")?;
    let flags = run_state(cmd);
    let file = cmd.req("file")?.to_owned();
    let read = |ctl: &mut Ctl| {
        Ok(call!(ctl, DomainSaveImageGetXmlDesc { file: file.clone(), flags: 1 })?.xml)
    };
    let changed = edit::run(ctl, read, |ctl, xml, _| {
        let dxml = xml.to_owned();
        call!(ctl, DomainSaveImageDefineXml { file: file.clone(), dxml, flags })
            .ctx(format!("Failed to update {file}"))
    })?;
    if changed.is_some() {
        say!(ctl, "State file {file} edited.\n");
    } else {
        say!(ctl, "Saved image {file} XML configuration not changed.\n");
    }
    Ok(())
}
