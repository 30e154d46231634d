//! The namespace of one host: which element stands where.
//!
//! Only elements are stored. An anchor is there as long as there is an element
//! at it or beneath it, so that anchors appear when something is made and
//! vanish when nothing is left, with nothing to keep in step.

#[cfg(test)]
mod tests;

use alloc::{
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};
use core::ops::Bound;

use bytes::Bytes;

use crate::{
    Error, ErrorKind, Path,
    calls::CallKey,
    elements::ElementId,
    wire::op::{Entry, Kind, MAX_PAGE, Op, Reply},
};

/// The most elements of one host.
pub const MAX_ELEMENTS: usize = 1 << 20;

/// What the namespace wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// The call is answered.
    Answer {
        /// Which call.
        key: CallKey,
        /// What came of it.
        result: Result<Reply, Error>,
    },
    /// An element is to be made; its place is taken.
    Make {
        /// For which call.
        key: CallKey,
        /// The new element.
        id: ElementId,
        /// What is asked.
        op: Op,
        /// What has come of the inbound stream.
        input: Bytes,
        /// Whether that is all of it.
        ended: bool,
    },
    /// The call is for this element.
    Use {
        /// Which call.
        key: CallKey,
        /// Which element.
        id: ElementId,
        /// What is asked.
        op: Op,
        /// What has come of the inbound stream.
        input: Bytes,
        /// Whether that is all of it.
        ended: bool,
    },
    /// The call is for the server itself.
    Server {
        /// Which call.
        key: CallKey,
        /// What is asked.
        op: Op,
    },
    /// An element has lost its place.
    Remove {
        /// For which call.
        key: CallKey,
        /// Which element.
        id: ElementId,
        /// Whether what it runs is to end.
        kill: bool,
    },
}

/// The elements of one host, by their paths.
#[derive(Debug, Default)]
pub struct Namespace {
    places: BTreeMap<Path, (Kind, ElementId)>,
    paths: BTreeMap<ElementId, Path>,
    next: u64,
    out: VecDeque<Output>,
}

impl Namespace {
    /// A command: find what the call is about.
    pub fn start(&mut self, key: CallKey, op: Op, input: Bytes, ended: bool) {
        let path = op.path();
        if let Op::List { path, after, deep } = &op {
            let result = self.list(path, after.as_ref(), *deep);
            return self.out.push_back(Output::Answer { key, result });
        }
        if let Some(kind) = op.makes() {
            if let Some(error) = self.cannot_make(&path) {
                return self.out.push_back(Output::Answer { key, result: Err(error) });
            }
            let id = self.place(path, kind);
            return self.out.push_back(Output::Make { key, id, op, input, ended });
        }
        if path.is_root() {
            return match op {
                Op::Scrub { .. } => self.fail(key, ErrorKind::Forbidden, "a server's own element cannot be removed"),
                op => self.out.push_back(Output::Server { key, op }),
            };
        }
        let Some(&(_, id)) = self.places.get(&path) else {
            return self.fail(key, ErrorKind::NotFound, "");
        };
        if let Op::Scrub { kill, .. } = op {
            self.vacate(id);
            self.out.push_back(Output::Remove { key, id, kill });
        } else {
            self.out.push_back(Output::Use { key, id, op, input, ended });
        }
    }

    /// A command: an element of an earlier server stands there again, unless
    /// something does.
    pub fn adopt(&mut self, path: Path, kind: Kind) -> Option<ElementId> {
        self.cannot_make(&path).is_none().then(|| self.place(path, kind))
    }

    /// A command: the element could not be made after all, or has ended by
    /// itself; its place is free.
    pub fn vacate(&mut self, id: ElementId) {
        if let Some(path) = self.paths.remove(&id) {
            self.places.remove(&path);
        }
    }

    /// What now?
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// How many elements have a place.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether nothing has a place.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    fn cannot_make(&self, path: &Path) -> Option<Error> {
        if path.is_root() {
            Some(Error::new(ErrorKind::AlreadyExists, "this anchor is the server's own"))
        } else if self.places.contains_key(path) {
            Some(ErrorKind::AlreadyExists.into())
        } else if self.places.len() >= MAX_ELEMENTS {
            Some(Error::new(ErrorKind::QuotaExceeded, "the server holds a million elements"))
        } else {
            None
        }
    }

    fn place(&mut self, path: Path, kind: Kind) -> ElementId {
        self.next += 1;
        let id = ElementId(self.next);
        self.paths.insert(id, path.clone());
        self.places.insert(path, (kind, id));
        id
    }

    /// One page of the anchors beneath `path`, which itself must be one.
    fn list(&self, path: &Path, after: Option<&Path>, deep: bool) -> Result<Reply, Error> {
        let after = after.filter(|after| after.is_beneath(path) && *after != path);
        let child = |place: &Path| place.ancestor(path.depth() + 1);
        let mut from = match after {
            None => Bound::Excluded(path.clone()),
            Some(after) if deep => Bound::Excluded(after.clone()),
            Some(after) => Bound::Included(child(after).past_subtree()),
        };
        let mut found = path.is_root() || after.is_some() || self.places.contains_key(path);
        let mut entries: Vec<Entry> = Vec::new();
        let mut last = after.cloned();
        while let Some((place, &(kind, _))) = self.places.range((from, Bound::Unbounded)).next() {
            if !place.is_beneath(path) {
                break;
            }
            found = true;
            // The anchors on the way to this element that were not listed yet.
            let deepest = if deep { place.depth() } else { path.depth() + 1 };
            for anchor in (path.depth() + 1..=deepest).map(|depth| place.ancestor(depth)) {
                if last.as_ref().is_some_and(|last| *last >= anchor) {
                    continue;
                }
                if entries.len() == MAX_PAGE {
                    return Ok(Reply::Entries { entries, more: true });
                }
                let kind = (anchor == *place).then_some(kind);
                last = Some(anchor.clone());
                entries.push(Entry { path: anchor, kind });
            }
            from = if deep { Bound::Excluded(place.clone()) } else { Bound::Included(child(place).past_subtree()) };
        }
        if found { Ok(Reply::Entries { entries, more: false }) } else { Err(ErrorKind::NotFound.into()) }
    }

    fn fail(&mut self, key: CallKey, kind: ErrorKind, detail: &str) {
        self.out.push_back(Output::Answer { key, result: Err(Error::new(kind, detail)) });
    }
}
