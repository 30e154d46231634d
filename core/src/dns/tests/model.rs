//! A model of what the records say: it looks at every record for every
//! question, label by label.

use alloc::{format, string::ToString, vec::Vec};

use proptest::prelude::*;

use super::*;
use crate::dns::{
    name::{self, Key},
    record::{DS, NS, SOA},
    zone::Found,
};

type Labels = Vec<Vec<u8>>;

/// Labels from the root down, in lower case.
fn labels_of(wire: &[u8]) -> Labels {
    let mut labels: Labels = name::labels(wire).map(<[u8]>::to_ascii_lowercase).collect();
    labels.reverse();
    labels
}

struct Model(Vec<(Labels, u16)>);

#[derive(Debug, PartialEq)]
enum Says {
    Elsewhere,
    Records(Vec<u16>),
    Cut(usize),
    Empty,
    Missing,
}

impl Model {
    fn at(&self, name: &[Vec<u8>]) -> Vec<u16> {
        let mut kinds: Vec<u16> = self.0.iter().filter(|(owner, _)| owner == name).map(|(_, kind)| *kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }

    fn there(&self, name: &[Vec<u8>]) -> bool {
        self.0.iter().any(|(owner, _)| owner.starts_with(name))
    }

    fn top(&self, name: &[Vec<u8>]) -> Option<usize> {
        if let Some(count) = (0..=name.len()).rev().find(|&count| self.at(&name[..count]).contains(&SOA)) {
            return Some(count);
        }
        let here = |count: usize| !self.at(&name[..count]).is_empty();
        let wild = |count: usize| !self.at(&[&name[..count], &[b"*".to_vec()]].concat()).is_empty();
        match name {
            [] => here(0).then_some(0),
            [first] if first == b"arpa" => here(1).then_some(1),
            [_] => (here(1) || wild(1)).then_some(1),
            [first, ..] if first == b"arpa" => (2..=name.len()).find(|&count| here(count) || wild(count)),
            [first, second, ..] if self.there(&[first.clone(), second.clone()]) => Some(2),
            _ => wild(1).then_some(1),
        }
    }

    fn says(&self, name: &[Vec<u8>], kind: u16) -> Says {
        let Some(top) = self.top(name) else { return Says::Elsewhere };
        for count in top + 1..=name.len() {
            if self.at(&name[..count]).contains(&NS) && !(count == name.len() && kind == DS) {
                return Says::Cut(count);
            }
        }
        let own = self.at(name);
        if !own.is_empty() {
            return Says::Records(own);
        }
        if self.there(name) {
            return Says::Empty;
        }
        let mut wild = name.to_vec();
        while wild.len() > top && !self.there(&wild) {
            wild.pop();
        }
        wild.push(b"*".to_vec());
        let (there, wild) = (self.there(&wild), self.at(&wild));
        match (wild.is_empty(), there) {
            (false, _) => Says::Records(wild),
            (true, true) => Says::Empty,
            (true, false) => Says::Missing,
        }
    }
}

fn small_name() -> impl Strategy<Value = String> {
    let label = prop_oneof![Just("a"), Just("B"), Just("*"), Just("arpa")];
    prop::collection::vec(label, 0..5).prop_map(|labels| labels.iter().map(|label| format!("{label}.")).collect())
}

fn small_record() -> impl Strategy<Value = Record> {
    let data = prop_oneof![
        6 => Just("A 10.0.0.1"),
        2 => Just("TXT x"),
        1 => Just("NS a."),
        1 => Just("DS 1 8 2 aa"),
        1 => Just("SOA a. a. 1 2 3 4 5"),
    ];
    (small_name(), data).prop_map(|(name, data)| {
        let name = if name.is_empty() { ".".to_string() } else { name };
        format!("{name} {data}").parse().unwrap()
    })
}

proptest! {
    #[test]
    fn a_zone_says_what_the_model_says(
        records in prop::collection::vec(small_record(), 0..10),
        unset in prop::collection::vec(any::<prop::sample::Index>(), 0..2),
        asked in small_name(),
        kind in prop_oneof![Just(1_u16), Just(DS), Just(SOA)],
    ) {
        let (mut zone, mut model) = (Zone::default(), Model(Vec::new()));
        for record in &records {
            zone.set(record.clone()).unwrap();
            model.0.push((labels_of(record.name().as_wire()), record.kind));
        }
        for which in unset.iter().filter(|_| !records.is_empty()) {
            let name = which.get(&records).name();
            let labels = labels_of(name.as_wire());
            prop_assert_eq!(zone.unset(name), !model.at(&labels).is_empty());
            model.0.retain(|(owner, _)| *owner != labels);
        }
        let asked = if asked.is_empty() { ".".to_string() } else { asked };
        let asked: Name = asked.parse().unwrap();
        let key = Key::of(asked.as_wire());
        let says = match zone.find(&key, kind).map(|place| place.found) {
            None => Says::Elsewhere,
            Some(Found::Cut(_, count)) => Says::Cut(count),
            Some(Found::Empty) => Says::Empty,
            Some(Found::Missing) => Says::Missing,
            Some(Found::Entry(entry)) => Says::Records((0..300).filter(|kind| entry.set(*kind).is_some()).collect()),
        };
        prop_assert_eq!(says, model.says(&labels_of(asked.as_wire()), kind));
    }
}
