//! From bytes to a typed call and back: what every procedure has in common.

use diag::{ErrorCode, ErrorDomain, VirError};
use engine::Turn;
use protocol::info::ReadOnly;
use protocol::{Procedure, ProcedureInfo};
use rpc::server::{BoxFuture, Call, Outcome};
use std::future::Future;
use xdr::{Decode, Decoder, Encode, Encoder};

/// What one call may need: its arguments, and where the answer goes.
pub struct Request<'a, 'b> {
    /// The call.
    pub call: Call<'a>,
    /// The end of the connection's output.
    pub reply: &'b mut Vec<u8>,
    /// The client may only read.
    pub read_only: bool,
}

/// Reads the arguments of `P` and checks that a read-only client may make the call.
pub fn arguments<P: Procedure>(request: &Request<'_, '_>) -> Result<P::Args, VirError> {
    let args = P::Args::decode(&mut Decoder::lossy(request.call.payload))
        .map_err(|_| rpc_error("Unable to decode message payload"))?;
    if request.read_only && !P::read_only_admits(&args) {
        let info = protocol::info(P::PROGRAM, P::NUMBER);
        return Err(info.map_or_else(
            || unsupported(P::PROGRAM, P::NUMBER),
            |info| read_only_refusal(P::PROGRAM, info),
        ));
    }
    Ok(args)
}

/// Carries out a call whose answer is ready.
pub fn now<P: Procedure>(
    request: Request<'_, '_>,
    answer: impl FnOnce(P::Args) -> Result<P::Ret, VirError>,
) -> Outcome {
    match arguments::<P>(&request).and_then(answer) {
        Ok(ret) => append(request.reply, &ret),
        Err(error) => refused::<P>(error),
    }
}

/// Carries out a call whose answer comes later. The future runs to its end whatever the client
/// does.
pub fn later<P: Procedure + 'static, F>(
    request: Request<'_, '_>,
    answer: impl FnOnce(P::Args) -> F,
) -> Outcome
where
    F: Future<Output = Result<P::Ret, VirError>> + Send + 'static,
{
    in_time::<P, F>(&request, answer, Outcome::Later)
}

/// As [`later`] for a call that only has to ask QEMU: it is asked from the connection's thread.
pub fn prompt<P: Procedure + 'static, F>(
    request: Request<'_, '_>,
    answer: impl FnOnce(P::Args) -> F,
) -> Outcome
where
    F: Future<Output = Result<P::Ret, VirError>> + Send + 'static,
{
    in_time::<P, F>(&request, answer, Outcome::Prompt)
}

fn in_time<P: Procedure + 'static, F>(
    request: &Request<'_, '_>,
    answer: impl FnOnce(P::Args) -> F,
    how: fn(BoxFuture<Outcome>) -> Outcome,
) -> Outcome
where
    F: Future<Output = Result<P::Ret, VirError>> + Send + 'static,
{
    let answer = match arguments::<P>(request) {
        Ok(args) => answer(args),
        Err(error) => return Outcome::Error(error),
    };
    how(Box::pin(async move {
        match answer.await {
            Ok(ret) => encode(&ret),
            Err(error) => refused::<P>(error),
        }
    }))
}

/// Carries out a call that may keep its thread busy (large texts, files) on a thread for that.
pub fn blocking<P: Procedure>(
    request: Request<'_, '_>,
    answer: impl FnOnce(P::Args) -> Result<P::Ret, VirError> + Send + 'static,
) -> Outcome
where
    P::Args: Send + 'static,
    P::Ret: Send + 'static,
{
    match arguments::<P>(&request) {
        Ok(args) => Outcome::blocking(move || match answer(args) {
            Ok(ret) => encode(&ret),
            Err(error) => refused::<P>(error),
        }),
        Err(error) => Outcome::Error(error),
    }
}

/// The same for a call that may have to wait for its turn, which it does where no thread waits
/// with it.
pub fn in_turn<P: Procedure, T: Send + 'static>(
    request: Request<'_, '_>,
    change: impl FnOnce(P::Args) -> Turn<T> + Send + 'static,
    ret: impl FnOnce(T) -> P::Ret + Send + 'static,
) -> Outcome
where
    P::Args: Send + 'static,
{
    let finish = move |result: Result<T, VirError>| match result {
        Ok(value) => encode(&ret(value)),
        Err(error) => refused::<P>(error),
    };
    match arguments::<P>(&request) {
        Ok(args) => Outcome::blocking(move || match change(args) {
            Turn::Done(result) => finish(result),
            Turn::Waits(rest) => Outcome::later(async move { finish(rest.await) }),
        }),
        Err(error) => Outcome::Error(error),
    }
}

/// The answer to a call that failed. Refused flags are said to be refused by the driver's function,
/// as libvirt words it.
pub fn refused<P: Procedure>(mut error: VirError) -> Outcome {
    let flags = error.verbatim && error.detail.starts_with("unsupported flags (");
    if flags && error.detail.ends_with(')') {
        let api = api_name(P::PROGRAM, P::NUMBER);
        let function = api.strip_prefix("vir").unwrap_or(api);
        error.detail.push_str(&format!(" in function qemu{function}"));
    }
    Outcome::Error(error)
}

/// Appends an answer to the connection's output.
pub fn append<T: Encode>(reply: &mut Vec<u8>, ret: &T) -> Outcome {
    let mut encoder = Encoder::append_to(std::mem::take(reply));
    ret.encode(&mut encoder);
    match encoder.finish() {
        Ok(bytes) => {
            *reply = bytes;
            Outcome::Reply
        }
        Err(error) => Outcome::Error(too_large(&error)),
    }
}

/// An answer as a payload of its own.
pub fn encode<T: Encode>(ret: &T) -> Outcome {
    match payload(ret) {
        Ok(bytes) => Outcome::ReplyWith(bytes),
        Err(error) => Outcome::Error(error),
    }
}

/// A message's bytes.
pub fn payload<T: Encode>(message: &T) -> Result<Vec<u8>, VirError> {
    let mut encoder = Encoder::new();
    message.encode(&mut encoder);
    encoder.finish().map_err(|error| too_large(&error))
}

fn too_large(error: &xdr::Error) -> VirError {
    rpc_error(&format!("Unable to encode message payload: {error}"))
}

/// An error of the protocol itself.
pub fn rpc_error(detail: &str) -> VirError {
    VirError::new(ErrorCode::RPC, detail).from_domain(ErrorDomain::RPC)
}

/// libvirt's answer to a call it has no driver function for.
pub fn unsupported(program: u32, procedure: i32) -> VirError {
    let info = protocol::info(program, procedure);
    VirError::new(ErrorCode::NO_SUPPORT, api_name(program, procedure))
        .from_domain(info.map_or(ErrorDomain::NONE, |info| reporter(program, info)))
}

/// Refuses a read-only client what no arguments make admissible: before any of them is read, and
/// whether or not we have the function.
pub fn admit(request: &Request<'_, '_>) -> Result<(), VirError> {
    let (program, procedure) = (request.call.program, request.call.procedure);
    let never = |info: &ProcedureInfo| info.read_only == ReadOnly::No && !info.event;
    match protocol::info(program, procedure) {
        Some(info) if request.read_only && never(info) => Err(read_only_refusal(program, info)),
        _ => Ok(()),
    }
}

/// libvirtd's answer to a read-only client that calls what it may not.
fn read_only_refusal(program: u32, info: &ProcedureInfo) -> VirError {
    let api = info.api;
    VirError::new(ErrorCode::OPERATION_DENIED, format!("read only access prevents {api}"))
        .from_domain(reporter(program, info))
}

/// The part of libvirt whose call a procedure is.
fn reporter(program: u32, info: &ProcedureInfo) -> ErrorDomain {
    let mut words = info.name.split('_');
    match (words.next(), words.next()) {
        _ if program != protocol::remote::PROGRAM => ErrorDomain::NONE,
        (Some("NETWORK"), _) => ErrorDomain::NETWORK,
        (Some("STORAGE"), _) | (Some("CONNECT"), Some("FIND")) => ErrorDomain::STORAGE,
        (Some("NODE"), Some("DEVICE")) => ErrorDomain::NODEDEV,
        (Some("NWFILTER"), _) => ErrorDomain::NWFILTER,
        (Some("INTERFACE"), _) => ErrorDomain::INTERFACE,
        (Some("SECRET"), _) => ErrorDomain::SECRET,
        _ => ErrorDomain::DOMAIN,
    }
}

/// The name of the library's function behind a procedure.
fn api_name(program: u32, procedure: i32) -> &'static str {
    protocol::info(program, procedure).map_or("this call", |info| info.api)
}
