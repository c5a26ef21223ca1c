//! libvirt's RPC programs: procedures and typed messages.
