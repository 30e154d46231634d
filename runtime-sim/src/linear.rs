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
//! contradicts.

use std::collections::{BTreeMap, BTreeSet};

use circuit_core::{Instant, client::CallId};

/// With more calls of which nobody knows what came of them, nothing is said.
const MAX_OPEN: usize = 12;

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
        let mut open: BTreeMap<CallId, Act> = BTreeMap::new();
        let mut states = BTreeSet::from([(None, BTreeMap::new())]);
        for (number, &(_, event)) in self.events.iter().enumerate() {
            match event {
                Event::Asked(call, act) => {
                    open.insert(call, act);
                    if open.len() > MAX_OPEN {
                        return None;
                    }
                }
                Event::Answered(call, outcome) => {
                    states = with_effect_of(&states, &open, call, outcome);
                    open.remove(&call);
                }
                Event::Failed(call) => {
                    states.retain(|(_, effects)| !effects.contains_key(&call));
                    open.remove(&call);
                }
                Event::Died => states = after_death(&states, &open),
            }
            if states.is_empty() {
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

/// The states in which a call has taken effect with this outcome, after any of
/// the other open calls.
fn with_effect_of(
    states: &BTreeSet<State>,
    open: &BTreeMap<CallId, Act>,
    call: CallId,
    outcome: Outcome,
) -> BTreeSet<State> {
    let reached = closure(states, open).into_iter().filter_map(|(holds, mut effects)| {
        let right = effects.remove(&call) == Some(outcome);
        right.then_some((holds, effects))
    });
    reached.collect()
}

/// Everything that may have taken effect, has or has not; then all is gone.
fn after_death(states: &BTreeSet<State>, open: &BTreeMap<CallId, Act>) -> BTreeSet<State> {
    closure(states, open).into_iter().map(|(_, effects)| (None, effects)).collect()
}

/// All states that can be reached by open calls that take effect.
fn closure(states: &BTreeSet<State>, open: &BTreeMap<CallId, Act>) -> BTreeSet<State> {
    let mut reached = states.clone();
    let mut ahead: Vec<State> = states.iter().cloned().collect();
    while let Some((holds, effects)) = ahead.pop() {
        for (&call, &act) in open.iter().filter(|(call, _)| !effects.contains_key(call)) {
            let (after, outcome) = apply(holds, act);
            let mut effects = effects.clone();
            effects.insert(call, outcome);
            let state = (after, effects);
            if reached.insert(state.clone()) {
                ahead.push(state);
            }
        }
    }
    reached
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
    fn with_too_much_unknown_nothing_is_said() {
        let mut history = History::default();
        (0..99).for_each(|number| history.push(Instant::ZERO, Event::Asked(CallId(number), Act::Remove)));
        assert_eq!(history.check(), None);
    }
}
