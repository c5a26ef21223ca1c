//! Object + capabilities + host facts → steps, as data.
