//! Secrets.

use super::*;
use crate::virsh::registry::words::SECRET_EVENTS;
use protocol::remote::NonnullSecret as Secret;
use std::io::{IsTerminal, Write};
use units::base64;

fn secret(ctl: &mut Ctl, cmd: &Cmd) -> Outcome<Secret> {
    let text = cmd.req("secret")?;
    let failed = format!("failed to get secret '{text}'");
    match parse_uuid(text) {
        Some(uuid) => Ok(call!(ctl, SecretLookupByUuid { uuid }).ctx(failed)?.secret),
        None => {
            let mut f = Fail::new(failed);
            f.lines.push("uuidstr in virSecretLookupByUUIDString must be a valid UUID".into());
            Err(f)
        }
    }
}

fn usage(kind: i32) -> &'static str {
    match kind {
        0 => "none",
        1 => "volume",
        2 => "ceph",
        3 => "iscsi",
        4 => "tls",
        5 => "vtpm",
        _ => "unknown",
    }
}

/// `secret-list`
pub fn cmd_secret_list(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags =
        cmd.flags(&[("ephemeral", 1), ("no-ephemeral", 2), ("private", 4), ("no-private", 8)]);
    let mut list = match call!(ctl, ConnectListAllSecrets { need_results: 1, flags }) {
        Ok(r) => r.secrets,
        // Clients then try the older call, and report its failure.
        Err(f) if f.is(3) => {
            call!(ctl, ConnectNumOfSecrets).ctx("Failed to count secrets")?;
            return Err(f.before("Failed to list secrets"));
        }
        Err(f) => return Err(f.before("Failed to list secrets")),
    };
    list.sort_by_key(|s| uuid_text(&s.uuid));
    let mut table = Table::new(["UUID", "Usage"]);
    for s in list {
        let text = if s.usage_type == 0 {
            "Unused".to_owned()
        } else {
            format!("{} {}", usage(s.usage_type), s.usage_id)
        };
        table.row([uuid_text(&s.uuid), text]);
    }
    ctl.table(&table);
    Ok(())
}

/// `secret-define`
pub fn cmd_secret_define(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let from = cmd.req("file")?.to_owned();
    let xml = read_file(&from)?;
    let text = xml.clone();
    let flags = cmd.flags(&[("validate", 1)]);
    let s = call!(ctl, SecretDefineXml { xml, flags })
        .ctx(format!("Failed to set attributes from {from}"))
        .about(&text, &from)?
        .secret;
    say!(ctl, "Secret {} created\n", uuid_text(&s.uuid));
    Ok(())
}

/// `secret-dumpxml`
pub fn cmd_secret_dumpxml(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let secret = secret(ctl, cmd)?;
    let xml = call!(ctl, SecretGetXmlDesc { secret, flags: 0 })?.xml;
    print_xml(ctl, cmd, &xml)
}

/// `secret-undefine`
pub fn cmd_secret_undefine(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let secret = secret(ctl, cmd)?;
    let text = cmd.req("secret")?.to_owned();
    call!(ctl, SecretUndefine { secret }).ctx(format!("Failed to delete secret {text}"))?;
    say!(ctl, "Secret {text} deleted\n");
    Ok(())
}

/// `secret-get-value`
pub fn cmd_secret_get_value(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let secret = secret(ctl, cmd)?;
    let value = call!(ctl, SecretGetValue { secret, flags: 0 })?.value;
    if cmd.has("plain") {
        ctl.flush();
        let mut out = std::io::stdout().lock();
        if out.write_all(&value).and_then(|()| out.flush()).is_err() {
            fail!("failed to write secret");
        }
    } else {
        put!(ctl, "{}", base64::encode(&value));
    }
    Ok(())
}

/// `secret-set-value`
pub fn cmd_secret_set_value(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    cmd.exclusive("file", "base64")?;
    cmd.exclusive("plain", "base64")?;
    cmd.exclusive("interactive", "base64")?;
    cmd.exclusive("plain", "interactive")?;
    cmd.exclusive("file", "interactive")?;
    let secret = secret(ctl, cmd)?;
    let mut plain = cmd.has("plain");
    let text: Vec<u8> = if let Some(t) = cmd.str("base64")? {
        ctl.error("Passing secret value as command-line argument is insecure!");
        t.as_bytes().to_vec()
    } else if let Some(file) = cmd.str("file")? {
        std::fs::read(file).map_err(|e| {
            Fail::new(crate::virsh::util::os_error(&e)).before("Failed to read secret")
        })?
    } else if cmd.has("interactive") {
        plain = true;
        ask(ctl)?
    } else {
        fail!("Input secret value is missing");
    };
    let value = if plain {
        text
    } else {
        let clean: Vec<u8> = text.into_iter().filter(|b| !b.is_ascii_whitespace()).collect();
        base64::decode(&clean).ok_or_else(|| Fail::new("Failed to decode base64 value"))?
    };
    call!(ctl, SecretSetValue { secret, value, flags: 0 }).ctx("Failed to set secret value")?;
    say!(ctl, "Secret value set\n");
    Ok(())
}

/// A value typed without echo.
fn ask(ctl: &mut Ctl) -> Outcome<Vec<u8>> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    ctl.flush();
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        fail!("Failed to read secret");
    }
    print!("Enter new value for secret:");
    let _ = std::io::stdout().flush();
    let saved = tcgetattr(&stdin).map_err(|_| Fail::new("Failed to read secret"))?;
    let mut silent = saved.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    let _ = tcsetattr(&stdin, OptionalActions::Flush, &silent);
    let mut line = String::new();
    let read = stdin.read_line(&mut line);
    let _ = tcsetattr(&stdin, OptionalActions::Flush, &saved);
    println!();
    match read {
        Ok(n) if n > 0 => Ok(line.trim_end_matches('\n').as_bytes().to_vec()),
        _ => fail!("Failed to read secret"),
    }
}

/// `secret-event`
pub fn cmd_secret_event(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let Some(event_id) = event_kind(ctl, cmd, SECRET_EVENTS)? else {
        return Ok(());
    };
    let timeout = cmd.timeout_ms("timeout")?;
    let only = if cmd.has("secret") { Some(secret(ctl, cmd)?) } else { None };
    let callback_id =
        call!(ctl, ConnectSecretEventRegisterAny { event_id, secret: only })?.callback_id;
    let stamp = cmd.has("timestamp");
    let result = watch(ctl, cmd.has("loop"), timeout, &mut |ctl, raw| {
        if let Some(m) = crate::virsh::conn::event::<ev::SecretEventLifecycle>(raw) {
            let uuid = uuid_text(&m.secret.uuid);
            let what = describe_lifecycle(&["Defined", "Undefined"], m.event);
            let text = format!("event 'lifecycle' for secret {uuid}: {what}\n");
            print_event(ctl, stamp, "lifecycle", ("secret", &uuid), &text);
            return true;
        }
        if let Some(m) = crate::virsh::conn::event::<ev::SecretEventValueChanged>(raw) {
            let uuid = uuid_text(&m.secret.uuid);
            let text = format!("event 'value-changed' for secret {uuid}\n");
            print_event(ctl, stamp, "value-changed", ("secret", &uuid), &text);
            return true;
        }
        false
    });
    let _ = call!(ctl, ConnectSecretEventDeregisterAny { callback_id });
    result
}
