//! Procedures of the wire bound to calls of the engine.
