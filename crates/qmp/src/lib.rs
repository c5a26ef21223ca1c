//! QMP and guest-agent codec: framing, typed commands and events.
