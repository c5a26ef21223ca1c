//! Lists that note of each entry what it is for.

use crate::because::{Because, Place};
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::rc::Rc;

/// What the planner is at: the element, the rule, the capabilities it looked at.
#[derive(Debug, Default)]
pub(super) struct Now {
    place: Cell<Place>,
    /// The rule of the whole part.
    part: Cell<&'static str>,
    /// The rule of the next entry alone.
    next: RefCell<Option<Cow<'static, str>>>,
    asked: RefCell<Vec<(&'static str, bool)>>,
}

impl Now {
    /// Goes on with another element. What was looked at for the one before is of no more use.
    pub(super) fn at(&self, place: Place) {
        self.place.set(place);
        self.next.take();
        self.asked.borrow_mut().clear();
    }

    /// Goes on with another part of the command line.
    pub(super) fn part(&self, element: &'static str, rule: &'static str) {
        self.at(Place { element, index: None });
        self.part.set(rule);
    }

    /// Gives the next entry a rule of its own.
    pub(super) fn because(&self, rule: impl Into<Cow<'static, str>>) {
        self.next.replace(Some(rule.into()));
    }

    /// A capability was looked at.
    pub(super) fn asked(&self, flag: &'static str, has: bool) {
        let mut asked = self.asked.borrow_mut();
        if !asked.iter().any(|(known, _)| *known == flag) {
            asked.push((flag, has));
        }
    }

    fn note(&self) -> Because {
        Because {
            place: self.place.get(),
            rule: self.next.take().unwrap_or(Cow::Borrowed(self.part.get())),
            asked: self.asked.take(),
        }
    }
}

/// A list whose entries know why they are there.
#[derive(Debug)]
pub(super) struct Noted<T> {
    items: Vec<T>,
    reasons: Vec<Because>,
    now: Rc<Now>,
}

impl<T> Noted<T> {
    pub(super) fn new(now: &Rc<Now>) -> Self {
        Self { items: Vec::new(), reasons: Vec::new(), now: Rc::clone(now) }
    }

    pub(super) fn push(&mut self, item: T) {
        self.items.push(item);
        self.reasons.push(self.now.note());
    }

    /// The entries, and the reason of each.
    pub(super) fn into_parts(self) -> (Vec<T>, Vec<Because>) {
        (self.items, self.reasons)
    }
}

impl<T> Extend<T> for Noted<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, items: I) {
        items.into_iter().for_each(|item| self.push(item));
    }
}

impl<T> Deref for Noted<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items
    }
}

/// Goes through devices of one kind, noting which one is at hand.
pub(super) struct Each<'a, T> {
    items: std::iter::Enumerate<std::slice::Iter<'a, T>>,
    element: &'static str,
    now: Rc<Now>,
}

impl<'a, T> Each<'a, T> {
    pub(super) fn new(now: &Rc<Now>, element: &'static str, items: &'a [T]) -> Self {
        Self { items: items.iter().enumerate(), element, now: Rc::clone(now) }
    }
}

impl<'a, T> Iterator for Each<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        let next = self.items.next();
        let index = next.as_ref().and_then(|(index, _)| u32::try_from(*index).ok());
        self.now.at(Place { element: self.element, index });
        next.map(|(_, item)| item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_know_their_element_rule_and_capabilities() {
        let now = Rc::new(Now::default());
        let mut list = Noted::new(&now);
        now.part("devices", "a device");
        for (device, expected) in Each::new(&now, "devices/disk", &["a", "b"]).zip([0, 1]) {
            now.asked("x", true);
            now.asked("x", true);
            list.push(*device);
            if expected == 1 {
                now.because("special");
            }
            list.push("again");
            // Of what was looked at last, nothing came: the next device does not know of it.
            now.asked("y", false);
        }
        list.push("end");
        let (items, reasons) = list.into_parts();
        assert_eq!(items, ["a", "again", "b", "again", "end"]);
        let shown: Vec<String> =
            reasons.iter().map(|b| format!("{} {} {:?}", b.place, b.rule, b.asked)).collect();
        assert_eq!(
            shown,
            [
                "devices/disk[1] a device [(\"x\", true)]",
                "devices/disk[1] a device []",
                "devices/disk[2] a device [(\"x\", true)]",
                "devices/disk[2] special []",
                "devices/disk a device []",
            ]
        );
    }
}
