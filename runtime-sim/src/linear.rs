//! Whether a history of one anchor could have been: every call took effect at
//! one moment between its being asked and its being answered.
//!
//! An anchor is empty or holds one thing, which has a number. Of a call whose
//! answer is Unknown it is known that it took effect once, or never. A host
//! that dies takes with it what its anchors held.
//!
//! The method is that of just-in-time linearization (Lowe, 2017): all states
//! that the anchor may be in are carried along, each with the calls that took
//! effect and were not answered yet, and an answer rules out those that it
//! contradicts. Calls that will never be answered are cheap: of two states that
//! differ only in which of these took effect, one in which fewer did says all
//! that the other does, for the rest still may.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use circuit_core::{Instant, client::CallId};

/// With more states that the anchor may be in, nothing is said.
const MAX_STATES: usize = 20_000;

/// What is asked of an anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    /// Make the thing of this number.
    Make(u32),
    /// Say which it holds.
    Look,
    /// Remove it.
    Remove,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It was made, or removed.
    Done,
    /// It holds this.
    Holds(u32),
    /// It holds something already.
    Exists,
    /// It holds nothing.
    Nothing,
}

/// What happens to an anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A call was asked.
    Asked(CallId, Act),
    /// And answered.
    Answered(CallId, Outcome),
    /// It ended without effect.
    Failed(CallId),
    /// Nobody will hear what came of it: it takes effect at any later time, or
    /// never.
    GivenUp(CallId),
    /// The host died.
    Died,
}

/// What happened to one anchor, in order.
#[derive(Clone, Debug, Default)]
pub struct History {
    events: Vec<(Instant, Event)>,
}

/// The anchor may hold this, and these open calls have taken effect, so.
type State = (Option<u32>, BTreeMap<CallId, Outcome>);

/// States, each with the least sets of calls given up that lead to it.
#[derive(Debug, Default)]
struct States(BTreeMap<State, Vec<BTreeSet<CallId>>>);

/// Calls that were not answered.
#[derive(Debug, Default)]
struct Calls {
    open: BTreeMap<CallId, Act>,
    given_up: BTreeMap<CallId, Act>,
}

const fn apply(holds: Option<u32>, act: Act) -> (Option<u32>, Outcome) {
    match (act, holds) {
        (Act::Make(number), None) => (Some(number), Outcome::Done),
        (Act::Make(_), Some(_)) => (holds, Outcome::Exists),
        (Act::Look, Some(number)) => (holds, Outcome::Holds(number)),
        (Act::Remove, Some(_)) => (None, Outcome::Done),
        (Act::Look | Act::Remove, None) => (None, Outcome::Nothing),
    }
}

impl History {
    /// Adds what happened.
    pub fn push(&mut self, at: Instant, event: Event) {
        self.events.push((at, event));
    }

    /// Whether it could have been so. If it could not, the shortest beginning of
    /// the history that shows it; nothing if too much is unknown.
    pub fn check(&self) -> Option<Result<(), String>> {
        let mut calls = Calls::default();
        let mut states = States::default();
        states.add((None, BTreeMap::new()), BTreeSet::new());
        for (number, &(_, event)) in self.events.iter().enumerate() {
            match event {
                Event::Asked(call, act) => {
                    calls.open.insert(call, act);
                }
                Event::Answered(call, outcome) => {
                    states = states.closure(&calls)?.with_effect_of(call, outcome);
                    calls.open.remove(&call);
                }
                Event::Failed(call) => {
                    states.0.retain(|(_, effects), _| !effects.contains_key(&call));
                    calls.open.remove(&call);
                }
                Event::GivenUp(call) => {
                    states = states.without(call);
                    // It does not matter what nobody saw.
                    let act = calls.open.remove(&call).filter(|act| *act != Act::Look);
                    calls.given_up.extend(act.map(|act| (call, act)));
                }
                Event::Died => states = states.closure(&calls)?.after_death(),
            }
            if states.0.is_empty() {
                return Some(Err(self.words(number)));
            }
        }
        Some(Ok(()))
    }

    /// What led to the event of a number, without the calls that were over long
    /// before.
    fn words(&self, last: usize) -> String {
        let events = self.events.get(..=last).unwrap_or_default();
        let from = events.len().saturating_sub(24);
        let lines = events.iter().skip(from).map(|(at, event)| format!("\n  {at:?} {event:?}"));
        format!("no order of these calls explains their answers:{}", lines.collect::<String>())
    }
}

impl States {
    /// Adds a state, unless one is there that says as much; whether it did.
    fn add(&mut self, state: State, used: BTreeSet<CallId>) -> bool {
        let known = self.0.entry(state).or_default();
        if known.iter().any(|fewer| fewer.is_subset(&used)) {
            return false;
        }
        known.retain(|more| !used.is_subset(more));
        known.push(used);
        true
    }

    /// Every state, changed, if anything is left of it.
    fn map(self, mut change: impl FnMut(&mut State, &mut BTreeSet<CallId>) -> bool) -> Self {
        let mut changed = Self::default();
        for (state, all) in self.0 {
            for mut used in all {
                let mut state = state.clone();
                if change(&mut state, &mut used) {
                    changed.add(state, used);
                }
            }
        }
        changed
    }

    /// Those in which a call has taken effect with this outcome.
    fn with_effect_of(self, call: CallId, outcome: Outcome) -> Self {
        self.map(|(_, effects), _| effects.remove(&call) == Some(outcome))
    }

    /// A call is given up. If it has changed anything it cannot again.
    fn without(self, call: CallId) -> Self {
        self.map(|(_, effects), used| {
            if effects.remove(&call) == Some(Outcome::Done) {
                used.insert(call);
            }
            true
        })
    }

    /// All that the anchor held is gone.
    fn after_death(self) -> Self {
        self.map(|(holds, _), _| {
            *holds = None;
            true
        })
    }

    /// All states that can be reached by calls that take effect; nothing if they
    /// are too many.
    fn closure(self, calls: &Calls) -> Option<Self> {
        let mut ahead = VecDeque::new();
        let mut reached = Self::default();
        for (state, all) in self.0 {
            for used in all {
                ahead.push_back((state.clone(), used.clone()));
                reached.add(state.clone(), used);
            }
        }
        let mut count = ahead.len();
        while let Some(((holds, effects), used)) = ahead.pop_front() {
            let open = calls.open.iter().filter(|(call, _)| !effects.contains_key(call)).map(|(&call, &act)| {
                let (after, outcome) = apply(holds, act);
                let mut effects = effects.clone();
                effects.insert(call, outcome);
                ((after, effects), used.clone())
            });
            let given_up = calls.useful(holds, &used).map(|(call, act)| {
                let mut used = used.clone();
                used.insert(call);
                ((apply(holds, act).0, effects.clone()), used)
            });
            for (state, used) in open.chain(given_up) {
                if reached.add(state.clone(), used.clone()) {
                    count += 1;
                    ahead.push_back((state, used));
                }
            }
            if count > MAX_STATES {
                return None;
            }
        }
        Some(reached)
    }
}

impl Calls {
    /// Calls given up that would change what the anchor holds. Those that remove
    /// are all alike.
    fn useful(&self, holds: Option<u32>, used: &BTreeSet<CallId>) -> impl Iterator<Item = (CallId, Act)> {
        let left = self.given_up.iter().filter(move |(call, _)| !used.contains(call)).map(|(&call, &act)| (call, act));
        let most = if holds.is_some() { 1 } else { usize::MAX };
        left.filter(move |(_, act)| (*act == Act::Remove) == holds.is_some()).take(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: CallId = CallId(1);
    const B: CallId = CallId(2);
    const C: CallId = CallId(3);

    fn holds(events: &[Event]) -> bool {
        let mut history = History::default();
        events.iter().for_each(|&event| history.push(Instant::ZERO, event));
        history.check().expect("little is unknown").is_ok()
    }

    #[test]
    fn one_of_two_makers_is_refused() {
        let asked = [Event::Asked(A, Act::Make(1)), Event::Asked(B, Act::Make(2))];
        let both = [Event::Answered(A, Outcome::Done), Event::Answered(B, Outcome::Done)];
        let one = [Event::Answered(A, Outcome::Exists), Event::Answered(B, Outcome::Done)];
        assert!(!holds(&[asked, both].concat()));
        assert!(holds(&[asked, one].concat()));
    }

    #[test]
    fn who_looks_sees_what_was_made_before() {
        let made = [Event::Asked(A, Act::Make(1)), Event::Answered(A, Outcome::Done), Event::Asked(B, Act::Look)];
        assert!(holds(&[&made[..], &[Event::Answered(B, Outcome::Holds(1))]].concat()));
        assert!(!holds(&[&made[..], &[Event::Answered(B, Outcome::Nothing)]].concat()));
        assert!(!holds(&[&made[..], &[Event::Answered(B, Outcome::Holds(2))]].concat()));
        assert!(holds(&[&made[..], &[Event::Died, Event::Answered(B, Outcome::Nothing)]].concat()));
    }

    #[test]
    fn what_is_unknown_may_have_been_at_any_time_or_never_and_only_once() {
        let unknown = [Event::Asked(A, Act::Remove), Event::Asked(B, Act::Make(1)), Event::Answered(B, Outcome::Done)];
        let look = |number| [Event::Asked(C, Act::Look), Event::Answered(C, number)];
        assert!(holds(&[&unknown[..], &look(Outcome::Holds(1)), &look(Outcome::Nothing)].concat()));
        assert!(!holds(&[&unknown[..], &look(Outcome::Nothing), &look(Outcome::Holds(1))].concat()));
        let failed = [Event::Failed(A)];
        assert!(!holds(&[&unknown[..], &failed, &look(Outcome::Nothing)].concat()));
    }

    #[test]
    fn what_is_given_up_may_have_been_at_any_time_or_never_and_only_once() {
        let made = [Event::Asked(A, Act::Make(1)), Event::GivenUp(A), Event::Asked(B, Act::Remove), Event::GivenUp(B)];
        let look = |number| [Event::Asked(C, Act::Look), Event::Answered(C, number)];
        let (one, none) = (look(Outcome::Holds(1)), look(Outcome::Nothing));
        assert!(holds(&[&made[..], &none, &one, &none].concat()));
        assert!(!holds(&[&made[..], &one, &none, &one].concat()));
        assert!(!holds(&[&made[..], &look(Outcome::Holds(2))].concat()));
        // It took effect before it was given up.
        let early = [Event::Asked(A, Act::Remove), Event::Asked(B, Act::Make(1)), Event::Answered(B, Outcome::Done)];
        let again = [Event::Asked(B, Act::Make(2)), Event::Answered(B, Outcome::Done)];
        assert!(holds(&[&early[..], &again, &[Event::GivenUp(A)], &look(Outcome::Holds(2))].concat()));
        assert!(!holds(&[&early[..], &again, &[Event::GivenUp(A)], &none].concat()));
    }

    #[test]
    fn much_that_was_given_up_is_no_hindrance() {
        let mut events = Vec::new();
        for number in 0..60 {
            let act = if number % 2 == 0 { Act::Remove } else { Act::Make(number) };
            let call = CallId(100 + u64::from(number));
            events.extend([Event::Asked(call, act), Event::GivenUp(call)]);
            events.extend([Event::Asked(A, Act::Look), Event::Answered(A, Outcome::Nothing)]);
        }
        assert!(holds(&events));
    }

    #[test]
    fn with_too_much_unknown_nothing_is_said() {
        let mut history = History::default();
        let asked = (0..99).map(|number| Event::Asked(CallId(number), Act::Make(number as u32)));
        asked.chain([Event::Died]).for_each(|event| history.push(Instant::ZERO, event));
        assert_eq!(history.check(), None);
    }
}
