//! Users who contend for a few anchors.

use std::{collections::BTreeMap, time::Duration};

use circuit_core::{Error, ErrorKind, Instant, ServerId, client::CallId, wire::op::Stat};
use tokio::time::sleep;

use super::{Ends, User, Works, lock};
use crate::{
    Figure,
    linear::{Act, Event, History, Outcome},
    oracle::Truth,
    work::is_no_fault,
};

/// Anchors of each server.
const ANCHORS: u64 = 3;
/// Calls of one user that are open at once.
const OPEN: usize = 3;

/// What happened to every anchor, as long as its server has its identity.
#[derive(Debug, Default)]
pub(super) struct Histories {
    all: BTreeMap<(ServerId, u64), History>,
    calls: u64,
    /// Every thing that is made is another.
    made: u32,
}

impl Histories {
    pub(super) fn died(&mut self, host: ServerId, now: Instant) {
        for (_, history) in self.all.range_mut((host, 0)..=(host, u64::MAX)) {
            history.push(now, Event::Died);
        }
    }

    pub(super) fn check(&self) -> Option<String> {
        self.all.iter().find_map(|((server, anchor), history)| match history.check() {
            Some(Err(words)) => Some(format!("at /{server}/shared/{anchor} {words}")),
            _ => None,
        })
    }

    pub(super) fn figures(&self) -> Vec<Figure> {
        let undecided = self.all.values().filter(|history| history.check().is_none()).count();
        vec![
            Figure::count("calls for shared anchors", self.calls),
            Figure::count("anchors with too much unknown", undecided as u64),
        ]
    }
}

impl User {
    pub(super) async fn use_anchors(&mut self) {
        while self.pause(300).await {
            if self.tasks.len() < OPEN {
                self.ask();
            }
        }
        self.end().await;
    }

    fn ask(&mut self) {
        let (_, host) = self.any_server();
        let place = (host, self.rng.below(ANCHORS));
        let Some(anchor) = self.place(host, &format!("shared/{}", place.1)) else { return };
        let anchor = self.hurry(anchor, 6);
        let draw = self.rng.below(10);
        let (call, act) = {
            let histories = &mut *lock(&self.works.histories);
            histories.calls += 1;
            let act = match draw {
                0..4 => {
                    histories.made += 1;
                    Act::Make(histories.made)
                }
                4..7 => Act::Look,
                _ => Act::Remove,
            };
            (CallId(histories.calls), act)
        };
        // Who changes his mind at once must not have changed anything else.
        let fickle = self.rng.chance(1, 20).then(|| Duration::from_millis(self.rng.below(100)));
        self.note(place, Event::Asked(call, act));
        let works = self.works.clone();
        self.tasks.spawn(Ends::ByItself, async move {
            let answer = async {
                match act {
                    Act::Make(number) => anchor.make_chan(number).await.map(|_| Outcome::Done),
                    Act::Remove => anchor.scrub().await.map(|()| Outcome::Done),
                    Act::Look => match anchor.peek().await? {
                        Stat::Chan(stat) => Ok(Outcome::Holds(stat.cap)),
                        other => Err(Error::new(ErrorKind::WrongKind, format!("{other:?}"))),
                    },
                }
            };
            let result = match fickle {
                None => Some(answer.await),
                Some(soon) => tokio::select! {
                    biased;
                    result = answer => Some(result),
                    () = sleep(soon) => None,
                },
            };
            if let Some(result) = result {
                works.learn(place, call, result);
            }
        });
    }

    fn note(&self, place: (ServerId, u64), event: Event) {
        let now = self.works.ground.truth(|truth| truth.now());
        lock(&self.works.histories).all.entry(place).or_default().push(now, event);
    }
}

impl Works {
    /// An answer; what is Unknown may have been, or may still be.
    fn learn(&self, place: (ServerId, u64), call: CallId, result: Result<Outcome, Error>) {
        let event = match result {
            Ok(outcome) => Event::Answered(call, outcome),
            Err(error) => match error.kind {
                ErrorKind::AlreadyExists => Event::Answered(call, Outcome::Exists),
                ErrorKind::NotFound if error.detail.is_empty() => Event::Answered(call, Outcome::Nothing),
                ErrorKind::Unknown => return self.count("anchors: Unknown".to_owned()),
                kind if is_no_fault(kind) => Event::Failed(call),
                _ => return self.ground.fail(format!("{call:?} at {place:?} was answered {error:?}")),
            },
        };
        let name = format!("{event:?}");
        self.count(format!("anchors: {}", name.split('(').next().unwrap_or_default()));
        let now = self.ground.truth(|truth| truth.now());
        lock(&self.histories).all.entry(place).or_default().push(now, event);
    }
}
