//! Limits of traffic.

use xml::{Element, ErrorCode, Reader, Xml};

use crate::object::fault;

/// Limits in both directions, seen from the guest's side.
#[derive(Clone, Debug, PartialEq, Eq, Default, Xml)]
#[xml(open, check = Bandwidth::check)]
pub struct Bandwidth {
    /// The class that a port got on its network's bridge; in ports only.
    #[xml(attr, name = "classID")]
    pub class_id: Option<u32>,
    /// Towards the guest's side.
    #[xml(child)]
    pub inbound: Option<Rate>,
    /// Away from it.
    #[xml(child)]
    pub outbound: Option<Rate>,
}

/// Limits in one direction. Zero means none and is not written.
#[derive(Clone, Debug, PartialEq, Eq, Default, Xml)]
#[xml(check = Rate::check)]
pub struct Rate {
    /// KiB a second in the long run.
    #[xml(attr)]
    pub average: Option<u64>,
    /// KiB a second at most.
    #[xml(attr)]
    pub peak: Option<u64>,
    /// KiB a second guaranteed; inbound only.
    #[xml(attr)]
    pub floor: Option<u64>,
    /// KiB that may pass at peak rate.
    #[xml(attr)]
    pub burst: Option<u64>,
}

impl Rate {
    fn check(&mut self, el: Element<'_>, cx: &mut Reader) {
        if self.average.is_none() && self.floor.is_none() {
            let message = "Missing mandatory average or floor attributes";
            fault(cx, el, "network.bandwidth", ErrorCode::XML_DETAIL, message);
        }
        for value in [&mut self.average, &mut self.peak, &mut self.floor, &mut self.burst] {
            *value = value.filter(|n| *n != 0);
        }
    }

    fn is_nothing(&self) -> bool {
        self.average.is_none() && self.floor.is_none()
    }
}

impl Bandwidth {
    fn check(&mut self, _: Element<'_>, _: &mut Reader) {
        self.inbound = self.inbound.take().filter(|rate| !rate.is_nothing());
        self.outbound = self.outbound.take().filter(|rate| !rate.is_nothing());
    }

    /// The limits of a network or port group: those that only a port can have are refused. `None`
    /// where the element says nothing.
    pub(super) fn of_network(self, el: Element<'_>, cx: &mut Reader) -> Option<Self> {
        let rule = "network.bandwidth";
        if self.class_id.is_some() {
            let message = "classID attribute not supported on <bandwidth> in this usage context";
            fault(cx, el, rule, ErrorCode::XML_DETAIL, message);
        }
        for rate in [&self.inbound, &self.outbound].into_iter().flatten() {
            if rate.floor.is_some() {
                let message = "floor attribute is not supported for this config";
                fault(cx, el, rule, ErrorCode::CONFIG_UNSUPPORTED, message);
            }
        }
        el.children().next().is_some().then_some(self)
    }
}
