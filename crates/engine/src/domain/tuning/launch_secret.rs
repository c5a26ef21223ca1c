//! Secrets for guests whose memory is encrypted, given before they run (`virsh
//! domsetlaunchsecstate`).

use super::super::affect::acquire;
use super::super::power::execute;
use super::super::record::Domain;
use crate::engine::Engine;
use crate::typed::{Kind, Params, Value, validate};
use diag::{ErrorCode, VirError};
use lifecycle::{Request, Status};
use model::domain::Domain as Definition;
use model::domain::launch_security::LaunchSecurity;
use qmp::{Ack, Command};
use std::sync::Arc;

const HEADER: &str = "sev-secret-header";
const SECRET: &str = "sev-secret";
const ADDRESS: &str = "sev-secret-set-address";

const KEYS: &[(&str, Kind)] =
    &[(HEADER, Kind::Text), (SECRET, Kind::Text), (ADDRESS, Kind::ULLong)];

impl Engine {
    /// Gives a guest under SEV its secret.
    ///
    /// # Errors
    /// For guests without SEV, those that already ran, and QEMU's refusal.
    pub async fn set_launch_secret(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        params: Params,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        validate(&params, KEYS)?;
        if !self.has_sev(domain)? {
            return Err(VirError::new(
                ErrorCode::OPERATION_UNSUPPORTED,
                "setting a launch secret is only supported in SEV-enabled domains",
            ));
        }
        let text = |key: &str| params.iter().find(|(name, _)| name == key)?.1.as_text();
        let (Some(header), Some(secret)) = (text(HEADER), text(SECRET)) else {
            return Err(VirError::invalid_arg(format!(
                "Both {HEADER} and {SECRET} parameters must be specified"
            )));
        };
        let mut command = Command::<Ack>::new("sev-inject-launch-secret")
            .arg("packet-header", header)
            .arg("secret", secret);
        if let Some((_, Value::ULLong(address))) = params.iter().find(|(name, _)| name == ADDRESS) {
            command = command.arg("gpa", *address);
        }
        let job = acquire(domain, Request::ModifyLive, "domsetlaunchsecstate", client).await?;
        let vm = super::running(domain)?;
        if !matches!(domain.snapshot().status, Status::Paused(_)) {
            return Err(VirError::invalid_state("domain must be in a paused state"));
        }
        self.detached(async move {
            let _job = job;
            execute(&vm, command).await.map(|_| ())
        })
        .await
    }

    fn has_sev(&self, domain: &Domain) -> Result<bool, VirError> {
        let sev = |definition: &Definition| {
            matches!(definition.launch_security, Some(LaunchSecurity::Sev(_)))
        };
        let snapshot = domain.snapshot();
        match (&snapshot.live, &snapshot.config) {
            (Some(live), _) => Ok(sev(&live.definition)),
            (None, Some(config)) => Ok(sev(&self.definition_of(config)?)),
            (None, None) => Err(super::not_running()),
        }
    }
}
