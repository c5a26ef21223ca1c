//! What the tests share: a private daemon under a folder of its own, real clients against it,
//! guests small enough to boot under TCG, and runners for golden files and scripts.
//!
//! Nothing here touches the machine's own libvirt: every daemon lives under a `--root` of its own,
//! and tests that need the real paths run in a mount namespace ([`namespace::inside`]). Whatever a
//! test starts is gone when it ends, also when it fails: see [`daemon::Daemon`].
//!
//! Environment of a test run:
//!
//! | variable | meaning |
//! |---|---|
//! | `IRONVIRT_BIN` | the program under test (default: built by cargo when first needed) |
//! | `IRONVIRT_TEST_SOCKET` | test the libvirt daemon behind this socket instead: shows whether a test's expectation is libvirt's behaviour |
//! | `IRONVIRT_CACHE` | where built guests are kept (default: `/var/tmp/ironvirt-cache-UID`) |
//! | `UPDATE=1` | rewrite golden files and scripts to what is there now |

pub mod between;
pub mod chains;
pub mod client;
pub mod daemon;
pub mod domains;
pub mod golden;
pub mod groups;
pub mod guests;
pub mod killing;
pub mod machined;
pub mod mutate;
pub mod namespace;
pub mod on_host;
pub mod paths;
pub mod plugging;
pub mod processes;
pub mod redact;
pub mod saving;
pub mod script;
pub mod tree;
pub mod truth;
pub mod wait;
pub mod wire;

pub use client::{Outcome, python, tool};
pub use daemon::{Daemon, Options};
