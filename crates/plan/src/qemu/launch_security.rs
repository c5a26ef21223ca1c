//! Guests whose memory the host cannot read.

use super::build::{Build, Props, Switch};
use super::words::YesNo;
use crate::step::{Action, Content, Step};
use model::domain::launch_security::{LaunchSecurity, Sev, SevSnp};

impl Build<'_> {
    /// The object that `-machine confidential-guest-support` names.
    pub(super) fn launch_security(&mut self) {
        match &self.d.launch_security {
            None => {}
            Some(LaunchSecurity::Sev(sev)) => self.sev(sev),
            Some(LaunchSecurity::SevSnp(snp)) => self.sev_snp(snp),
            Some(LaunchSecurity::S390Pv(_)) => {
                self.need_or(
                    "s390-pv-guest",
                    "'s390-pv' launch security is not supported with this QEMU binary",
                );
                self.object(Props::object("s390-pv-guest", "lsec0"));
            }
            Some(LaunchSecurity::Tdx(_)) => self.fail(
                "qemu.launch-security",
                "'tdx' launch security is not supported with this QEMU binary",
            ),
        }
    }

    /// Where AMD's memory encryption sits in an address: as the domain says, or as QEMU reports
    /// for the host.
    fn encryption_bit(&self, cbit: Option<u32>, reduced: Option<u32>) -> Props {
        let host = self.caps.sev.as_ref();
        Props::default()
            .opt("cbitpos", cbit.or(host.map(|sev| sev.cbitpos)))
            .opt("reduced-phys-bits", reduced.or(host.map(|sev| sev.reduced_phys_bits)))
    }

    fn sev(&mut self, sev: &Sev) {
        self.need_or("sev-guest", "'sev' launch security is not supported with this QEMU binary");
        let mut props = Props::object("sev-guest", "lsec0")
            .extend(self.encryption_bit(sev.cbit_pos, sev.reduced_phys_bits))
            .set("policy", sev.policy.0);
        for (key, name, text) in
            [("dh-cert-file", "dh_cert", &sev.dh_cert), ("session-file", "session", &sev.session)]
        {
            // QEMU reads both from files only.
            if let Some(text) = text {
                let path = format!("{}/{name}.base64", self.private_dir);
                self.steps.push(Step::new(Action::WriteFile {
                    path: path.clone(),
                    mode: 0o600,
                    owner: self.ids(),
                    content: Content::Bytes(text.clone().into_bytes()),
                }));
                props = props.set(key, path);
            }
        }
        if let Some(on) = sev.kernel_hashes {
            self.need("sev-guest-kernel-hashes", "<launchSecurity kernelHashes=…>");
            props = props.set("kernel-hashes", on.on());
        }
        self.object(props);
    }

    fn sev_snp(&mut self, snp: &SevSnp) {
        self.need_or(
            "sev-snp-guest",
            "'sev-snp' launch security is not supported with this QEMU binary",
        );
        let props = Props::object("sev-snp-guest", "lsec0")
            .extend(self.encryption_bit(snp.cbit_pos, snp.reduced_phys_bits))
            .on_off("kernel-hashes", snp.kernel_hashes)
            .set("policy", snp.policy.0)
            .opt("guest-visible-workarounds", snp.guest_visible_workarounds.clone())
            .opt("id-block", snp.id_block.clone())
            .opt("id-auth", snp.id_auth.clone())
            .opt("host-data", snp.host_data.clone())
            .on_off("author-key-enabled", snp.author_key)
            .opt("vcek-disabled", snp.vcek.map(|vcek| vcek == YesNo::No));
        self.object(props);
    }
}
