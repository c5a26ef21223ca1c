//! Being written.

use crate::bind::{Request, unsupported};
use crate::{Libvirt, Session};
use rpc::server::Outcome;
use std::sync::Arc;

pub(crate) fn call(
    _service: &Libvirt,
    _session: &Arc<Session>,
    request: Request<'_, '_>,
) -> Outcome {
    Outcome::Error(unsupported(request.call.program, request.call.procedure))
}
