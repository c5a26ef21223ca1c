//! Secrets.

use crate::bind::{Request, blocking, now};
use crate::events::Family;
use crate::storage::{at_most, count, flags as flags_of};
use crate::{Bound, Libvirt, Session, listen};
use diag::{ErrorDomain, VirError};
use engine::secrets::Secret;
use protocol::remote::{self, NonnullSecret, Procedure, procs};
use std::sync::Arc;
use units::Uuid;

/// `VIR_SECRET_DEFINE_VALIDATE`.
const VALIDATE: u32 = 1;

pub(crate) fn call<'a, 'b>(
    service: &Libvirt,
    session: &Arc<Session>,
    procedure: Procedure,
    request: Request<'a, 'b>,
) -> Bound<'a, 'b> {
    let secrets = service.engine.secrets.clone();
    Bound::Done(match procedure {
        Procedure::ConnectNumOfSecrets => now::<procs::ConnectNumOfSecrets>(request, |()| {
            Ok(remote::ConnectNumOfSecretsRet { num: count(secrets.list(0)?.len()) })
        }),
        Procedure::ConnectListSecrets => now::<procs::ConnectListSecrets>(request, |args| {
            let all = secrets.list(0)?;
            let uuids = all.iter().map(|secret| secret.reference().uuid.to_string()).collect();
            Ok(remote::ConnectListSecretsRet { uuids: at_most(uuids, args.maxuuids) })
        }),
        Procedure::ConnectListAllSecrets => now::<procs::ConnectListAllSecrets>(request, |args| {
            let found = secrets.list(args.flags)?;
            let ret = u32::try_from(found.len()).unwrap_or(u32::MAX);
            let secrets = match args.need_results {
                0 => Vec::new(),
                _ => found.iter().map(wire).collect(),
            };
            Ok(remote::ConnectListAllSecretsRet { secrets, ret })
        }),
        Procedure::SecretLookupByUuid => now::<procs::SecretLookupByUuid>(request, |args| {
            let secret = wire(&secrets.by_uuid(Uuid(args.uuid))?);
            Ok(remote::SecretLookupByUuidRet { secret })
        }),
        Procedure::SecretLookupByUsage => now::<procs::SecretLookupByUsage>(request, |args| {
            let secret = wire(&secrets.by_usage(args.usage_type, &args.usage_id)?);
            Ok(remote::SecretLookupByUsageRet { secret })
        }),
        Procedure::SecretDefineXml => blocking::<procs::SecretDefineXml>(request, move |args| {
            flags(args.flags, VALIDATE, "secretDefineXML")?;
            let secret = wire(&secrets.define(&args.xml, args.flags & VALIDATE != 0)?);
            Ok(remote::SecretDefineXmlRet { secret })
        }),
        Procedure::SecretGetXmlDesc => now::<procs::SecretGetXmlDesc>(request, |args| {
            flags(args.flags, 0, "secretGetXMLDesc")?;
            let xml = secrets.by_uuid(Uuid(args.secret.uuid))?.xml();
            Ok(remote::SecretGetXmlDescRet { xml })
        }),
        Procedure::SecretSetValue => blocking::<procs::SecretSetValue>(request, move |args| {
            flags(args.flags, 0, "secretSetValue")?;
            secrets.set_value(Uuid(args.secret.uuid), &args.value)
        }),
        Procedure::SecretGetValue => now::<procs::SecretGetValue>(request, |args| {
            flags(args.flags, 0, "secretGetValue")?;
            let value = secrets.public_value(Uuid(args.secret.uuid))?.to_vec();
            Ok(remote::SecretGetValueRet { value })
        }),
        Procedure::SecretUndefine => blocking::<procs::SecretUndefine>(request, move |args| {
            secrets.undefine(Uuid(args.secret.uuid))
        }),
        Procedure::ConnectSecretEventRegisterAny => {
            let outcome = now::<procs::ConnectSecretEventRegisterAny>(request, |args| {
                let only = match &args.secret {
                    Some(secret) => Some(secrets.by_uuid(Uuid(secret.uuid))?.reference().uuid),
                    None => None,
                };
                let callback_id = session.callbacks().add_secret(args.event_id, only)?;
                Ok(remote::ConnectSecretEventRegisterAnyRet { callback_id })
            });
            listen(&service.engine, session);
            outcome
        }
        Procedure::ConnectSecretEventDeregisterAny => {
            now::<procs::ConnectSecretEventDeregisterAny>(request, |args| {
                session.callbacks().remove(Family::Secret, args.callback_id)
            })
        }
        _ => return Bound::NotMine(request),
    })
}

/// A secret as the wire names it.
fn wire(secret: &Secret) -> NonnullSecret {
    crate::events::wire_secret(&secret.reference())
}

/// Refuses flags that a function does not know.
fn flags(given: u32, known: u32, function: &str) -> Result<(), VirError> {
    flags_of(given, known, function).map_err(|error| error.from_domain(ErrorDomain::SECRET))
}
