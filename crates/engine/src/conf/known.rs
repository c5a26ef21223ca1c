//! The settings that libvirt's files may hold, and of what type each is: a wrong one is refused at
//! the start, also where nothing here depends on the setting yet.

use super::{ConfError, ConfFile};

/// Types of a file's settings (those that may have several types are left out).
#[derive(Debug)]
pub struct Known {
    numbers: &'static [&'static str],
    texts: &'static [&'static str],
    lists: &'static [&'static str],
}

/// `libvirtd.conf`.
pub const LIBVIRTD: Known = Known {
    numbers: &[
        "admin_keepalive_count",
        "admin_keepalive_required",
        "admin_max_client_requests",
        "admin_max_clients",
        "admin_max_queued_clients",
        "admin_max_workers",
        "admin_min_workers",
        "audit_level",
        "audit_logging",
        "keepalive_count",
        "keepalive_required",
        "listen_tcp",
        "listen_tls",
        "log_level",
        "max_anonymous_clients",
        "max_client_requests",
        "max_clients",
        "max_queued_clients",
        "max_workers",
        "min_workers",
        "ovs_timeout",
        "prio_workers",
        "tcp_min_ssf",
        "tls_no_sanity_certificate",
        "tls_no_verify_certificate",
    ],
    texts: &[
        "auth_tcp",
        "auth_tls",
        "auth_unix_ro",
        "auth_unix_rw",
        "ca_file",
        "cert_file",
        "crl_file",
        "host_uuid",
        "host_uuid_source",
        "key_file",
        "listen_addr",
        "log_filters",
        "log_outputs",
        "tcp_port",
        "tls_port",
        "tls_priority",
        "unix_sock_admin_perms",
        "unix_sock_dir",
        "unix_sock_group",
        "unix_sock_ro_perms",
        "unix_sock_rw_perms",
    ],
    lists: &["access_drivers", "sasl_allowed_username_list", "tls_allowed_dn_list"],
};

/// `qemu.conf`.
pub const QEMU: Known = Known {
    numbers: &[
        "auto_dump_bypass_cache",
        "auto_save_bypass_cache",
        "auto_shutdown_restore",
        "auto_shutdown_wait",
        "auto_start_bypass_cache",
        "auto_start_delay",
        "backup_tls_x509_verify",
        "chardev_tls",
        "chardev_tls_x509_verify",
        "default_tls_x509_verify",
        "dump_guest_core",
        "dynamic_ownership",
        "gluster_debug_level",
        "keepalive_count",
        "log_timestamp",
        "mac_filter",
        "max_files",
        "max_processes",
        "max_queued",
        "max_threads_per_process",
        "migrate_tls_force",
        "migrate_tls_x509_verify",
        "migration_port_max",
        "migration_port_min",
        "nbd_tls",
        "nographics_allow_host_audio",
        "relaxed_acs_check",
        "remember_owner",
        "remote_display_port_max",
        "remote_display_port_min",
        "remote_websocket_port_max",
        "remote_websocket_port_min",
        "seccomp_sandbox",
        "security_default_confined",
        "security_require_confined",
        "set_process_name",
        "spice_auto_unix_socket",
        "spice_sasl",
        "spice_tls",
        "storage_use_nbdkit",
        "virtiofsd_debug",
        "vnc_allow_host_audio",
        "vnc_auto_unix_socket",
        "vnc_sasl",
        "vnc_tls",
        "vnc_tls_x509_verify",
        "vxhs_tls",
    ],
    texts: &[
        "auto_dump_path",
        "auto_shutdown_poweroff",
        "auto_shutdown_try_save",
        "auto_shutdown_try_shutdown",
        "bridge_helper",
        "dbus_daemon",
        "deprecation_behavior",
        "dump_image_format",
        "group",
        "lock_manager",
        "memory_backing_dir",
        "migration_address",
        "migration_host",
        "pr_helper",
        "save_image_format",
        "sched_core",
        "slirp_helper",
        "snapshot_image_format",
        "spice_listen",
        "spice_password",
        "spice_sasl_dir",
        "stdio_handler",
        "swtpm_group",
        "swtpm_user",
        "user",
        "vnc_listen",
        "vnc_password",
        "vnc_sasl_dir",
    ],
    lists: &[
        "capability_filters",
        "cgroup_controllers",
        "cgroup_device_acl",
        "hugetlbfs_mount",
        "namespaces",
        "nvram",
    ],
};

/// `virtlockd.conf`.
pub const VIRTLOCKD: Known = Known {
    numbers: &["admin_max_clients", "log_level", "max_clients"],
    texts: &["log_filters", "log_outputs"],
    lists: &[],
};

/// `qemu-lockd.conf`.
pub const QEMU_LOCKD: Known = Known {
    numbers: &["auto_disk_leases", "require_lease_for_disks"],
    texts: &["file_lockspace_dir", "lvm_lockspace_dir", "scsi_lockspace_dir"],
    lists: &[],
};

/// `virtlogd.conf`.
pub const VIRTLOGD: Known = Known {
    numbers: &[
        "admin_max_clients",
        "log_level",
        "max_age_days",
        "max_backups",
        "max_clients",
        "max_size",
    ],
    texts: &["log_filters", "log_outputs", "log_root"],
    lists: &[],
};

impl Known {
    /// Checks the types of what `conf` sets.
    ///
    /// # Errors
    /// Names file, line, setting and the type that it should have.
    pub fn check(&self, conf: &ConfFile) -> Result<(), ConfError> {
        for name in self.numbers {
            if conf.number(name)?.is_some_and(|number| number < 0) {
                return Err(conf.invalid(name, "expected a whole number that is not negative"));
            }
        }
        for name in self.texts {
            conf.text(name)?;
        }
        for name in self.lists {
            conf.list(name)?;
        }
        conf.forget_asked();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_types_are_told_with_their_place() {
        for (text, expected) in [
            ("max_clients = 5\nunix_sock_group = \"libvirt\"", None),
            ("\nmax_clients = \"abc\"", Some("x.conf:2: max_clients: expected a whole number")),
            (
                "max_clients = -5",
                Some("x.conf:1: max_clients: expected a whole number that is not negative"),
            ),
            ("unix_sock_group = 5", Some("x.conf:1: unix_sock_group: expected a quoted string")),
            (
                "tls_allowed_dn_list = 5",
                Some("x.conf:1: tls_allowed_dn_list: expected a list of quoted strings"),
            ),
        ] {
            let conf = ConfFile::parse("x.conf", text).expect("the format");
            let said = LIBVIRTD.check(&conf).err().map(|error| error.to_string());
            assert_eq!(said.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_switched_off_is_told_only_under_a_name_that_nobody_knows() {
        let text = "keepalive_required = 0\nkeepalive_requird = 0\nmax_clients = 0\n";
        let conf = ConfFile::parse("x.conf", text).expect("the format");
        LIBVIRTD.check(&conf).expect("the types");
        assert_eq!(conf.unheeded(), ["x.conf:2: keepalive_requird"]);
    }
}
