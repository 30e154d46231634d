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
    for (start, end) in clean_code(&fs::read_to_string("/proc/self/smaps").unwrap_or_default()) {
        // SAFETY: these pages are those of a file and nobody has changed any, nor
        // can: they are the same when they are read again. Nothing that is loaded
        // here is ever unloaded.
        let _ = unsafe { madvise(ptr::with_exposed_provenance_mut(start), end - start, Advice::LinuxDontNeed) };
    }
}

/// Where the code of files is mapped of which no page was changed, as `smaps` says:
/// a debugger may have, and what it wrote would be lost.
fn clean_code(smaps: &str) -> Vec<(usize, usize)> {
    let (mut found, mut last) = (Vec::new(), None);
    for line in smaps.lines() {
        match line.split_once(':') {
            Some(("Anonymous", size)) if size.trim() == "0 kB" => found.extend(last.take()),
            Some((name, _)) if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') => {}
            _ => last = code(line), // the first line of another
        }
    }
    found
}

/// Where the code of a file is mapped, if such a line says so:
/// `start-end permissions offset device inode path`.
fn code(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let is_code = fields.next()? == "r-xp" && fields.nth(3)?.starts_with('/') && !line.ends_with(" (deleted)");
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
            "55d0a000-55d0b000 r-xp 00001000 08:01 42 /anon_hugepage (deleted)",
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
    fn what_somebody_changed_is_kept() {
        let maps = |changed: u32| {
            format!(
                "1000-2000 r-xp 0 08:01 42 /bin/a\nRss: 4 kB\nAnonymous: {changed} kB\nVmFlags: rd ex\n\
                 2000-3000 r--p 0 08:01 42 /bin/a\nAnonymous: 0 kB\n\
                 3000-4000 r-xp 0 08:01 42 /bin/b:c\nAnonymous: 0 kB\n"
            )
        };
        assert_eq!(clean_code(&maps(0)), [(0x1000, 0x2000), (0x3000, 0x4000)]);
        assert_eq!(clean_code(&maps(4)), [(0x3000, 0x4000)]);
    }

    #[test]
    fn there_is_code_to_let_go_of_and_it_comes_back() {
        let smaps = fs::read_to_string("/proc/self/smaps").expect("Linux");
        assert!(!clean_code(&smaps).is_empty());
        let_go_of_code();
        let_go_of_code();
    }
}
