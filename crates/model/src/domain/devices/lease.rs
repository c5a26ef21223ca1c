//! Leases of a lock manager.

use crate::domain::prelude::*;

/// One lease.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Lease {
    /// Element `<lockspace>`.
    #[xml(child_text)]
    pub lockspace: Option<String>,
    /// Element `<key>`.
    #[xml(child_text, missing = (ErrorCode::XML_ERROR, "Missing 'key' element for lease"))]
    pub key: String,
    /// Element `<target>`.
    #[xml(child)]
    pub target: LeaseTarget,
}

/// Where the lease is kept.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct LeaseTarget {
    /// Attribute `path`.
    #[xml(attr)]
    pub path: String,
    /// Attribute `offset`.
    #[xml(attr)]
    pub offset: Option<u64>,
}
