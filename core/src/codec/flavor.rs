//! How postcard reaches memory: one way to write, one to read, one to check.

use alloc::vec::Vec;
use core::cell::Cell;

use postcard::{Error, Result, de_flavors, ser_flavors};

/// Appends to a vector.
pub(super) struct Append<'a>(pub(super) &'a mut Vec<u8>);

impl ser_flavors::Flavor for Append<'_> {
    type Output = ();

    fn try_extend(&mut self, data: &[u8]) -> Result<()> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    fn try_push(&mut self, byte: u8) -> Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn finalize(self) -> Result<()> {
        Ok(())
    }
}

/// Compares what would be written with what was read, so that only the one
/// canonical form of a value is accepted.
pub(super) struct Compare<'a> {
    expected: &'a [u8],
    at: &'a Cell<usize>,
}

impl<'a> Compare<'a> {
    pub(super) fn new(expected: &'a [u8], at: &'a Cell<usize>) -> Self {
        at.set(0);
        Self { expected, at }
    }
}

impl ser_flavors::Flavor for Compare<'_> {
    type Output = ();

    fn try_extend(&mut self, data: &[u8]) -> Result<()> {
        match self.expected.strip_prefix(data) {
            Some(rest) => {
                self.expected = rest;
                self.at.set(self.at.get() + data.len());
                Ok(())
            }
            None => Err(Error::SerializeBufferFull),
        }
    }

    fn try_push(&mut self, byte: u8) -> Result<()> {
        self.try_extend(&[byte])
    }

    fn finalize(self) -> Result<()> {
        if self.expected.is_empty() { Ok(()) } else { Err(Error::SerializeBufferFull) }
    }
}

/// Reads a slice and remembers how far it came, also when it fails.
///
/// It also sees whether any number may be written longer than it need be: the
/// last byte of such a one is 0, and the one before says that more follows. Two
/// such bytes need not be a number, so what follows from it is a closer look.
pub(super) struct Track<'de> {
    rest: &'de [u8],
    at: &'de Cell<usize>,
    goes_on: bool,
    suspect: &'de Cell<bool>,
}

impl<'de> Track<'de> {
    /// The cell lives as long as the bytes: the caller's stack frame.
    pub(super) fn new<'a: 'de>(bytes: &'a [u8], at: &'de Cell<usize>, suspect: &'de Cell<bool>) -> Self {
        Self { rest: bytes, at, goes_on: false, suspect }
    }
}

impl<'de> de_flavors::Flavor<'de> for Track<'de> {
    type Remainder = ();
    type Source = &'de [u8];

    fn pop(&mut self) -> Result<u8> {
        let (&first, rest) = self.rest.split_first().ok_or(Error::DeserializeUnexpectedEnd)?;
        self.rest = rest;
        self.at.set(self.at.get() + 1);
        if self.goes_on && first == 0 {
            self.suspect.set(true);
        }
        self.goes_on = first >= 0x80;
        Ok(first)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }

    fn try_take_n(&mut self, count: usize) -> Result<&'de [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Error::DeserializeUnexpectedEnd)?;
        self.rest = rest;
        self.at.set(self.at.get() + count);
        Ok(taken)
    }

    fn finalize(self) -> Result<()> {
        Ok(())
    }
}
