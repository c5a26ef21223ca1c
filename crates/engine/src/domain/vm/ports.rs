//! Ports of virtio-serial: whether the guest holds its end of each channel.

use crate::domain::view::is_agent;
use model::domain::Domain as Definition;
use model::domain::devices::chardev::{ChannelState, CharTargetType};
use std::collections::BTreeMap;

/// By the alias of the channel, whether the guest opened it.
#[derive(Clone, Debug, Default)]
pub(in crate::domain) struct Ports {
    open: BTreeMap<String, bool>,
}

/// What an event about a port changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::domain) enum PortChange {
    /// No channel of the guest's, or nothing new.
    Nothing,
    /// A channel.
    Channel,
    /// The agent's.
    Agent,
}

impl Ports {
    /// Notes what the guest did with a port, and in its definition.
    pub fn note(&mut self, definition: &mut Definition, alias: &str, open: bool) -> PortChange {
        let channels = definition.devices.iter().flat_map(|devices| &devices.channels);
        let mut channels = channels.filter(|channel| {
            let virtio =
                channel.target.as_ref().and_then(|t| t.kind) == Some(CharTargetType::Virtio);
            virtio && channel.alias.as_ref().is_some_and(|known| known.name == alias)
        });
        let Some(channel) = channels.next() else { return PortChange::Nothing };
        let agent = is_agent(channel);
        let state = channel.target.as_ref().and_then(|target| target.state);
        self.open.insert(alias.to_owned(), open);
        self.show_in(definition);
        match (state == Some(state_of(open)), agent) {
            (true, _) => PortChange::Nothing,
            (false, true) => PortChange::Agent,
            (false, false) => PortChange::Channel,
        }
    }

    /// Writes the states into a definition that was made without looking at them.
    pub fn show_in(&self, definition: &mut Definition) {
        let channels = definition.devices.iter_mut().flat_map(|devices| &mut devices.channels);
        for channel in channels {
            let alias = channel.alias.as_ref().map_or("", |alias| alias.name.as_str());
            if let (Some(open), Some(target)) = (self.open.get(alias), &mut channel.target) {
                target.state = Some(state_of(*open));
            }
        }
    }
}

fn state_of(open: bool) -> ChannelState {
    if open { ChannelState::Connected } else { ChannelState::Disconnected }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_of_channels() {
        let text = "<domain type='qemu'><name>x</name><memory>1024</memory><os><type>hvm</type></os>\
            <devices><channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0' \
            state='disconnected'/><alias name='channel0'/></channel>\
            <channel type='pty'><target type='virtio' name='x'/><alias name='channel1'/></channel>\
            </devices></domain>";
        let options = model::domain::ParseOptions { live: true };
        let mut definition = model::domain::parse(text, options).domain.expect("a definition");
        let other = definition.clone();
        let mut ports = Ports::default();
        for (alias, open, expected) in [
            ("channel0", false, PortChange::Nothing),
            ("channel0", true, PortChange::Agent),
            ("channel0", true, PortChange::Nothing),
            ("channel1", true, PortChange::Channel),
            ("channel2", true, PortChange::Nothing),
            ("channel1", false, PortChange::Channel),
        ] {
            assert_eq!(ports.note(&mut definition, alias, open), expected, "{alias} {open}");
        }
        let mut stale = other;
        ports.show_in(&mut stale);
        assert_eq!(stale, definition);
    }
}
