//! USB devices of the host and redirected ones.

use super::build::{Build, Props, Switch};
use model::domain::devices::redirdev::RedirRule;

impl Build<'_> {
    /// Redirected USB devices.
    pub(super) fn redirdevs(&mut self) {
        let rules: Vec<String> =
            self.dev.redir_filters.iter().flat_map(|filter| &filter.rules).map(rule).collect();
        for redir in self.each("devices/redirdev", &self.dev.redirdevs) {
            self.need("usb-redir", "<redirdev>");
            let id = self.alias(&redir.alias, "<redirdev>");
            let chardev = self.chardev(&redir.source, &id, "<redirdev>");
            let filter = (!rules.is_empty()).then(|| rules.join("|"));
            let props = Props::device("usb-redir")
                .set("chardev", chardev)
                .set("id", id)
                .opt("filter", filter)
                .opt("bootindex", redir.boot.as_ref().map(|boot| boot.order));
            let place = self.place(&redir.address, "<redirdev>");
            self.device(props.extend(place));
        }
    }
}

/// A filter rule: `class:vendor:product:version:allow`, -1 for any.
fn rule(rule: &RedirRule) -> String {
    let number = |text: &Option<String>| text.clone().unwrap_or_else(|| "-1".into());
    let version = match rule.version.as_deref() {
        // `2.10` is binary-coded decimal 0x0210.
        Some(text) => match text.split_once('.') {
            Some((major, minor)) => {
                let bcd = |part: &str| u32::from_str_radix(part, 16).unwrap_or(0);
                format!("0x{:04X}", bcd(major) << 8 | bcd(minor))
            }
            None => text.to_string(),
        },
        None => "-1".into(),
    };
    let allow = u8::from(rule.allow.on());
    let (class, vendor) = (number(&rule.class), number(&rule.vendor));
    format!("{class}:{vendor}:{}:{version}:{allow}", number(&rule.product))
}
