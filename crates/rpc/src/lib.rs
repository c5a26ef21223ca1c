//! libvirt's wire: frames, server connections, client.
