//! Being written.

use crate::bind::Request;
use crate::{Bound, Libvirt, Session};
use protocol::remote::Procedure;
use std::sync::Arc;

pub(crate) fn call<'a, 'b>(
    _service: &Libvirt,
    _session: &Arc<Session>,
    _procedure: Procedure,
    request: Request<'a, 'b>,
) -> Bound<'a, 'b> {
    Bound::NotMine(request)
}
