//! Options that say how a node is opened.

use super::Image;
use crate::props::Props;
use model::domain::devices::disk::{CacheMode, DetectZeroes, DiscardMode};
use serde_json::{Value, json};

/// The `cache` member for a cache mode.
pub(super) fn cache(mode: Option<CacheMode>) -> Option<Value> {
    let (direct, no_flush) = match mode? {
        CacheMode::None | CacheMode::Directsync => (true, false),
        CacheMode::Writeback | CacheMode::Writethrough => (false, false),
        CacheMode::Unsafe => (false, true),
        CacheMode::Default => return None,
    };
    Some(json!({"direct": direct, "no-flush": no_flush}))
}

/// QEMU's word for a discard mode.
fn discard_word(mode: DiscardMode) -> &'static str {
    match mode {
        DiscardMode::Unmap => "unmap",
        DiscardMode::Ignore => "ignore",
    }
}

impl Image<'_> {
    /// Options of the node that stands for the image: what the disk asks for.
    pub(super) fn top_options(&self) -> Props {
        let options = &self.options;
        let discards = options.discard == Some(DiscardMode::Unmap);
        let zeroes = options.detect_zeroes.map(|mode| match mode {
            DetectZeroes::Off => "off",
            DetectZeroes::On => "on",
            // QEMU refuses to turn zeroes into discards that it may not pass on.
            DetectZeroes::Unmap if discards => "unmap",
            DetectZeroes::Unmap => "on",
        });
        Props::default()
            .set("read-only", options.read_only)
            .opt("discard", options.discard.map(discard_word))
            .opt("detect-zeroes", zeroes)
            .opt("cache", cache(options.cache))
    }

    /// Options of a node below the one that stands for the image. It becomes writable when that
    /// one does, and lets discards pass: the upper node decides about them.
    pub(super) fn lower_options(&self) -> Props {
        let props = match self.fdset.as_ref().filter(|set| set.single) {
            Some(set) => Props::default().set("read-only", self.options.read_only && !set.writable),
            None => Props::default().set("auto-read-only", true),
        };
        props.set("discard", "unmap").opt("cache", cache(self.options.cache))
    }
}
