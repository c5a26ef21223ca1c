//! Derive macros that declare the XML form of a type once.
