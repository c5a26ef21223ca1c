//! Pools on a folder of the test's own: their life, restarts, and files that come and go.

use super::{BuildOptions, CreateOptions, Piece, Pools, VolumeFlags};
use crate::events::{Event, EventBus, PoolEvent, Subscription};
use crate::layout::Layout;
use diag::ErrorCode;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

struct World {
    root: TempDir,
    layout: Layout,
    pools: Pools,
    seen: Arc<Mutex<Vec<PoolEvent>>>,
    _subscription: Subscription,
}

fn world() -> World {
    let root = tempfile::Builder::new().prefix("p").tempdir_in("/tmp").expect("a folder");
    let layout = Layout::system(root.path()).expect("a short root");
    fs::create_dir_all(layout.pool_config()).expect("a folder");
    fs::create_dir_all(layout.pool_run()).expect("a folder");
    let events = Arc::<EventBus>::default();
    let seen = Arc::<Mutex<Vec<PoolEvent>>>::default();
    let subscription = {
        let seen = Arc::clone(&seen);
        events.subscribe(Arc::new(move |event| {
            if let Event::Pool(_, event) = event {
                seen.lock().expect("no panic").push(*event);
            }
        }))
    };
    let pools = Pools::new(&layout, &events);
    pools.load().expect("nothing there");
    World { root, layout, pools, seen, _subscription: subscription }
}

impl World {
    fn folder(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn xml(&self, name: &str, folder: &str) -> String {
        let path = self.folder(folder);
        let path = path.display();
        format!("<pool type='dir'><name>{name}</name><target><path>{path}</path></target></pool>")
    }

    /// The same folder, seen by a daemon that starts now.
    fn again(&self) -> Pools {
        let pools = Pools::new(&self.layout, &Arc::default());
        pools.load().expect("folders are there");
        pools
    }
}

const BUILD: Option<BuildOptions> = Some(BuildOptions { overwrite: false, no_overwrite: false });

#[tokio::test]
async fn a_pools_life() {
    let world = world();
    let pools = &world.pools;
    let pool = pools.define(world.xml("a", "vols"), false).await.expect("defined");
    assert!(world.layout.pool_config().join("a.xml").exists());
    let error = pools.start(&pool, None).await.expect_err("no folder yet");
    assert_eq!(error.code, ErrorCode::SYSTEM_ERROR);
    assert!(error.detail.ends_with("No such file or directory"), "{error}");
    assert!(!pool.snapshot().active);
    pools.start(&pool, BUILD).await.expect("built and started");
    assert!(world.layout.pool_run().join("a.xml").exists());
    assert_eq!(pool.info().state, 2);
    assert!(pool.info().capacity > 0);
    pools.refresh(&pool).await.expect("refreshed");
    let error = pools.undefine(&pool).await.expect_err("active");
    assert_eq!(error.code, ErrorCode::OPERATION_INVALID);
    pools.destroy(&pool).await.expect("stopped");
    assert!(!world.layout.pool_run().join("a.xml").exists());
    pools.delete(&pool).await.expect("folder removed");
    assert!(!world.folder("vols").exists());
    pools.undefine(&pool).await.expect("undefined");
    assert!(pools.by_name("a").is_err());
    let error = pools.start(&pool, None).await.expect_err("gone");
    assert_eq!(error.code, ErrorCode::NO_STORAGE_POOL);
    use PoolEvent::{Lifecycle, Refresh};
    let numbers = [0, 4, 2];
    let mut expected: Vec<_> = numbers.map(Lifecycle).to_vec();
    expected.extend([Refresh, Lifecycle(3), Lifecycle(5), Lifecycle(1)]);
    assert_eq!(*world.seen.lock().expect("no panic"), expected);
}

#[tokio::test]
async fn names_uuids_and_folders_are_unique() {
    let world = world();
    let pools = &world.pools;
    let first = pools.define(world.xml("a", "one"), false).await.expect("defined");
    let failed = |error: diag::VirError| {
        assert_eq!(error.code, ErrorCode::OPERATION_FAILED);
        error.detail
    };
    let same_name = pools.define(world.xml("a", "two"), false).await.expect_err("same name");
    let expected = format!("pool 'a' already exists with uuid {}", first.uuid);
    assert_eq!(failed(same_name), expected);
    let same_folder = pools.define(world.xml("b", "one"), false).await.expect_err("same folder");
    assert_eq!(failed(same_folder), "Storage source conflict with pool: 'a'");
    let uuid = format!("<uuid>{}</uuid></pool>", first.uuid);
    let other = world.xml("b", "two").replace("</pool>", &uuid);
    let same_uuid = pools.define(other, false).await.expect_err("same uuid");
    let expected = format!("pool 'a' is already defined with uuid {}", first.uuid);
    assert_eq!(failed(same_uuid), expected);
    let moved = world.xml("a", "two").replace("</pool>", &uuid);
    pools.define(moved, false).await.expect("redefined");
    assert!(pools.by_name("a").expect("there").xml(true).contains("/two</path>"));
    assert_eq!(pools.all().len(), 1);
}

#[tokio::test]
async fn a_failed_create_leaves_nothing() {
    let world = world();
    let error = world.pools.create(world.xml("t", "none"), CreateOptions::default()).await;
    assert_eq!(error.expect_err("no folder").code, ErrorCode::SYSTEM_ERROR);
    assert!(world.pools.all().is_empty());
    let options = CreateOptions { build: BUILD, validate: false };
    let pool = world.pools.create(world.xml("t", "none"), options).await.expect("created");
    assert!(!pool.snapshot().persistent);
    let error = world.pools.set_autostart(&pool, true).await.expect_err("transient");
    assert_eq!(error.detail, "pool has no config file");
    world.pools.destroy(&pool).await.expect("stopped");
    assert!(world.pools.all().is_empty(), "a transient pool is forgotten");
}

#[tokio::test]
async fn the_next_daemon_takes_over() {
    let world = world();
    let kept = world.pools.define(world.xml("kept", "one"), false).await.expect("defined");
    world.pools.start(&kept, BUILD).await.expect("started");
    world.pools.set_autostart(&kept, true).await.expect("a link");
    let options = CreateOptions { build: BUILD, validate: false };
    world.pools.create(world.xml("brief", "two"), options).await.expect("created");
    world.pools.define(world.xml("idle", "three"), false).await.expect("defined");
    fs::write(world.layout.pool_config().join("broken.xml"), "<pool").expect("a file");
    fs::write(world.layout.pool_run().join("odd.xml"), "<poolstate/>").expect("a file");
    fs::write(world.folder("one/v.img"), b"12345").expect("a file");

    let pools = world.again();
    let states: Vec<_> = pools
        .all()
        .iter()
        .map(|pool| {
            let snapshot = pool.snapshot();
            (pool.name.to_string(), snapshot.active, snapshot.persistent, snapshot.autostart)
        })
        .collect();
    assert_eq!(
        states,
        [
            ("brief".to_owned(), true, false, false),
            ("idle".to_owned(), false, true, false),
            ("kept".to_owned(), true, true, true),
        ]
    );
    let kept = pools.by_name("kept").expect("there");
    let volume = pools.volume(&kept, "v.img").await.expect("found without a refresh");
    assert_eq!(volume.capacity, 5);
    assert!(world.layout.pool_config().join("broken.xml").exists(), "nothing is deleted");
}

#[tokio::test]
async fn files_come_and_go() {
    let world = world();
    let pools = &world.pools;
    let pool = pools.define(world.xml("a", "vols"), false).await.expect("defined");
    pools.start(&pool, BUILD).await.expect("started");
    let path = world.folder("vols/new.img");
    let text = path.display().to_string();
    let error = pools.volume_by_path(&text).await.expect_err("not there");
    assert_eq!(error.code, ErrorCode::NO_STORAGE_VOL);
    assert_eq!(error.detail, format!("no storage vol with matching path '{text}'"));
    fs::write(&path, b"content").expect("a file");
    let place = pools.volume_by_path(&text).await.expect("found without a refresh");
    assert_eq!(place.volume.key.as_deref(), Some(text.as_str()));
    fs::write(&path, b"longer content").expect("a file");
    assert_eq!(pools.volume_info(&pool, "new.img").await.expect("measured").capacity, 14);
    fs::remove_file(&path).expect("removed");
    let error = pools.volume_info(&pool, "new.img").await.expect_err("gone");
    assert_eq!(error.code, ErrorCode::NO_STORAGE_VOL);
    pools.delete_volume(&pool, "new.img", 0).await.expect("forgotten");
    // A folder that vanishes takes the pool's activity with it, not its definition.
    fs::remove_dir(world.folder("vols")).expect("removed");
    pools.refresh(&pool).await.expect_err("no folder");
    assert!(!pools.by_name("a").expect("still defined").snapshot().active);
}

#[tokio::test]
async fn volumes_are_made_and_their_bytes_moved() {
    let world = world();
    let pools = &world.pools;
    let pool = pools.define(world.xml("a", "vols"), false).await.expect("defined");
    pools.start(&pool, BUILD).await.expect("started");
    let xml = |name: &str| {
        format!(
            "<volume><name>{name}</name><capacity unit='K'>64</capacity>\
             <allocation>0</allocation></volume>"
        )
    };
    let flags = VolumeFlags::default();
    let place = pools.create_volume(&pool, xml("v"), flags, None).await.expect("made");
    assert_eq!((place.volume.capacity, place.volume.allocation), (65536, 0));
    let error = pools.create_volume(&pool, xml("v"), flags, None).await.expect_err("twice");
    assert_eq!(error.code, ErrorCode::STORAGE_VOL_EXIST);
    for (name, words) in [
        ("../v", "volume name '../v' cannot contain '/'"),
        ("..", "/..' already exists"),
        (".", "/.' already exists"),
    ] {
        let error = pools.create_volume(&pool, xml(name), flags, None).await.expect_err(name);
        assert_eq!(error.code, ErrorCode::OPERATION_INVALID);
        assert!(error.detail.ends_with(words), "{}", error.detail);
    }
    let mut upload = pools.upload(&pool, "v", 0, 0).await.expect("opened");
    upload.hole(16384).expect("a hole");
    upload.data(&[7; 100]).expect("bytes");
    let mut download = pools.download(&pool, "v", 16384, 100, false).await.expect("opened");
    assert_eq!(download.next(4096), Ok(Piece::Data(vec![7; 100])));
    assert_eq!(download.next(4096), Ok(Piece::End));
    let mut whole = pools.download(&pool, "v", 0, 0, true).await.expect("opened");
    let mut length = 0;
    loop {
        match whole.next(1 << 20).expect("readable") {
            Piece::Data(data) => length += data.len() as u64,
            Piece::Hole(hole) => length += hole,
            Piece::End => break,
        }
    }
    assert_eq!(length, 65536);
    let mut short = pools.upload(&pool, "v", 0, 10).await.expect("opened");
    short.data(&[1; 11]).expect_err("more than announced");
    pools.resize_volume(&pool, "v", 10, 0).await.expect_err("shrinking has to be asked for");
    pools.resize_volume(&pool, "v", 1024, 4).await.expect("shrunk");
    assert_eq!(pools.volume_info(&pool, "v").await.expect("there").capacity, 1024);
    pools.delete_volume(&pool, "v", 0).await.expect("deleted");
    assert!(!world.folder("vols/v").exists());
}

#[tokio::test]
async fn a_stuck_pool_blocks_no_other() {
    let world = world();
    let pools = &world.pools;
    let stuck = pools.define(world.xml("stuck", "one"), false).await.expect("defined");
    pools.start(&stuck, BUILD).await.expect("started");
    // Somebody is in the middle of a refresh that does not come back.
    let gate = Arc::clone(&stuck.gate).lock_owned().await;
    let waiting = {
        let (pools, stuck) = (pools.clone(), Arc::clone(&stuck));
        tokio::spawn(async move { pools.destroy(&stuck).await })
    };
    tokio::task::yield_now().await;
    let other = pools.define(world.xml("other", "two"), false).await.expect("defined");
    pools.start(&other, BUILD).await.expect("started");
    pools.refresh(&other).await.expect("refreshed");
    assert_eq!(pools.list(0).expect("no flags").len(), 2);
    assert!(stuck.xml(false).contains("<name>stuck</name>"));
    assert!(!waiting.is_finished());
    drop(gate);
    waiting.await.expect("no panic").expect("stopped");
}

#[tokio::test]
async fn other_types_are_kept_but_not_started() {
    let world = world();
    let xml = "<pool type='netfs'><name>n</name><source><host name='h'/><dir path='/x'/></source>\
               <target><path>/mnt</path></target></pool>";
    let pool = world.pools.define(xml.to_owned(), false).await.expect("kept");
    assert!(pool.xml(false).contains("<format type='auto'/>"));
    let error = world.pools.start(&pool, None).await.expect_err("not carried out");
    assert_eq!(error.code, ErrorCode::CONFIG_UNSUPPORTED);
    assert!(error.detail.contains("'netfs'"), "{error}");
    assert!(world.again().by_name("n").is_ok());
}
