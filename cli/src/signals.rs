//! The names of signals.

use rustix::process::Signal;

/// The names that are known, and the numbers of this machine.
const SIGNALS: &[(&str, Signal)] = &[
    ("ABRT", Signal::ABORT),
    ("ALRM", Signal::ALARM),
    ("BUS", Signal::BUS),
    ("CHLD", Signal::CHILD),
    ("CONT", Signal::CONT),
    ("FPE", Signal::FPE),
    ("HUP", Signal::HUP),
    ("ILL", Signal::ILL),
    ("INT", Signal::INT),
    ("IO", Signal::IO),
    ("IOT", Signal::ABORT),
    ("KILL", Signal::KILL),
    ("PIPE", Signal::PIPE),
    ("PROF", Signal::PROF),
    ("QUIT", Signal::QUIT),
    ("SEGV", Signal::SEGV),
    ("STOP", Signal::STOP),
    ("SYS", Signal::SYS),
    ("TERM", Signal::TERM),
    ("TRAP", Signal::TRAP),
    ("TSTP", Signal::TSTP),
    ("TTIN", Signal::TTIN),
    ("TTOU", Signal::TTOU),
    ("URG", Signal::URG),
    ("USR1", Signal::USR1),
    ("USR2", Signal::USR2),
    ("VTALRM", Signal::VTALARM),
    ("WINCH", Signal::WINCH),
    ("XCPU", Signal::XCPU),
    ("XFSZ", Signal::XFSZ),
];

/// The number of the signal with that name, in any case and with `SIG` before
/// it or without.
pub(crate) fn number(name: &str) -> Result<i32, String> {
    let upper = name.to_ascii_uppercase();
    let short = upper.strip_prefix("SIG").unwrap_or(&upper);
    let found = SIGNALS.iter().find(|(known, _)| *known == short);
    found.map(|(_, signal)| signal.as_raw()).ok_or_else(|| {
        let names: Vec<&str> = SIGNALS.iter().map(|&(name, _)| name).collect();
        format!("no signal has that name; these are known: {}", names.join(" "))
    })
}

/// The name of the signal of that number, or the number itself.
pub(crate) fn name(number: i32) -> String {
    let found = SIGNALS.iter().find(|(_, signal)| signal.as_raw() == number);
    found.map_or_else(|| number.to_string(), |&(name, _)| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_named_in_any_case_and_with_sig_or_without() {
        for name in ["KILL", "kill", "SIGKILL", "sigkill", "SigKill"] {
            assert_eq!(number(name), Ok(9));
        }
        assert_eq!((number("iot"), number("abrt")), (Ok(6), Ok(6)));
        assert_eq!((name(6), name(15), name(40)), ("ABRT".into(), "TERM".into(), "40".into()));
    }

    #[test]
    fn an_unknown_signal_is_told_the_known_ones() {
        for name in ["", "SIG", "NOPE", "9", "SIGSIGKILL"] {
            assert!(number(name).expect_err(name).contains("XFSZ"), "{name}");
        }
    }
}
