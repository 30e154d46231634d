//! The overlay: five rings over all servers, each in another pseudo-random
//! order, and everybody next to everybody's neighbours in them.
//!
//! A ring is a pure function of the view, so that churn and merges cannot wear
//! it down; a union of random Hamilton cycles is close to the best expander
//! there is (Friedman; the overlay of Law and Siu, INFOCOM 2003).

use alloc::{collections::BTreeSet, vec::Vec};

use crate::ServerId;

/// How many rings.
pub const RINGS: usize = 5;

/// A good mixture of 64 bits (the finalizer of splitmix64).
pub(super) const fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Where a server stands in a ring.
const fn place(ring: usize, id: ServerId) -> u64 {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    mix(id.0.wrapping_add(GOLDEN.wrapping_mul(ring as u64 + 1)))
}

/// The neighbours of one server in all rings: the next and the one before.
#[derive(Clone, Debug)]
pub struct Rings {
    of: ServerId,
    sides: [[Option<(u64, ServerId)>; 2]; RINGS],
}

impl Rings {
    /// The neighbours of `of` among nobody.
    pub const fn new(of: ServerId) -> Self {
        Self { of, sides: [[None; 2]; RINGS] }
    }

    /// The neighbours of `of` among `all`.
    pub fn among(of: ServerId, all: impl Iterator<Item = ServerId>) -> Self {
        let mut rings = Self::new(of);
        for id in all {
            rings.offer(id);
        }
        rings
    }

    /// A server is there: whether it is a neighbour.
    pub fn offer(&mut self, id: ServerId) -> bool {
        if id == self.of {
            return false;
        }
        let mut taken = false;
        for (ring, sides) in self.sides.iter_mut().enumerate() {
            let ahead = place(ring, id).wrapping_sub(place(ring, self.of));
            for (side, distance) in sides.iter_mut().zip([ahead, ahead.wrapping_neg()]) {
                if side.is_none_or(|nearest| (distance, id) < nearest) {
                    *side = Some((distance, id));
                    taken = true;
                }
            }
        }
        taken
    }

    /// Whether a server is a neighbour.
    pub fn contains(&self, id: ServerId) -> bool {
        self.iter().any(|neighbour| neighbour == id)
    }

    /// All neighbours, each once.
    pub fn set(&self) -> BTreeSet<ServerId> {
        self.iter().collect()
    }

    /// The neighbours in the first `rings` alone.
    pub(super) fn within(&self, rings: usize) -> BTreeSet<ServerId> {
        self.sides.iter().take(rings).flatten().flatten().map(|(_, id)| *id).collect()
    }

    fn iter(&self) -> impl Iterator<Item = ServerId> {
        self.sides.iter().flatten().flatten().map(|(_, id)| *id)
    }
}

/// Who stands next to `of` among `all`: so many along each side of every ring, the
/// nearest first.
pub(super) fn sides(of: ServerId, all: impl Iterator<Item = ServerId>, far: usize) -> Vec<Vec<ServerId>> {
    let others: Vec<ServerId> = all.filter(|&id| id != of).collect();
    let nearest = |distance: &dyn Fn(ServerId) -> u64| {
        let mut all: Vec<(u64, ServerId)> = others.iter().map(|&id| (distance(id), id)).collect();
        if far < all.len() {
            all.select_nth_unstable(far);
            all.truncate(far);
        }
        all.sort_unstable();
        all.into_iter().map(|(_, id)| id).collect()
    };
    let of_ring = |ring| {
        let ahead = move |id| place(ring, id).wrapping_sub(place(ring, of));
        [nearest(&ahead), nearest(&move |id| ahead(id).wrapping_neg())]
    };
    (0..RINGS).flat_map(of_ring).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn members(count: u64, seed: u64) -> Vec<ServerId> {
        (0..count).map(|index| ServerId(mix(seed.wrapping_add(index)))).collect()
    }

    #[test]
    fn whoever_is_my_neighbour_has_me_as_one() {
        let all = members(300, 1);
        for &one in &all {
            let mine = Rings::among(one, all.iter().copied());
            assert!(mine.set().len() > RINGS && mine.set().len() <= 2 * RINGS);
            for other in mine.set() {
                assert!(Rings::among(other, all.iter().copied()).contains(one));
            }
        }
    }

    #[test]
    fn few_servers_are_all_neighbours_of_each_other() {
        for count in 1..=3 {
            let all = members(count, 7);
            assert_eq!(Rings::among(all[0], all.iter().copied()).set().len() as u64, count - 1);
        }
    }

    proptest! {
        #[test]
        fn the_order_of_arrival_makes_no_difference(count in 1_u64..60, seed: u64, turn in 0_usize..60) {
            let all = members(count, seed);
            let mut turned = all.clone();
            turned.rotate_left(turn % all.len());
            let (one, other) = (Rings::among(all[0], all.iter().copied()), Rings::among(all[0], turned.into_iter()));
            prop_assert_eq!(one.sides, other.sides);
        }

        #[test]
        fn without_one_that_is_no_neighbour_nothing_changes(count in 12_u64..60, seed: u64) {
            let all = members(count, seed);
            let rings = Rings::among(all[0], all.iter().copied());
            for &gone in all.iter().filter(|&&id| !rings.contains(id)) {
                let without = Rings::among(all[0], all.iter().copied().filter(|&id| id != gone));
                prop_assert_eq!(&without.sides, &rings.sides);
            }
        }
    }
}
