//! Questions and orders to the guest agent, and raw commands to QEMU's monitor.

use crate::domain::affect::{acquire, running};
use crate::domain::agent::link::{AgentPatience, Turn};
use crate::domain::power::monitor_error;
use crate::domain::record::Domain;
use crate::domain::vm::taint::Taint;
use crate::engine::Engine;
use diag::{ErrorCode, VirError};
use host::monitor::MonitorError;
use lifecycle::Request;
use model::domain::lifecycle::PmState;
use qmp::{Command, Value, cmd};
use serde::de::DeserializeOwned;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use xml::YesNo;

/// How long raw monitor commands may take.
const MONITOR_DEADLINE: Duration = Duration::from_secs(120);

impl Engine {
    /// Asks the guest agent.
    ///
    /// # Errors
    /// When the domain does not run, has no agent, or the agent does not answer.
    pub(crate) async fn ask_agent<R: DeserializeOwned + Send + 'static>(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        command: Command<R>,
        verb: &'static str,
        client: &Arc<str>,
    ) -> Result<R, VirError> {
        let (domain, client) = (Arc::clone(domain), Arc::clone(client));
        self.detached(async move {
            Turn::take(&domain, verb, &client).await?.execute(command, None).await
        })
        .await
    }

    /// Orders something from the agent that it does not answer when it succeeds; returns when the
    /// guest shows that it obeys, or refuses.
    ///
    /// # Errors
    /// As [`Engine::ask_agent`].
    pub(crate) async fn order_agent(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        command: Command<qmp::Ack>,
        verb: &'static str,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        let (domain, client) = (Arc::clone(domain), Arc::clone(client));
        self.detached(async move { Turn::take(&domain, verb, &client).await?.order(command).await })
            .await
    }

    /// Sends a raw command to the agent and returns its raw answer.
    ///
    /// # Errors
    /// When it is no JSON, and as [`Engine::ask_agent`].
    pub async fn agent_command(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        text: &str,
        patience: AgentPatience,
        client: &Arc<str>,
    ) -> Result<Option<String>, VirError> {
        let vm = running(domain)?;
        let verb = "qemu-agent-command";
        let mut turn = Turn::take(domain, verb, client).await?;
        vm.taint(Taint::CustomGaCommand);
        let value: Value = serde_json::from_str(text).map_err(|error| {
            let why = if error.is_eof() { "continue" } else { "unexpected character" };
            VirError::internal(format!("failed to parse JSON: {why}")).hint(error.to_string())
        })?;
        // What is wrong with it beyond this is the agent's to say.
        let name = value.get("execute").and_then(Value::as_str).unwrap_or("<unknown>").to_owned();
        let mut line = value.to_string().into_bytes();
        line.push(b'\n');
        let told =
            self.detached(async move { turn.execute_text(&line, &name, patience).await }).await?;
        Ok(Some(told.to_string()))
    }

    /// Sets how long answers of a domain's agent are waited for.
    ///
    /// # Errors
    /// None today.
    pub fn set_agent_patience(
        &self,
        domain: &Domain,
        patience: AgentPatience,
    ) -> Result<(), VirError> {
        domain.set_agent_patience(patience);
        if let Some(vm) = domain.vm() {
            vm.agent_patience_changed();
        }
        Ok(())
    }

    /// Sends a raw command to QEMU's monitor, in its human or its JSON language, with descriptors
    /// for `getfd` and the like.
    ///
    /// # Errors
    /// When the domain does not run, the text is no JSON command, or QEMU does not answer. QEMU's
    /// own refusals are answers.
    pub async fn monitor_command(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        text: String,
        human: bool,
        fds: Vec<OwnedFd>,
        client: &Arc<str>,
    ) -> Result<String, VirError> {
        running(domain)?;
        let command: Command<Value> = if human {
            cmd::human_monitor_command(&text, None).with_reply()
        } else {
            match command_from(&text)? {
                Raw::Command(command) => command,
                Raw::Refused(why) => {
                    return Ok(serde_json::json!({
                        "error": { "class": "GenericError", "desc": why }
                    })
                    .to_string());
                }
            }
        };
        let job = acquire(domain, Request::ModifyLive, "qemu-monitor-command", client).await?;
        let vm = running(domain)?;
        tracing::info!(
            domain = %domain.snapshot().name,
            command = command.name(),
            "a raw monitor command: the guest is tainted"
        );
        vm.taint(Taint::CustomMonitor);
        self.detached(async move {
            let _job = job;
            let monitor = vm.monitor.with_timeout(MONITOR_DEADLINE);
            let id = vm.raw_id();
            let answer = monitor.execute_with_fds(command, fds).await;
            vm.sync().await;
            match answer {
                Ok(value) if human => Ok(value.as_str().unwrap_or_default().to_owned()),
                Ok(value) => Ok(serde_json::json!({ "return": value, "id": id }).to_string()),
                Err(MonitorError::Qmp(error)) if !human => Ok(serde_json::json!({
                    "id": id, "error": { "class": error.class, "desc": error.desc }
                })
                .to_string()),
                Err(error) => Err(monitor_error(&error)),
            }
        })
        .await
    }

    /// The guest's name for itself, from its agent.
    ///
    /// # Errors
    /// As [`Engine::ask_agent`].
    pub async fn guest_hostname(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        client: &Arc<str>,
    ) -> Result<String, VirError> {
        running(domain)?;
        let command = cmd::guest::get_host_name();
        let answer = match self.ask_agent(domain, command, "domhostname", client).await {
            // An agent that is there and does not say is one that knows none.
            Err(error)
                if error.code == ErrorCode::AGENT_COMMAND_FAILED
                    || error.code == ErrorCode::AGENT_COMMAND_TIMEOUT
                    || error.detail.contains("synchronization") =>
            {
                let name = &domain.snapshot().name;
                return Err(VirError::new(
                    ErrorCode::NO_HOSTNAME,
                    format!("no hostname found for domain {name}"),
                )
                .hint(error.message()));
            }
            other => other?,
        };
        match answer.get("host-name").and_then(Value::as_str) {
            Some(name) => Ok(name.to_owned()),
            None => Err(malformed("guest-get-host-name", "host-name")),
        }
    }

    /// The guest's clock, nanoseconds since 1970.
    ///
    /// # Errors
    /// As [`Engine::ask_agent`].
    pub async fn guest_time(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        client: &Arc<str>,
    ) -> Result<i64, VirError> {
        running(domain)?;
        self.ask_agent(domain, cmd::guest::get_time(), "domtime", client).await
    }

    /// Sets the guest's clock; `None` takes its hardware clock's time. Missed timer ticks are not
    /// made up for afterwards.
    ///
    /// # Errors
    /// As [`Engine::ask_agent`].
    pub async fn set_guest_time(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        nanoseconds: Option<i64>,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        if !domain.snapshot().is_active() {
            // Libvirt looks first at what a QEMU that does not run can do.
            return Err(VirError::new(
                ErrorCode::OPERATION_UNSUPPORTED,
                "cannot set time: qemu doesn't support rtc-reset-reinjection command",
            )
            .hint("the domain is not running"));
        }
        let job = acquire(domain, Request::ModifyLive, "domtime", client).await?;
        let vm = running(domain)?;
        let (domain, client) = (Arc::clone(domain), Arc::clone(client));
        self.detached(async move {
            let _job = job;
            let mut turn = Turn::take(&domain, "domtime", &client).await?;
            turn.execute(cmd::guest::set_time(nanoseconds), None).await?;
            // Only machines with an interrupt-driven clock have ticks to make up for.
            let reset = Command::<qmp::Ack>::new("rtc-reset-reinjection");
            match vm.monitor.execute(reset).await {
                Err(MonitorError::Qmp(error)) if error.is_command_not_found() => Ok(()),
                other => other.map(|_| ()).map_err(|error| monitor_error(&error)),
            }
        })
        .await
    }

    /// Freezes the guest's file systems, all or those mounted at the given places; how many.
    ///
    /// # Errors
    /// As [`Engine::ask_agent`].
    pub async fn guest_freeze(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        places: Vec<String>,
        client: &Arc<str>,
    ) -> Result<i64, VirError> {
        running(domain)?;
        let command = if places.is_empty() {
            cmd::guest::fsfreeze_freeze()
        } else {
            Command::new("guest-fsfreeze-freeze-list").arg("mountpoints", places)
        };
        let verb = "domfsfreeze";
        let (engine, domain) = (Arc::clone(self), Arc::clone(domain));
        let client = Arc::clone(client);
        self.detached(async move {
            let mut turn = Turn::take(&domain, verb, &client).await?;
            let before = engine.freezes.freezes(&client, &domain);
            let told = turn.execute(command, None).await;
            // An agent that is late may freeze yet.
            if told.as_ref().is_err_and(|error| error.code == ErrorCode::AGENT_COMMAND_FAILED) {
                engine.freezes.refused(&domain, before);
            }
            told
        })
        .await
    }

    /// Thaws all of the guest's file systems; how many.
    ///
    /// # Errors
    /// As [`Engine::ask_agent`].
    pub async fn guest_thaw(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        client: &Arc<str>,
    ) -> Result<i64, VirError> {
        running(domain)?;
        let command = cmd::guest::fsfreeze_thaw();
        let count = self.ask_agent(domain, command, "domfsthaw", client).await?;
        self.freezes.thawed(domain);
        Ok(count)
    }

    /// Gives blocks that the guest's file systems do not use back to its disks.
    ///
    /// # Errors
    /// As [`Engine::ask_agent`].
    pub async fn guest_trim(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        minimum: u64,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        let command = Command::<qmp::Ack>::new("guest-fstrim").arg("minimum", minimum);
        self.ask_agent(domain, command, "domfstrim", client).await.map(|_| ())
    }

    /// Sets a password inside the guest.
    ///
    /// # Errors
    /// As [`Engine::ask_agent`].
    pub async fn set_guest_password(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        user: &str,
        password: &str,
        crypted: bool,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        running(domain)?;
        let command = Command::<qmp::Ack>::new("guest-set-user-password")
            .arg("username", user)
            .arg("password", units::base64::encode(password.as_bytes()))
            .arg("crypted", crypted);
        self.ask_agent(domain, command, "set-user-password", client).await.map(|_| ())
    }

    /// Has the guest suspend itself: 0 to memory, 1 to disk, 2 to both.
    ///
    /// # Errors
    /// Another target, and as [`Engine::ask_agent`].
    pub async fn guest_suspend(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        target: u32,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        let command = match target {
            0 => cmd::guest::suspend_ram(),
            1 => cmd::guest::suspend_disk(),
            2 => cmd::guest::suspend_hybrid(),
            other => {
                return Err(VirError::invalid_arg(format!("Unknown suspend target: {other}")));
            }
        };
        if let Some(live) = &domain.snapshot().live {
            let pm = live.definition.pm.as_ref();
            let is_off = |state: Option<&PmState>| state.is_some_and(|s| s.enabled == YesNo::No);
            let memory = is_off(pm.and_then(|pm| pm.suspend_to_mem.as_ref()));
            let disk = is_off(pm.and_then(|pm| pm.suspend_to_disk.as_ref()));
            let off = match target {
                0 | 2 if memory => Some("S3"),
                1 if disk => Some("S4"),
                _ => None,
            };
            if let Some(state) = off {
                return Err(VirError::internal(format!(
                    "{state} state is disabled for this domain"
                )));
            }
        }
        self.order_agent(domain, command, "dompmsuspend", client).await
    }

    /// The guest's network interfaces as its agent tells them.
    ///
    /// # Errors
    /// As [`Engine::ask_agent`].
    pub async fn guest_interfaces(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        client: &Arc<str>,
    ) -> Result<Vec<GuestInterface>, VirError> {
        running(domain)?;
        let command = cmd::guest::network_get_interfaces();
        let answer = self.ask_agent(domain, command, "domifaddr", client).await?;
        Ok(answer.iter().filter_map(GuestInterface::from_json).take(MAX_INTERFACES).collect())
    }
}

impl Engine {
    /// Addresses of the guest's network interfaces as the host's neighbour table has them
    /// (`/proc/net/arp`).
    pub fn arp_addresses(&self, domain: &Domain) -> Vec<GuestInterface> {
        let snapshot = domain.snapshot();
        let Some(live) = &snapshot.live else { return Vec::new() };
        let table = std::fs::read_to_string("/proc/net/arp").unwrap_or_default();
        let interfaces = live.definition.devices.iter().flat_map(|devices| &devices.interfaces);
        interfaces
            .into_iter()
            .filter_map(|interface| {
                let name = interface.target.as_ref()?.dev.clone()?;
                let mac = interface.mac.as_ref()?.address.to_string();
                let addresses = neighbours(&table, &mac);
                (!addresses.is_empty()).then_some(GuestInterface {
                    name,
                    mac: Some(mac),
                    addresses,
                })
            })
            .collect()
    }
}

/// The IPv4 addresses of a hardware address in the kernel's table. Its netmasks are of no use.
fn neighbours(table: &str, mac: &str) -> Vec<(bool, String, u32)> {
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let address = fields.next()?;
            let known = fields.nth(2)?.eq_ignore_ascii_case(mac);
            known.then(|| (false, address.to_owned(), 0))
        })
        .collect()
}

/// Most interfaces and addresses taken from a guest's answer.
const MAX_INTERFACES: usize = 2048;

/// A network interface inside the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestInterface {
    /// Its name there.
    pub name: String,
    /// Its hardware address.
    pub mac: Option<String>,
    /// Addresses with the lengths of their prefixes; true for IPv6.
    pub addresses: Vec<(bool, String, u32)>,
}

impl GuestInterface {
    fn from_json(value: &Value) -> Option<Self> {
        let text = |value: &Value, key| value.get(key)?.as_str().map(str::to_owned);
        let addresses = value.get("ip-addresses").and_then(Value::as_array);
        Some(Self {
            name: text(value, "name")?,
            mac: text(value, "hardware-address"),
            addresses: addresses
                .into_iter()
                .flatten()
                .take(MAX_INTERFACES)
                .filter_map(|address| {
                    let v6 = address.get("ip-address-type")?.as_str()? == "ipv6";
                    let prefix = u32::try_from(address.get("prefix")?.as_u64()?).ok()?;
                    Some((v6, text(address, "ip-address")?, prefix))
                })
                .collect(),
        })
    }
}

fn malformed(command: &str, member: &str) -> VirError {
    VirError::internal(format!("malformed return value of '{command}': no '{member}'"))
}

/// A command from its JSON text.
fn command_from(text: &str) -> Result<Raw, VirError> {
    let refused = |why: String| VirError::internal(format!("cannot parse json {text}: {why}"));
    let value: Value = serde_json::from_str(text).map_err(|error| refused(error.to_string()))?;
    let Value::Object(mut object) = value else {
        return Err(refused("not an object".to_owned()));
    };
    if object.contains_key("id") {
        // The conversation is the daemon's, and so are its numbers.
        return Err(VirError::internal("Unable to append command 'id' string"));
    }
    // What QEMU would say, in its words; the command itself is put together anew.
    let member = |name: &str, what: &str| {
        Ok(Raw::Refused(format!("QMP input {}", what.replace("{}", name))))
    };
    let known = ["execute", "exec-oob", "arguments"];
    if let Some(name) = object.keys().find(|key| !known.contains(&key.as_str())) {
        return member(name, "member '{}' is unexpected");
    }
    let oob = object.contains_key("exec-oob");
    let name = match object.remove("execute").or_else(|| object.remove("exec-oob")) {
        Some(Value::String(name)) => name,
        Some(_) => return member("execute", "member '{}' must be a string"),
        None => return member("execute", "lacks member '{}'"),
    };
    let command = match object.remove("arguments") {
        None => Command::new(name),
        Some(Value::Object(arguments)) => Command::new(name).args(arguments),
        Some(_) => return member("arguments", "member '{}' must be an object"),
    };
    Ok(Raw::Command(if oob { command.out_of_band() } else { command }))
}

/// A raw command as a client wrote it.
enum Raw {
    Command(Command<Value>),
    /// QEMU would refuse it, saying this.
    Refused(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_from_their_text() {
        let check = |text: &str, expected: Result<&str, &str>| {
            let got = command_from(text);
            match (got, expected) {
                (Ok(Raw::Refused(why)), Ok(said)) => assert_eq!(why, said),
                (Ok(Raw::Command(command)), Ok(wire)) => {
                    assert_eq!(String::from_utf8_lossy(&command.encode(None)).trim(), wire);
                }
                (Err(error), Err(part)) => assert!(error.detail.contains(part), "{error}"),
                _ => panic!("{text}: {expected:?}"),
            }
        };
        check("{\"execute\":\"query-status\"}", Ok("{\"execute\":\"query-status\"}"));
        check(
            "{ \"arguments\": {\"a\": 1}, \"execute\": \"x\" }",
            Ok("{\"execute\":\"x\",\"arguments\":{\"a\":1}}"),
        );
        check("{\"exec-oob\":\"x\"}", Ok("{\"exec-oob\":\"x\"}"));
        check("", Err("cannot parse json"));
        check("[]", Err("not an object"));
        check("{\"execute\":\"x\",\"id\":1}", Err("Unable to append command 'id' string"));
        check("{}", Ok("QMP input lacks member 'execute'"));
        check("{\"execute\":5}", Ok("QMP input member 'execute' must be a string"));
        check("{\"execute\":\"x\",\"a\":1}", Ok("QMP input member 'a' is unexpected"));
        check(
            "{\"execute\":\"x\",\"arguments\":3}",
            Ok("QMP input member 'arguments' must be an object"),
        );
    }

    #[test]
    fn neighbours_by_hardware_address() {
        let table = "IP address  HW type  Flags  HW address  Mask  Device\n\
            10.0.0.2 0x1 0x2 52:54:00:AA:00:01 * virbr0\n10.0.0.3 0x1 0x0 00:00:00:00:00:00 * x\n";
        let found = neighbours(table, "52:54:00:aa:00:01");
        assert_eq!(found, [(false, "10.0.0.2".to_owned(), 0)]);
        assert_eq!(neighbours("", "52:54:00:aa:00:01"), []);
    }

    #[test]
    fn interfaces_of_odd_guests_do_no_harm() {
        let value = serde_json::json!({
            "name": "eth0", "hardware-address": "52:54:00:00:00:01",
            "ip-addresses": [
                {"ip-address": "10.0.2.15", "ip-address-type": "ipv4", "prefix": 24},
                {"ip-address": "fe80::1", "ip-address-type": "ipv6", "prefix": 64},
                {"ip-address": 3}, null,
            ],
        });
        let interface = GuestInterface::from_json(&value).expect("an interface");
        assert_eq!(
            interface.addresses,
            [(false, "10.0.2.15".into(), 24), (true, "fe80::1".into(), 64)]
        );
        for odd in [serde_json::json!(null), serde_json::json!({"name": 3}), serde_json::json!([])]
        {
            assert_eq!(GuestInterface::from_json(&odd), None);
        }
    }
}
