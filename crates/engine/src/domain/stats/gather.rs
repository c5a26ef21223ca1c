//! Gatherings of statistics, shared by those who ask at the same time.
//!
//! Monitoring tools ask often and side by side. Who asks for what is being gathered just then cannot
//! have that, as it may be older than the question; all who ask meanwhile share the next one.

use super::{DomainStats, StatsWanted};
use crate::domain::record::Domain;
use crate::engine::Engine;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

type Answer = Arc<Vec<DomainStats>>;

/// What is being gathered.
#[derive(Debug, Default)]
pub(crate) struct Gatherings(Mutex<Vec<Gathering>>);

/// Statistics that are being gathered, and who wants them next.
#[derive(Debug)]
struct Gathering {
    domains: Arc<[Arc<Domain>]>,
    wanted: StatsWanted,
    next: Vec<oneshot::Sender<Answer>>,
}

impl Gathering {
    fn is_of(&self, domains: &[Arc<Domain>], wanted: StatsWanted) -> bool {
        let same = |(one, other): (&Arc<Domain>, &Arc<Domain>)| Arc::ptr_eq(one, other);
        self.wanted == wanted
            && self.domains.len() == domains.len()
            && self.domains.iter().zip(domains).all(same)
    }
}

impl Gatherings {
    /// Statistics gathered after this call.
    pub(super) async fn join(
        &self,
        engine: &Arc<Engine>,
        domains: Vec<Arc<Domain>>,
        wanted: StatsWanted,
    ) -> Answer {
        let (answer, mine) = oneshot::channel();
        if let Some(domains) = self.enter(domains, wanted, answer) {
            let engine = Arc::clone(engine);
            let runtime = engine.runtime().clone();
            // A task of its own: whoever asked first may go away before the others do.
            runtime.spawn(async move {
                let round = Round { gatherings: &engine.gatherings, domains: &domains, wanted };
                while let Some(waiting) = round.take() {
                    let answer = Arc::new(engine.gather(&domains, wanted).await);
                    for one in waiting {
                        let _ = one.send(Arc::clone(&answer));
                    }
                }
            });
        }
        mine.await.unwrap_or_default()
    }

    /// Takes a place among those who wait. The domains: nobody gathers yet, so the caller has to.
    fn enter(
        &self,
        domains: Vec<Arc<Domain>>,
        wanted: StatsWanted,
        answer: oneshot::Sender<Answer>,
    ) -> Option<Arc<[Arc<Domain>]>> {
        let mut all = self.lock();
        if let Some(found) = all.iter_mut().find(|one| one.is_of(&domains, wanted)) {
            found.next.push(answer);
            return None;
        }
        let domains: Arc<[Arc<Domain>]> = domains.into();
        all.push(Gathering { domains: Arc::clone(&domains), wanted, next: vec![answer] });
        Some(domains)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Gathering>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The gatherings of one kind, one after the other as long as somebody waits.
struct Round<'a> {
    gatherings: &'a Gatherings,
    domains: &'a Arc<[Arc<Domain>]>,
    wanted: StatsWanted,
}

impl Round<'_> {
    fn find(&self, all: &[Gathering]) -> Option<usize> {
        all.iter()
            .position(|one| Arc::ptr_eq(&one.domains, self.domains) && one.wanted == self.wanted)
    }

    /// Those who wait for the next gathering; when there is nobody, it is the end.
    fn take(&self) -> Option<Vec<oneshot::Sender<Answer>>> {
        let mut all = self.gatherings.lock();
        let place = self.find(&all)?;
        let waiting = std::mem::take(&mut all.get_mut(place)?.next);
        if waiting.is_empty() {
            all.swap_remove(place);
            return None;
        }
        Some(waiting)
    }
}

impl Drop for Round<'_> {
    fn drop(&mut self) {
        // After a panic or at the daemon's end: those who wait learn that nothing will come.
        let mut all = self.gatherings.lock();
        if let Some(place) = self.find(&all) {
            all.swap_remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::StatsGroups;
    use super::*;

    const WANTED: StatsWanted =
        StatsWanted { groups: StatsGroups(1), backing: false, no_wait: false };

    #[test]
    fn who_asks_during_a_gathering_shares_the_next_one() {
        let all = Gatherings::default();
        let domain = Domain::inactive(units::Uuid::NIL, "a", None);
        let other = Domain::inactive(units::Uuid::NIL, "a", None);
        let enter = |domain: &Arc<Domain>, wanted| {
            let (answer, mine) = oneshot::channel();
            (all.enter(vec![Arc::clone(domain)], wanted, answer), mine)
        };
        let (first, _mine) = enter(&domain, WANTED);
        let domains = first.expect("nobody gathers yet");
        let round = Round { gatherings: &all, domains: &domains, wanted: WANTED };
        assert_eq!(round.take().map(|waiting| waiting.len()), Some(1));
        // Meanwhile: two who want the same, and two who want something else.
        let (second, _kept) = enter(&domain, WANTED);
        let (third, _too) = enter(&domain, WANTED);
        assert!(second.is_none() && third.is_none());
        let backing = StatsWanted { backing: true, ..WANTED };
        assert!(enter(&domain, backing).0.is_some());
        assert!(enter(&other, WANTED).0.is_some());
        assert_eq!(round.take().map(|waiting| waiting.len()), Some(2));
        assert!(round.take().is_none());
        // All is forgotten: the next one gathers itself.
        assert!(enter(&domain, WANTED).0.is_some());
    }

    #[test]
    fn a_gathering_that_breaks_off_leaves_nobody_waiting() {
        let all = Gatherings::default();
        let (answer, mut mine) = oneshot::channel();
        let domains = all.enter(Vec::new(), WANTED, answer).expect("nobody gathers yet");
        drop(Round { gatherings: &all, domains: &domains, wanted: WANTED });
        assert_eq!(mine.try_recv().err(), Some(oneshot::error::TryRecvError::Closed));
        assert!(all.lock().is_empty());
    }
}
