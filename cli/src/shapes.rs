//! What `peek` and `wait` print, with upstream's names of the fields.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use circuit_core::wire::op::{ChanStat, Exit, How, Phase, ProcStat, ServerStat, Stat, SubscriptionStat};
use serde::Serialize;

use crate::signals;

/// The state of an element.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Shape {
    Server(ServerShape),
    Chan(ChanShape),
    Proc(ProcShape),
    Subscription(SubscriptionShape),
}

impl From<Stat> for Shape {
    fn from(stat: Stat) -> Self {
        match stat {
            Stat::Server(stat) => Self::Server(stat.into()),
            Stat::Chan(stat) => Self::Chan(stat.into()),
            Stat::Proc(stat) => Self::Proc(stat.into()),
            Stat::Subscription(stat) => Self::Subscription(stat.into()),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ServerShape {
    addr: String,
    joined: String,
    version: String,
    /// In seconds.
    uptime: u64,
    members: u64,
    sessions: u64,
    elements: u64,
    streams: u64,
    bytes: u64,
}

impl From<ServerStat> for ServerShape {
    fn from(stat: ServerStat) -> Self {
        Self {
            addr: stat.addr.to_string(),
            joined: time(stat.joined),
            version: stat.version,
            uptime: stat.uptime / 1_000_000,
            members: stat.members,
            sessions: stat.sessions,
            elements: stat.elements,
            streams: stat.streams,
            bytes: stat.bytes,
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SubscriptionShape {
    source: &'static str,
    pending: u64,
    closed: bool,
}

impl From<SubscriptionStat> for SubscriptionShape {
    fn from(stat: SubscriptionStat) -> Self {
        Self { source: stat.source.word(), pending: stat.pending, closed: stat.closed }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ChanShape {
    cap: u32,
    closed: bool,
    aborted: bool,
    num_send: u64,
    num_recv: u64,
}

impl From<ChanStat> for ChanShape {
    fn from(stat: ChanStat) -> Self {
        let ChanStat { cap, closed, aborted, num_send, num_recv } = stat;
        Self { cap, closed, aborted, num_send, num_recv }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ProcShape {
    cmd: CmdShape,
    /// Null while it runs.
    exit: Option<ExitShape>,
    phase: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct CmdShape {
    env: Vec<String>,
    dir: String,
    path: String,
    args: Vec<String>,
    scrub: bool,
}

/// One of code and signal is null.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ExitShape {
    code: Option<i32>,
    signal: Option<String>,
    core: bool,
    started: String,
    ended: String,
}

impl From<ProcStat> for ProcShape {
    fn from(stat: ProcStat) -> Self {
        let spec = stat.spec;
        let cmd = CmdShape { env: spec.env, dir: spec.dir, path: spec.path, args: spec.args, scrub: spec.scrub };
        Self { cmd, exit: stat.exit.map(ExitShape::from), phase: word(stat.phase) }
    }
}

impl From<Exit> for ExitShape {
    fn from(exit: Exit) -> Self {
        let (code, signal, core) = match exit.how {
            How::Code(code) => (Some(code), None, false),
            How::Signal { number, core } => (None, Some(signals::name(number)), core),
        };
        Self { code, signal, core, started: time(exit.started), ended: time(exit.ended) }
    }
}

const fn word(phase: Phase) -> &'static str {
    match phase {
        Phase::Running => "running",
        Phase::Exited => "exited",
        Phase::Stopped => "stopped",
        Phase::Signaled => "signaled",
        Phase::Continued => "continued",
    }
}

/// Microseconds since 1970, as people write them.
pub(crate) fn time(micros: u64) -> String {
    /// The last second of the year 9999, after which no time can be written.
    const LAST: Duration = Duration::from_secs(253_402_300_799);
    let at: SystemTime = UNIX_EPOCH + Duration::from_micros(micros).min(LAST);
    humantime::format_rfc3339_micros(at).to_string()
}

#[cfg(test)]
mod tests {
    use circuit_core::wire::op::ProcSpec;

    use super::*;

    #[test]
    fn a_process_has_the_fields_of_upstream() {
        let spec = ProcSpec { path: "/bin/ls".into(), args: vec!["/".into()], ..ProcSpec::default() };
        let exit = Exit { how: How::Signal { number: 9, core: false }, started: 0, ended: 1_500_000 };
        let shape = ProcShape::from(ProcStat { spec, phase: Phase::Signaled, exit: Some(exit) });
        assert_eq!(
            serde_json::to_string(&shape).expect("JSON"),
            concat!(
                r#"{"Cmd":{"Env":[],"Dir":"","Path":"/bin/ls","Args":["/"],"Scrub":false},"#,
                r#""Exit":{"Code":null,"Signal":"KILL","Core":false,"#,
                r#""Started":"1970-01-01T00:00:00.000000Z","Ended":"1970-01-01T00:00:01.500000Z"},"#,
                r#""Phase":"signaled"}"#
            )
        );
    }

    #[test]
    fn no_time_is_too_large_to_print() {
        assert_eq!(time(u64::MAX), "9999-12-31T23:59:59.000000Z");
    }
}
