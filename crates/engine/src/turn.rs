//! What comes of a call that may have to wait for another one: it is done, or somebody is to wait
//! for it where waiting costs no thread.

use diag::VirError;
use std::future::Future;
use std::pin::Pin;

/// The result of a call, or the rest of it. Dropping the rest gives the call up.
#[must_use = "a call that waits is done by whoever awaits it"]
pub enum Turn<T> {
    /// It is done.
    Done(Result<T, VirError>),
    /// It waits for its turn.
    Waits(Pin<Box<dyn Future<Output = Result<T, VirError>> + Send>>),
}

impl<T: Send + 'static> Turn<T> {
    /// Waits for the result where there is none yet.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn wait(self) -> Result<T, VirError> {
        match self {
            Self::Done(result) => result,
            Self::Waits(rest) => rest.await,
        }
    }
}

impl<T> std::fmt::Debug for Turn<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Done(_) => "Done",
            Self::Waits(_) => "Waits",
        })
    }
}
