//! Names in the one namespace: `/X88550014d4c82e4d/job/3`.

use alloc::sync::Arc;
use core::{cmp::Ordering, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::ServerId;

/// The most components a path may have beneath its server.
pub const MAX_DEPTH: usize = 64;
/// The most bytes a component may have.
pub const MAX_COMPONENT: usize = 255;

/// A path beneath a server's anchor: components joined by `/`; the server's
/// own anchor is the empty path.
///
/// Ordered by components, so that everything beneath an anchor is one range.
///
/// ```
/// use circuit_core::Path;
/// let path: Path = "job/3".parse().unwrap();
/// assert!(path.is_beneath(&"job".parse().unwrap()));
/// assert!("job//3".parse::<Path>().is_err());
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Path(Arc<str>);

impl Path {
    /// The server's own anchor.
    pub fn root() -> Self {
        Self("".into())
    }

    /// Whether this is the server's own anchor.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The components joined by `/`, without one at the beginning.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The components, first to last.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|part| !part.is_empty())
    }

    /// How many components there are.
    pub fn depth(&self) -> usize {
        self.components().count()
    }

    /// This path with one more component.
    ///
    /// # Errors
    /// [`BadPath`] for a component or a depth that is not allowed.
    pub fn join(&self, component: &str) -> Result<Self, BadPath> {
        check_component(component)?;
        if self.depth() == MAX_DEPTH {
            return Err(BadPath::TooDeep);
        }
        let slash = if self.is_root() { "" } else { "/" };
        Ok(Self([self.as_str(), slash, component].concat().into()))
    }

    /// Whether this path is `other` or beneath it.
    pub fn is_beneath(&self, other: &Self) -> bool {
        match self.0.strip_prefix(other.as_str()) {
            Some(rest) => other.is_root() || rest.is_empty() || rest.starts_with('/'),
            None => false,
        }
    }

    /// The first `depth` components.
    pub fn ancestor(&self, depth: usize) -> Self {
        let end = self.0.match_indices('/').nth(depth.wrapping_sub(1)).map_or(self.0.len(), |(at, _)| at);
        match depth {
            0 => Self::root(),
            _ => Self(self.0.get(..end).unwrap_or_default().into()),
        }
    }

    /// Something that is after everything beneath this path, and before what
    /// follows it; no anchor can have this name.
    pub(crate) fn past_subtree(&self) -> Self {
        Self([self.as_str(), "\u{1}"].concat().into())
    }
}

impl Default for Path {
    fn default() -> Self {
        Self::root()
    }
}

impl FromStr for Path {
    type Err = BadPath;
    fn from_str(text: &str) -> Result<Self, BadPath> {
        if text.is_empty() {
            return Ok(Self::root());
        }
        for (depth, part) in text.split('/').enumerate() {
            check_component(part)?;
            if depth >= MAX_DEPTH {
                return Err(BadPath::TooDeep);
            }
        }
        Ok(Self(text.into()))
    }
}

impl Ord for Path {
    fn cmp(&self, other: &Self) -> Ordering {
        if self == other {
            return Ordering::Equal; // as mostly: who looks something up finds it
        }
        // Component by component: as text, but that a slash, which ends one,
        // comes before all else.
        let key = |byte| if byte == b'/' { 0 } else { byte };
        self.0.bytes().map(key).cmp(other.0.bytes().map(key))
    }
}

impl PartialOrd for Path {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl Serialize for Path {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Path {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Path;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Path, E> {
                text.parse().map_err(E::custom)
            }
        }
        from.deserialize_str(Text)
    }
}

fn check_component(part: &str) -> Result<(), BadPath> {
    match part {
        "" => Err(BadPath::EmptyComponent),
        "." | ".." | "..." => Err(BadPath::Dots),
        _ if part.len() > MAX_COMPONENT => Err(BadPath::LongComponent),
        _ if part.is_ascii() && !part.bytes().any(|byte| byte.is_ascii_control() || byte == b'/') => Ok(()),
        _ if part.chars().any(|c| c.is_control() || c == '/') => Err(BadPath::Control),
        _ => Ok(()),
    }
}

/// An anchor anywhere in the circuit: a server and a path beneath it.
///
/// ```
/// use circuit_core::AnchorPath;
/// let anchor: AnchorPath = "/X88550014d4c82e4d/job/3".parse().unwrap();
/// assert_eq!(anchor.to_string(), "/X88550014d4c82e4d/job/3");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct AnchorPath {
    /// The server that hosts it.
    pub server: ServerId,
    /// Where it is on that server.
    pub path: Path,
}

impl AnchorPath {
    /// The anchor of a server itself.
    pub fn of_server(server: ServerId) -> Self {
        Self { server, path: Path::root() }
    }

    /// Like parsing, but gives nothing for the root `/`, which is no anchor of
    /// any server.
    ///
    /// # Errors
    /// [`BadPath`], as parsing does.
    pub fn parse_or_root(text: &str) -> Result<Option<Self>, BadPath> {
        if text == "/" { Ok(None) } else { text.parse().map(Some) }
    }
}

impl FromStr for AnchorPath {
    type Err = BadPath;
    fn from_str(text: &str) -> Result<Self, BadPath> {
        if text == "/" {
            return Err(BadPath::NotAServer);
        }
        let below = text.strip_prefix('/').ok_or(BadPath::Relative)?;
        let below = below.strip_suffix('/').unwrap_or(below);
        let (first, rest) = match below.split_once('/') {
            Some((_, "")) => return Err(BadPath::EmptyComponent),
            Some((first, rest)) => (first, rest),
            None => (below, ""),
        };
        check_component(first)?;
        let server = first.parse().map_err(|_| BadPath::NotAServer)?;
        Ok(Self { server, path: rest.parse()? })
    }
}

impl fmt::Display for AnchorPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.server)?;
        if self.path.is_root() { Ok(()) } else { write!(f, "/{}", self.path) }
    }
}

/// Why a text is no path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPath {
    /// It does not begin with `/`.
    Relative,
    /// Two slashes follow each other.
    EmptyComponent,
    /// A component is `.`, `..` or `...`.
    Dots,
    /// A component is longer than [`MAX_COMPONENT`] bytes.
    LongComponent,
    /// A component has NUL, a newline, ESC or another control character in it.
    Control,
    /// It has more than [`MAX_DEPTH`] components.
    TooDeep,
    /// Its first component is no server's id.
    NotAServer,
}

impl fmt::Display for BadPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Relative => "an anchor's path begins with /",
            Self::EmptyComponent => "a component of the path is empty",
            Self::Dots => "a component of the path is '.', '..' or '...'",
            Self::LongComponent => "a component of the path is longer than 255 bytes",
            Self::Control => "a component of the path has a control character in it",
            Self::TooDeep => "the path has more than 64 components",
            Self::NotAServer => "the path's first component must be a server: X and 16 lower-case hexadecimal digits",
        })
    }
}

impl core::error::Error for BadPath {}

#[cfg(test)]
mod tests {
    use alloc::{
        format,
        string::{String, ToString},
    };

    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Result<AnchorPath, BadPath> {
        text.parse()
    }

    #[test]
    fn every_kind_of_bad_path_is_named() {
        let long = format!("/X0000000000000001/{}", "x".repeat(256));
        let deep = format!("/X0000000000000001{}", "/d".repeat(65));
        for (text, why) in [
            ("job", BadPath::Relative),
            ("", BadPath::Relative),
            ("//", BadPath::EmptyComponent),
            ("/X0000000000000001//a", BadPath::EmptyComponent),
            ("/X0000000000000001//", BadPath::EmptyComponent),
            ("/X0000000000000001/..", BadPath::Dots),
            ("/X0000000000000001/a/.../b", BadPath::Dots),
            ("/X0000000000000001/a\0b", BadPath::Control),
            ("/X0000000000000001/a\nb", BadPath::Control),
            ("/X0000000000000001/\x1b[2J", BadPath::Control),
            ("/job/3", BadPath::NotAServer),
            ("/", BadPath::NotAServer),
            ("/X938fe923bcdef2390", BadPath::NotAServer),
            (long.as_str(), BadPath::LongComponent),
            (deep.as_str(), BadPath::TooDeep),
        ] {
            assert_eq!(parsed(text), Err(why), "{text:?}");
        }
    }

    #[test]
    fn the_limits_themselves_are_allowed() {
        let long = format!("/X0000000000000001/{}", "x".repeat(255));
        let deep = format!("/X0000000000000001{}", "/d".repeat(64));
        assert!(parsed(&long).is_ok() && parsed(&deep).is_ok());
        assert_eq!(parsed("/X0000000000000001/").unwrap().path, Path::root());
    }

    proptest! {
        #[test]
        fn a_path_reads_back_as_printed(server: u64, parts in prop::collection::vec("[a-zA-Z0-9 _.@é-]{1,9}", 0..9)) {
            let text = format!("/{}{}", ServerId(server), parts.iter().map(|p| format!("/{p}")).collect::<String>());
            if let Ok(anchor) = parsed(&text) {
                prop_assert_eq!(anchor.to_string(), text);
            }
        }

        #[test]
        fn whatever_is_beneath_sorts_as_one_range(
            a in "[a/!-0]{1,6}", b in "[a/!-0]{1,6}", c in "[a/!-0]{1,6}",
        ) {
            if let (Ok(a), Ok(b), Ok(c)) = (a.parse::<Path>(), b.parse::<Path>(), c.parse::<Path>()) {
                // Nothing outside a subtree lies between two paths inside it.
                if a <= b && b <= c && a.is_beneath(&a) && c.is_beneath(&a) {
                    prop_assert!(b.is_beneath(&a));
                }
            }
        }
    }
}
