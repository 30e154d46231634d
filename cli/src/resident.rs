//! How much of the program is in memory.

use std::{fs, ptr};

use rustix::mm::{Advice, madvise};

/// Lets go of the code that was needed so far.
///
/// Starting takes much that running does not: the dynamic linker, the command
/// line, what each of them brought along as its neighbours in the file. All of it
/// would stay mapped for as long as the server runs. Whatever is needed again
/// comes back by itself, from the page cache, and nothing else does. Where the
/// kernel does not do that nothing is lost.
pub(crate) fn let_go_of_code() {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for (start, end) in maps.lines().filter_map(code) {
        // SAFETY: these pages are those of a file, executed and read, and not
        // writable: they are the same when they are read again.
        let _ = unsafe { madvise(ptr::with_exposed_provenance_mut(start), end - start, Advice::LinuxDontNeed) };
    }
}

/// Where the code of a file is mapped, if a line of `maps` says so:
/// `start-end permissions offset device inode path`.
fn code(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let is_code = fields.next()? == "r-xp" && fields.nth(3)?.starts_with('/');
    let number = |field| usize::from_str_radix(field, 16).ok();
    Some((number(start)?, number(end)?)).filter(|(start, end)| is_code && start < end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_what_is_executed_from_a_file_and_never_written() {
        let line = "55d0a000-55d0b000 r-xp 00001000 08:01 42 /usr/bin/circuit";
        assert_eq!(code(line), Some((0x55d0_a000, 0x55d0_b000)));
        for other in [
            "55d0a000-55d0b000 rwxp 00001000 08:01 42 /usr/bin/circuit",
            "55d0a000-55d0b000 r--p 00001000 08:01 42 /usr/bin/circuit",
            "7ffd1000-7ffd2000 r-xp 00000000 00:00 0 [vdso]",
            "7ffd1000-7ffd2000 r-xp 00000000 00:00 0",
            "55d0b000-55d0a000 r-xp 00001000 08:01 42 /usr/bin/circuit",
            "55d0a000 r-xp",
            "",
        ] {
            assert_eq!(code(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_needed_again_comes_back() {
        let before = code_in_memory();
        let_go_of_code();
        assert!(code_in_memory() < before);
        assert_eq!("it runs".to_owned() + " on", "it runs on");
    }

    /// How much of it is mapped, in KiB.
    fn code_in_memory() -> usize {
        let maps = fs::read_to_string("/proc/self/smaps").unwrap();
        let (mut in_code, mut total) = (false, 0);
        for line in maps.lines() {
            let mut fields = line.split_ascii_whitespace();
            match fields.next() {
                Some(range) if range.contains('-') => in_code = code(line).is_some(),
                Some("Rss:") if in_code => total += fields.next().unwrap().parse::<usize>().unwrap(),
                _ => {}
            }
        }
        total
    }
}
