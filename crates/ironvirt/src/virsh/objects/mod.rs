//! The smaller kinds of objects: host interfaces, filters, node devices, secrets.

mod bridge;
mod filter;
mod interface;
mod nodedev;
mod secret;

pub use bridge::*;
pub use filter::*;
pub use interface::*;
pub use nodedev::*;
pub use secret::*;

use super::cmd::Cmd;
use super::conn::call;
use super::ctl::{Ctl, put, say};
use super::domain::{describe_lifecycle, print_event, print_xml, watch};
use super::edit;
use super::fail::{Context, Fail, Outcome, fail};
use super::storage::event_kind;
use super::table::Table;
use super::util::{parse_uuid, read_file, uuid_text};
use protocol::remote::events as ev;
