//! Secrets on disk and in memory.

use super::Secrets;
use crate::events::{Event, EventBus, SecretEvent};
use crate::layout::Layout;
use diag::ErrorCode;
use plan::{SecretBy, SecretRef};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use units::Uuid;

const ONE: &str = "11111111-2222-3333-4444-555555555501";

struct World {
    _folder: tempfile::TempDir,
    secrets: Secrets,
    files: PathBuf,
    layout: Layout,
    events: Arc<EventBus>,
}

fn world() -> World {
    let folder = tempfile::Builder::new().prefix("iv-").tempdir_in("/var/tmp").unwrap();
    let layout = Layout::system(folder.path()).unwrap();
    let events = Arc::<EventBus>::default();
    let files = layout.secret_config();
    let secrets = Secrets::new(&layout, &events);
    World { _folder: folder, secrets, files, layout, events }
}

fn xml(uuid: &str, attrs: &str, usage: &str) -> String {
    format!("<secret {attrs}><uuid>{uuid}</uuid>{usage}</secret>")
}

fn volume(path: &str) -> String {
    format!("<usage type='volume'><volume>{path}</volume></usage>")
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn what_is_stored_is_there_after_a_restart() {
    let world = world();
    let uuid: Uuid = ONE.parse().unwrap();
    world.secrets.define(&xml(ONE, "", &volume("/v")), false).unwrap();
    let error = world.secrets.public_value(uuid).unwrap_err();
    assert_eq!(error.code, ErrorCode::NO_SECRET);
    world.secrets.set_value(uuid, b"a\0b").unwrap();
    let value = world.files.join(format!("{ONE}.base64"));
    assert_eq!(std::fs::read_to_string(&value).unwrap(), "YQBi");
    assert_eq!((mode(&value), mode(&world.files)), (0o600, 0o700));

    // What makes no sense stops nobody.
    std::fs::write(world.files.join("x.xml"), "<secret/>").unwrap();
    std::fs::write(world.files.join(format!("{}.xml", Uuid::NIL)), "<secr").unwrap();
    let again = Secrets::new(&world.layout, &world.events);
    again.load();
    assert_eq!(again.list(0).unwrap().len(), 1);
    assert_eq!(&*again.public_value(uuid).unwrap(), b"a\0b");
    assert!(again.by_uuid(uuid).unwrap().xml().contains("<volume>/v</volume>"));
    // A value that others may write is not believed.
    std::fs::set_permissions(&value, PermissionsExt::from_mode(0o666)).unwrap();
    let again = Secrets::new(&world.layout, &world.events);
    again.load();
    assert!(again.public_value(uuid).is_err());
}

#[test]
fn ephemeral_secrets_are_on_no_disk() {
    let world = world();
    let uuid: Uuid = ONE.parse().unwrap();
    world.secrets.define(&xml(ONE, "ephemeral='yes'", &volume("/v")), false).unwrap();
    world.secrets.set_value(uuid, b"abc").unwrap();
    assert!(!world.files.exists() || world.files.read_dir().unwrap().next().is_none());
    // One that shall be kept from now on is, with its value; and the other way round.
    world.secrets.define(&xml(ONE, "", &volume("/v")), false).unwrap();
    assert_eq!(world.files.read_dir().unwrap().count(), 2);
    world.secrets.define(&xml(ONE, "ephemeral='yes'", &volume("/v")), false).unwrap();
    assert_eq!(world.files.read_dir().unwrap().count(), 0);
    assert_eq!(&*world.secrets.public_value(uuid).unwrap(), b"abc");
}

#[test]
fn a_secret_keeps_its_use_and_its_privacy() {
    let world = world();
    let define = |xml: String| world.secrets.define(&xml, false);
    define(xml(ONE, "private='yes'", &volume("/v"))).unwrap();
    for (text, expected) in [
        (
            xml(ONE, "private='yes'", &volume("/w")),
            format!("a secret with UUID {ONE} is already defined for use with /v"),
        ),
        (
            xml("11111111-2222-3333-4444-555555555502", "", &volume("/v")),
            format!("a secret with UUID {ONE} already defined for use with /v"),
        ),
        (xml(ONE, "", &volume("/v")), "cannot change private flag on existing secret".to_owned()),
    ] {
        let error = define(text).unwrap_err();
        assert_eq!((error.code, error.detail), (ErrorCode::INTERNAL_ERROR, expected));
    }
    // Without a use there is nothing to share.
    define("<secret/>".to_owned()).unwrap();
    define("<secret/>".to_owned()).unwrap();
    let count = |flags| world.secrets.list(flags).unwrap().len();
    assert_eq!([count(0), count(4), count(8), count(1), count(2)], [3, 1, 2, 0, 3]);
    assert!(world.secrets.list(16).is_err());
}

#[test]
fn private_values_are_for_starts_only() {
    let world = world();
    let uuid: Uuid = ONE.parse().unwrap();
    world.secrets.define(&xml(ONE, "private='yes'", &volume("/v")), false).unwrap();
    let wanted = |usage_type: &str, by: SecretBy| SecretRef {
        usage_type: usage_type.into(),
        by,
        master_key: String::new(),
        text: None,
    };
    let by_uuid = || SecretBy::Uuid(ONE.into());
    let missing = world.secrets.resolve(&wanted("volume", by_uuid())).unwrap_err();
    assert_eq!(missing.detail, format!("secret '{ONE}' does not have a value"));
    world.secrets.set_value(uuid, b"abc").unwrap();
    let refused = world.secrets.public_value(uuid).unwrap_err();
    assert_eq!(refused.code, ErrorCode::INVALID_SECRET);
    assert_eq!(&*world.secrets.resolve(&wanted("volume", by_uuid())).unwrap(), b"abc");
    let by_usage = wanted("volume", SecretBy::Usage("/v".into()));
    assert_eq!(&*world.secrets.resolve(&by_usage).unwrap(), b"abc");
    let other = world.secrets.resolve(&wanted("ceph", by_uuid())).unwrap_err();
    assert_eq!(
        other.detail,
        format!("secret with uuid {ONE} is of type 'volume' not expected 'ceph' type")
    );
    let none = world.secrets.resolve(&wanted("ceph", SecretBy::Usage("/v".into())));
    assert_eq!(none.unwrap_err().detail, "no secret with matching usage '/v'");
}

#[test]
fn events_tell_what_happens() {
    let world = world();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let subscription = {
        let seen = Arc::clone(&seen);
        world.events.subscribe(Arc::new(move |event| {
            if let Event::Secret(secret, event) = event {
                seen.lock().unwrap().push((secret.usage.to_string(), *event));
            }
        }))
    };
    let uuid: Uuid = ONE.parse().unwrap();
    world.secrets.define(&xml(ONE, "", &volume("/v")), false).unwrap();
    world.secrets.set_value(uuid, b"abc").unwrap();
    world.secrets.undefine(uuid).unwrap();
    assert!(world.secrets.undefine(uuid).is_err());
    drop(subscription);
    let seen: Vec<_> = seen.lock().unwrap().iter().map(|(_, event)| *event).collect();
    use SecretEvent::{Lifecycle, ValueChanged};
    assert_eq!(seen, [Lifecycle(0), ValueChanged, Lifecycle(1)]);
    assert_eq!(world.files.read_dir().unwrap().count(), 0);
}
