//! What needs the guest agent.

use super::*;
use crate::virsh::ctl::{put, say};
use crate::virsh::fail::{Context, fail};
use crate::virsh::table::Table;
use crate::virsh::util::read_file;

/// `domfsinfo`
pub fn cmd_domfsinfo(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    let info = call!(ctl, DomainGetFsinfo { dom, flags: 0 })
        .ctx("Unable to get filesystem information")?
        .info;
    if info.is_empty() {
        say!(ctl, "No filesystems are mounted in the domain");
        return Ok(());
    }
    let mut table = Table::new(["Mountpoint", "Name", "Type", "Target"]);
    for f in info {
        table.row([f.mountpoint, f.name, f.fstype, f.dev_aliases.join(",")]);
    }
    ctl.table(&table);
    Ok(())
}

/// `domfsfreeze`
pub fn cmd_domfsfreeze(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    let mountpoints = cmd.argv("mountpoint").into_iter().map(str::to_owned).collect();
    let n = call!(ctl, DomainFsfreeze { dom, mountpoints, flags: 0 })
        .ctx("Unable to freeze filesystems")?
        .filesystems;
    say!(ctl, "Froze {n} filesystem(s)\n");
    Ok(())
}

/// `domfsthaw`
pub fn cmd_domfsthaw(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    let mountpoints = cmd.argv("mountpoint").into_iter().map(str::to_owned).collect();
    let n = call!(ctl, DomainFsthaw { dom, mountpoints, flags: 0 })
        .ctx("Unable to thaw filesystems")?
        .filesystems;
    say!(ctl, "Thawed {n} filesystem(s)\n");
    Ok(())
}

/// `domfstrim`
pub fn cmd_domfstrim(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let minimum = cmd.ull("minimum")?.unwrap_or(0);
    let mount_point = cmd.str("mountpoint")?.map(str::to_owned);
    let dom = domain(ctl, cmd)?;
    call!(ctl, DomainFstrim { dom, mount_point, minimum, flags: 0 }).ctx("Unable to invoke fstrim")
}

/// `guestinfo`
pub fn cmd_guestinfo(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let types = cmd.flags(&[
        ("user", 1),
        ("os", 2),
        ("timezone", 4),
        ("hostname", 8),
        ("filesystem", 16),
        ("disk", 32),
        ("interface", 64),
        ("load", 128),
    ]);
    let dom = domain(ctl, cmd)?;
    for p in call!(ctl, DomainGetGuestInfo { dom, types, flags: 0 })?.params {
        if ctl.json() {
            ctl.member(&p.field, p.value.to_string());
        } else {
            put!(ctl, "{:<20}: {}\n", p.field, p.value);
        }
    }
    Ok(())
}

/// `guest-agent-timeout`
pub fn cmd_guest_agent_timeout(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let timeout = cmd.int("timeout")?.unwrap_or(-2);
    let dom = domain(ctl, cmd)?;
    call!(ctl, DomainAgentSetResponseTimeout { dom, timeout, flags: 0 }).map(|_| ())
}

/// `set-user-password`
pub fn cmd_set_user_password(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = cmd.flags(&[("encrypted", 1)]);
    let user = cmd.req("user")?.to_owned();
    let password = Some(cmd.req("password")?.to_owned());
    let dom = domain(ctl, cmd)?;
    let name = dom.name.clone();
    call!(ctl, DomainSetUserPassword { dom, user: Some(user.clone()), password, flags })?;
    say!(ctl, "Password set successfully for {user} in {name}");
    Ok(())
}

/// `get-user-sshkeys`
pub fn cmd_get_user_sshkeys(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    let user = cmd.req("user")?.to_owned();
    let keys = call!(ctl, DomainAuthorizedSshKeysGet { dom, user, flags: 0 })?.keys;
    ctl.member("keys", keys.clone());
    for k in keys {
        put!(ctl, "{k}\n");
    }
    Ok(())
}

/// `set-user-sshkeys`
pub fn cmd_set_user_sshkeys(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    cmd.exclusive("reset", "remove")?;
    let dom = domain(ctl, cmd)?;
    let user = cmd.req("user")?.to_owned();
    let mut flags = 1;
    if cmd.has("remove") {
        flags = 2;
    } else if cmd.has("reset") {
        flags = 0;
    }
    let keys: Vec<String> = match cmd.str("file")? {
        Some(f) => read_file(f)?.lines().filter(|l| !l.is_empty()).map(str::to_owned).collect(),
        None if flags == 0 => Vec::new(),
        None => fail!("Option --file is required"),
    };
    if flags != 0 && keys.is_empty() {
        fail!("File contains no keys");
    }
    call!(ctl, DomainAuthorizedSshKeysSet { dom, user, keys, flags })
}

/// `domlaunchsecinfo`
pub fn cmd_domlaunchsecinfo(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    let params = call!(ctl, DomainGetLaunchSecurityInfo { dom, flags: 0 })
        .ctx("Unable to get launch security parameters")?
        .params;
    for p in params {
        ctl.pair(&format!("{:<15}:", p.field), &p.value);
    }
    Ok(())
}

/// `domdirtyrate-calc`
pub fn cmd_domdirtyrate_calc(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let seconds = cmd.int("seconds")?.unwrap_or(1);
    let flags = match cmd.str("mode")? {
        None | Some("page-sampling") => 0,
        Some("dirty-bitmap") => 1,
        Some("dirty-ring") => 2,
        Some(other) => fail!("Unknown calculation mode '{other}'"),
    };
    let dom = domain(ctl, cmd)?;
    call!(ctl, DomainStartDirtyRateCalc { dom, seconds, flags })?;
    say!(ctl, "Start to calculate domain's memory dirty rate successfully.\n");
    Ok(())
}
