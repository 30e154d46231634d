//! Lists on the wire, bounded, and read without trusting the length they claim.

use alloc::vec::Vec;
use core::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};

/// Reads a list of at most `MAX` items; for `#[serde(deserialize_with)]`.
///
/// Memory grows with the items that are really there, never by the length that
/// stands before them.
///
/// # Errors
/// Those of the items, and a list of more than `MAX`.
pub fn bounded<'de, const MAX: usize, T, D>(from: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    from.deserialize_seq(Items::<T, MAX>(PhantomData))
}

/// Room for so many items is made at once, whether they come or not.
const FEW: usize = 16;

struct Items<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Items<T, MAX> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {MAX} items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::with_capacity(items.size_hint().unwrap_or(0).min(FEW));
        while let Some(item) = items.next_element()? {
            if list.len() == MAX {
                return Err(de::Error::custom("a list over its limit"));
            }
            list.push(item);
        }
        Ok(list)
    }
}
