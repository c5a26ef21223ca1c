//! A block job as the daemon knows it, and as libvirt's status file tells of it.

use model::domain::opaque::Opaque;
use std::fmt::Write as _;

/// A job of a disk's images.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::domain) struct BlockJob {
    /// QEMU's name of it.
    pub name: String,
    /// The target of its disk.
    pub disk: String,
    /// What it does.
    pub kind: Kind,
    /// How far it is.
    pub state: State,
    /// What became of it, where that is known and not dealt with.
    pub outcome: Option<State>,
    /// The flags of the call that began it.
    pub flags: u32,
    /// Why it failed.
    pub error: Option<String>,
    /// Of a copy: the client said what it stands on. Only ours says so.
    pub chain_given: bool,
}

/// What a job does. Images go by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::domain) enum Kind {
    /// The top takes what lies between it and the base (or nothing).
    Pull {
        /// What the top stands on afterwards.
        base: Option<u32>,
    },
    /// What lies from the top down to the base goes into the base.
    Commit {
        /// What stood on the top, and stands on the base afterwards.
        parent: u32,
        /// The first image that goes.
        top: u32,
        /// Where it goes.
        base: u32,
        /// The files that are not needed any more are removed.
        delete: bool,
    },
    /// The same of the image that the guest writes to.
    ActiveCommit {
        /// That image.
        top: u32,
        /// Where it goes.
        base: u32,
        /// The files that are not needed any more are removed.
        delete: bool,
    },
    /// All is written to another image too.
    Copy {
        /// That image stands on the same ones.
        shallow: bool,
    },
}

impl Kind {
    /// `virDomainBlockJobType`.
    pub fn number(self) -> i32 {
        match self {
            Self::Pull { .. } => 1,
            Self::Copy { .. } => 2,
            Self::Commit { .. } => 3,
            Self::ActiveCommit { .. } => 4,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Pull { .. } => "pull",
            Self::Copy { .. } => "copy",
            Self::Commit { .. } => "commit",
            Self::ActiveCommit { .. } => "active-commit",
        }
    }

    /// Whether it writes to an image below the disk's top.
    pub fn writes_below(self) -> bool {
        matches!(self, Self::Commit { .. } | Self::ActiveCommit { .. })
    }

    /// Whether the guest can go on with the other image.
    pub fn can_pivot(self) -> bool {
        matches!(self, Self::ActiveCommit { .. } | Self::Copy { .. })
    }
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::domain) enum State {
    /// QEMU is about to hear of it.
    New,
    /// It works.
    Running,
    /// Both images are alike, and stay so.
    Ready,
    /// It was told to end.
    Aborting,
    /// It was told to end on the other image.
    Pivoting,
    /// It did what it was to do.
    Completed,
    /// It could not.
    Failed,
    /// It was ended before.
    Cancelled,
}

/// libvirt's words for them.
const STATES: [(State, &str); 8] = [
    (State::New, "new"),
    (State::Running, "running"),
    (State::Ready, "ready"),
    (State::Aborting, "aborting"),
    (State::Pivoting, "pivoting"),
    (State::Completed, "completed"),
    (State::Failed, "failed"),
    (State::Cancelled, "canceled"),
];

impl State {
    fn word(self) -> &'static str {
        STATES.iter().find(|(state, _)| *state == self).map_or("running", |(_, word)| word)
    }

    fn parse(word: &str) -> Option<Self> {
        STATES.iter().find(|(_, known)| *known == word).map(|(state, _)| *state)
    }

    /// `virConnectDomainEventBlockJobStatus`; only some are told.
    pub fn event(self) -> Option<i32> {
        Some(match self {
            Self::Completed => 0,
            Self::Failed => 1,
            Self::Cancelled => 2,
            Self::Ready => 3,
            _ => return None,
        })
    }
}

impl BlockJob {
    /// A job that is about to begin.
    pub fn new(name: String, disk: &str, kind: Kind, flags: u32) -> Self {
        let (state, outcome) = (State::New, None);
        let (error, chain_given) = (None, false);
        Self { name, disk: disk.to_owned(), kind, state, outcome, flags, error, chain_given }
    }

    /// Whether it pulls.
    pub fn is_pull(&self) -> bool {
        matches!(self.kind, Kind::Pull { .. })
    }

    /// As a status file has it.
    pub fn to_status(&self) -> Option<Opaque> {
        let mut text = String::from("<blockjob");
        let mut attribute = |name: &str, value: &str| {
            let _ = write!(text, " {name}='{}'", escaped(value));
        };
        attribute("name", &self.name);
        attribute("type", self.kind.word());
        attribute("state", self.state.word());
        let outcome = self.outcome.or((self.state == State::Ready).then_some(State::Ready));
        if let Some(outcome) = outcome {
            attribute("newstate", outcome.word());
        }
        attribute("jobflags", &format!("0x{:x}", self.flags));
        if matches!(self.kind, Kind::Copy { shallow: true }) {
            attribute("shallownew", "yes");
        }
        let mirror =
            if self.kind.can_pivot() && self.kind.number() == 2 { " mirror='yes'" } else { "" };
        let _ = write!(text, "><disk dst='{}'{mirror}/>", escaped(&self.disk));
        if let Some(error) = &self.error {
            let _ = write!(text, "<errmsg>{}</errmsg>", escaped(error));
        }
        let mut node = |element: &str, number: u32| {
            let _ = write!(text, "<{element} node='libvirt-{number}-storage'/>");
        };
        let delete = match self.kind {
            Kind::Pull { base } => {
                base.into_iter().for_each(|base| node("base", base));
                false
            }
            Kind::Commit { parent, top, base, delete } => {
                node("base", base);
                node("top", top);
                node("topparent", parent);
                delete
            }
            Kind::ActiveCommit { top, base, delete } => {
                node("base", base);
                node("top", top);
                delete
            }
            Kind::Copy { .. } => false,
        };
        text.push_str(if delete { "<deleteCommittedImages/>" } else { "" });
        text.push_str(if self.chain_given { "<chainGiven/>" } else { "" });
        text.push_str("</blockjob>");
        Opaque::from_text(&text)
    }

    /// From a status file; none of a job that is none of ours to deal with.
    pub fn from_status(read: &Opaque) -> Option<Self> {
        let raw = &read.0;
        let child = |name: &str| raw.elements().find(|element| element.name == name);
        let node = |name: &str| {
            crate::domain::view::number_of_node(child(name)?.attr("node").unwrap_or_default())
        };
        let delete = child("deleteCommittedImages").is_some();
        let kind = match raw.attr("type")? {
            "pull" => Kind::Pull { base: node("base") },
            "commit" => {
                let (parent, top, base) = (node("topparent")?, node("top")?, node("base")?);
                Kind::Commit { parent, top, base, delete }
            }
            "active-commit" => {
                Kind::ActiveCommit { top: node("top")?, base: node("base")?, delete }
            }
            "copy" => Kind::Copy { shallow: raw.attr("shallownew") == Some("yes") },
            _ => return None,
        };
        let state = State::parse(raw.attr("state")?).unwrap_or(State::Running);
        let outcome = raw
            .attr("newstate")
            .and_then(State::parse)
            .filter(|state| matches!(state, State::Completed | State::Failed | State::Cancelled));
        let flags = raw.attr("jobflags").and_then(|flags| flags.strip_prefix("0x"));
        let text = |element: &xml::RawElement| {
            let texts = element.children.iter().filter_map(|node| match node {
                xml::RawNode::Text(text) => Some(text.as_str()),
                _ => None,
            });
            texts.collect::<String>()
        };
        Some(Self {
            name: raw.attr("name")?.to_owned(),
            disk: child("disk")?.attr("dst")?.to_owned(),
            kind,
            state,
            outcome,
            flags: flags.and_then(|flags| u32::from_str_radix(flags, 16).ok()).unwrap_or(0),
            error: child("errmsg").map(text),
            chain_given: child("chainGiven").is_some(),
        })
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    xml::escape_into(text, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_written_and_read_as_libvirt_has_them() {
        let job = |name: &str, kind, flags| BlockJob::new(name.to_owned(), "vda", kind, flags);
        let active = Kind::ActiveCommit { top: 1, base: 4, delete: true };
        for (job, text) in [
            (
                job("pull-vda-libvirt-1-format", Kind::Pull { base: Some(3) }, 0),
                "<blockjob name='pull-vda-libvirt-1-format' type='pull' state='new' \
                 jobflags='0x0'><disk dst='vda'/><base node='libvirt-3-storage'/></blockjob>",
            ),
            (
                BlockJob { state: State::Ready, ..job("c", active, 6) },
                "<blockjob name='c' type='active-commit' state='ready' newstate='ready' \
                 jobflags='0x6'><disk dst='vda'/><base node='libvirt-4-storage'/>\
                 <top node='libvirt-1-storage'/><deleteCommittedImages/></blockjob>",
            ),
            (
                BlockJob {
                    state: State::Aborting,
                    outcome: Some(State::Cancelled),
                    error: Some("a<b".to_owned()),
                    chain_given: true,
                    ..job("m", Kind::Copy { shallow: true }, 5)
                },
                "<blockjob name='m' type='copy' state='aborting' newstate='canceled' \
                 jobflags='0x5' shallownew='yes'><disk dst='vda' mirror='yes'/>\
                 <errmsg>a&lt;b</errmsg><chainGiven/></blockjob>",
            ),
            (
                BlockJob {
                    state: State::Running,
                    ..job("k", Kind::Commit { parent: 2, top: 3, base: 5, delete: false }, 0)
                },
                "<blockjob name='k' type='commit' state='running' jobflags='0x0'>\
                 <disk dst='vda'/><base node='libvirt-5-storage'/><top node='libvirt-3-storage'/>\
                 <topparent node='libvirt-2-storage'/></blockjob>",
            ),
        ] {
            let written = job.to_status().expect("XML");
            assert_eq!(Some(written), Opaque::from_text(text), "{text}");
            let read = Opaque::from_text(text).expect("XML");
            assert_eq!(BlockJob::from_status(&read).as_ref(), Some(&job), "{text}");
        }
    }

    #[test]
    fn jobs_of_other_kinds_are_left_alone() {
        for text in [
            "<blockjob name='create-libvirt-4-format' type='create' state='running'/>",
            "<blockjob name='b' type='backup' state='running'><disk dst='vda'/></blockjob>",
            "<blockjob name='c' type='commit' state='running'><disk dst='vda'/></blockjob>",
            "<blockjob/>",
        ] {
            let read = Opaque::from_text(text).expect("XML");
            assert_eq!(BlockJob::from_status(&read), None, "{text}");
        }
    }
}
