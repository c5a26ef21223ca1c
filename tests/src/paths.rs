//! Where things are: the checkout, the program under test, the cache.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The checkout's top folder.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace")
}

/// A file of the tests crate, by its path below `tests/`.
pub fn fixture(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// The `ironvirt` program under test. Built on the first call, so that it is never older than the
/// tests; `IRONVIRT_BIN` names another.
pub fn ironvirt() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| match env::var_os("IRONVIRT_BIN") {
        Some(path) => path.into(),
        None => build(),
    })
}

fn build() -> PathBuf {
    // This test runs as TARGET/PROFILE/deps/NAME-HASH.
    let exe = env::current_exe().expect("the path of this test");
    let profile_dir = exe.ancestors().nth(2).expect("a cargo target folder").to_owned();
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--package", "ironvirt", "--target-dir"]);
    cargo.arg(profile_dir.parent().expect("a profile folder lies in a target folder"));
    if profile_dir.ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo.current_dir(workspace()).status().expect("cargo runs");
    assert!(status.success(), "cargo cannot build the ironvirt program");
    profile_dir.join("ironvirt")
}

/// A folder that outlives the test run, for guests that take seconds to build.
pub fn cache() -> PathBuf {
    let path = match env::var_os("IRONVIRT_CACHE") {
        Some(path) => path.into(),
        None => {
            PathBuf::from(format!("/var/tmp/ironvirt-cache-{}", rustix::process::getuid().as_raw()))
        }
    };
    std::fs::create_dir_all(&path).expect("the cache folder can be made");
    path
}

/// Whether the tests run as root: system mode then, session mode otherwise.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
