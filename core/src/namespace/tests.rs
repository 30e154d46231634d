use alloc::{collections::BTreeMap, string::ToString, vec::Vec};

use proptest::prelude::*;

use super::*;

const KEY: CallKey = CallKey { registration: 1, seq: 1 };

fn start(space: &mut Namespace, op: Op) -> Output {
    space.start(KEY, op, Bytes::new(), true);
    let output = space.poll_output().unwrap();
    assert_eq!(space.poll_output(), None);
    output
}

fn make(space: &mut Namespace, path: &str) -> Output {
    start(space, Op::MakeChan { path: path.parse().unwrap(), cap: 0 })
}

fn error(output: &Output) -> ErrorKind {
    match output {
        Output::Answer { result: Err(error), .. } => error.kind,
        other => panic!("{other:?}"),
    }
}

/// All pages of a listing.
fn list(space: &mut Namespace, path: &str, deep: bool) -> Vec<(alloc::string::String, bool)> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let op = Op::List { path: path.parse().unwrap(), after, deep };
        match start(space, op) {
            Output::Answer { result: Ok(Reply::Entries { entries, more }), .. } => {
                after = entries.last().map(|entry| entry.path.clone());
                all.extend(entries.into_iter().map(|entry| (entry.path.to_string(), entry.kind.is_some())));
                if !more {
                    return all;
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_anchor_holds_one_element_and_vanishes_with_the_last_beneath_it() {
    let mut space = Namespace::default();
    assert!(matches!(make(&mut space, "a/b/c"), Output::Make { .. }));
    assert_eq!(error(&make(&mut space, "a/b/c")), ErrorKind::AlreadyExists);
    assert!(matches!(make(&mut space, "a/b"), Output::Make { .. }));
    assert!(matches!(
        start(&mut space, Op::Scrub { path: "a/b/c".parse().unwrap(), kill: false }),
        Output::Remove { .. }
    ));
    assert_eq!(list(&mut space, "", true), [("a".into(), false), ("a/b".into(), true)]);
    assert!(matches!(
        start(&mut space, Op::Scrub { path: "a/b".parse().unwrap(), kill: false }),
        Output::Remove { .. }
    ));
    assert_eq!(list(&mut space, "", true), []);
    assert_eq!(error(&start(&mut space, Op::Scrub { path: "a/b".parse().unwrap(), kill: false })), ErrorKind::NotFound);
}

#[test]
fn a_servers_own_anchor_is_taken_and_stays() {
    let mut space = Namespace::default();
    assert_eq!(error(&make(&mut space, "")), ErrorKind::AlreadyExists);
    assert_eq!(error(&start(&mut space, Op::Scrub { path: Path::root(), kill: false })), ErrorKind::Forbidden);
    assert!(matches!(start(&mut space, Op::Peek(Path::root())), Output::Server { .. }));
}

#[test]
fn listing_beneath_nothing_is_an_error_and_not_an_empty_list() {
    let mut space = Namespace::default();
    make(&mut space, "a/b");
    let op = Op::List { path: "c".parse().unwrap(), after: None, deep: false };
    assert_eq!(error(&start(&mut space, op)), ErrorKind::NotFound);
    assert_eq!(list(&mut space, "a/b", false), []);
}

#[test]
fn names_around_the_slash_do_not_confuse_the_order() {
    let mut space = Namespace::default();
    for path in ["a", "a b", "a-b", "a/x", "a/x/y", "a.b", "a0", "b"] {
        make(&mut space, path);
    }
    let children: Vec<_> = list(&mut space, "", false).into_iter().map(|(path, _)| path).collect();
    assert_eq!(children, ["a", "a b", "a-b", "a.b", "a0", "b"]);
    assert_eq!(list(&mut space, "a", true), [("a/x".into(), true), ("a/x/y".into(), true)]);
}

proptest! {
    #[test]
    fn listings_agree_with_a_plain_map(paths in prop::collection::vec("[ab.]{1,2}(/[ab]{1,2}){0,4}", 0..2000), deep: bool) {
        let (mut space, mut model) = (Namespace::default(), BTreeMap::new());
        for path in &paths {
            let Ok(path) = path.parse::<Path>() else { continue };
            make(&mut space, path.as_str());
            for depth in 1..path.depth() {
                model.entry(path.ancestor(depth)).or_insert(false);
            }
            model.insert(path, true);
        }
        let wanted: Vec<_> = model
            .into_iter()
            .filter(|(path, _)| deep || path.depth() == 1)
            .map(|(path, full)| (path.to_string(), full))
            .collect();
        prop_assert_eq!(list(&mut space, "", deep), wanted);
    }
}

#[test]
fn what_an_earlier_server_left_behind_stands_where_nothing_else_does() {
    let mut space = Namespace::default();
    let path: Path = "a/b".parse().unwrap();
    let first = space.adopt(path.clone(), Kind::Proc).unwrap();
    assert_eq!(space.adopt(path.clone(), Kind::Proc), None);
    assert_eq!(space.adopt(Path::root(), Kind::Proc), None);
    assert_eq!(list(&mut space, "", true), [("a".to_string(), false), ("a/b".to_string(), true)]);
    assert!(matches!(start(&mut space, Op::Wait(path)), Output::Use { id, .. } if id == first));
}
