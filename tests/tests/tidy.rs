//! The repository lints itself: what the house rules say and no compiler
//! checks.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use syn::{spanned::Spanned, visit::Visit};

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;

/// What would let the world into the core.
const BANNED_IN_CORE: &[&str] = &[
    "std::",
    "tokio",
    "HashMap",
    "HashSet",
    "SystemTime",
    "Instant::now",
    "thread_rng",
    "getrandom",
    "cfg(sim",
    "println!",
    "unsafe",
];

/// What is nowhere finished work.
const BANNED_EVERYWHERE: &[&str] = &["todo!(", "unimplemented!(", "#[ignore", "dbg!("];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() && !name.starts_with('.') && name != "target" {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = fs::read_to_string(&path).expect("a source file");
                found.push((path.strip_prefix(root()).expect("inside").to_owned(), text));
            }
        }
    }
    assert!(found.len() > 20, "the sources were not found");
    found.sort();
    found
}

fn none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn no_file_is_too_long_to_live_in() {
    let long = |(path, text): (PathBuf, String)| {
        let lines = text.lines().count();
        (lines > FILE_LINES).then(|| format!("{}: {lines} lines", path.display()))
    };
    none(&sources().into_iter().filter_map(long).collect::<Vec<_>>());
}

#[test]
fn no_function_is_too_long_to_read() {
    struct Long(Vec<String>);
    impl Long {
        fn check(&mut self, name: &syn::Ident, block: &syn::Block) {
            let lines = block.span().end().line - block.span().start().line + 1;
            if lines > FUNCTION_LINES {
                self.0.push(format!("{name}: {lines} lines"));
            }
        }
    }
    impl<'a> Visit<'a> for Long {
        fn visit_item_fn(&mut self, item: &'a syn::ItemFn) {
            self.check(&item.sig.ident, &item.block);
            syn::visit::visit_item_fn(self, item);
        }
        fn visit_impl_item_fn(&mut self, item: &'a syn::ImplItemFn) {
            self.check(&item.sig.ident, &item.block);
            syn::visit::visit_impl_item_fn(self, item);
        }
    }
    let mut faults = Vec::new();
    for (path, text) in sources() {
        let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut long = Long(Vec::new());
        long.visit_file(&file);
        faults.extend(long.0.into_iter().map(|fault| format!("{}: {fault}", path.display())));
    }
    none(&faults);
}

#[test]
fn the_core_stays_pure() {
    let mut faults = Vec::new();
    for (path, text) in sources() {
        if !path.starts_with("core/src") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for word in BANNED_IN_CORE {
                let allowed = *word == "unsafe" && code.contains("forbid(unsafe_code)");
                if code.contains(word) && !allowed {
                    faults.push(format!("{}:{}: {word}", path.display(), number + 1));
                }
            }
        }
    }
    none(&faults);
}

#[test]
fn nothing_is_left_half_done() {
    let mut faults = Vec::new();
    for (path, text) in sources() {
        if path.ends_with("tests/tests/tidy.rs") {
            continue;
        }
        for word in BANNED_EVERYWHERE {
            if text.contains(word) {
                faults.push(format!("{}: {word}", path.display()));
            }
        }
    }
    none(&faults);
}

/// A file that no `mod` and no manifest names is compiled by nobody.
#[test]
fn no_file_is_dead() {
    let sources = sources();
    let mut reached: BTreeSet<PathBuf> = BTreeSet::new();
    for (path, text) in &sources {
        let file = syn::parse_file(text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let folder = path.parent().expect("a folder");
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let own = match stem {
            "mod" | "lib" | "main" => folder.to_owned(),
            _ if is_target(path) => folder.to_owned(),
            _ => folder.join(stem),
        };
        for item in file.items {
            if let syn::Item::Mod(module) = item {
                let name = module.ident.to_string();
                reached.insert(own.join(format!("{name}.rs")));
                reached.insert(own.join(&name).join("mod.rs"));
            }
        }
    }
    let dead = sources.iter().map(|(path, _)| path).filter(|path| !is_target(path) && !reached.contains(*path));
    none(&dead.map(|path| path.display().to_string()).collect::<Vec<_>>());
}

/// Whether cargo finds the file by itself.
fn is_target(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let folder = path.parent().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default();
    let entry = matches!(name, "lib.rs" | "main.rs" | "build.rs");
    entry
        || matches!(folder, "tests" | "benches" | "examples" | "bin" | "fuzz_targets") && !path.starts_with("core/src")
}
