//! The effects: processes, files, sockets, cgroups.
