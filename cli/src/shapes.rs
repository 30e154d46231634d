//! What `peek` and `wait` print, with upstream's names of the fields.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use circuit_core::wire::op::{
    Cause, ChanStat, Choice, Chosen, Clause, ContainerStat, Exit, How, NameserverStat, OnServerExit, OutputSpec, Phase,
    ProcSpec, ProcStat, SelectStat, ServerStat, Stat, SubscriptionStat,
};
use serde::Serialize;

use crate::signals;

/// The state of an element, or how it ended.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Shape {
    Server(ServerShape),
    Chan(ChanShape),
    Proc(ProcShape),
    /// What its engine says of a container, as it says it.
    Container(serde_json::Value),
    Select(SelectShape),
    Chosen(ChosenShape),
    Nameserver(NameserverShape),
    Subscription(SubscriptionShape),
}

impl From<Stat> for Shape {
    fn from(stat: Stat) -> Self {
        match stat {
            Stat::Server(stat) => Self::Server(stat.into()),
            Stat::Chan(stat) => Self::Chan(stat.into()),
            Stat::Proc(stat) => Self::Proc(stat.into()),
            Stat::Container(stat) => Self::Container(inspection(stat)),
            Stat::Select(stat) => Self::Select(stat.into()),
            Stat::Nameserver(stat) => Self::Nameserver(stat.into()),
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

/// The records of each name, each as its text.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct NameserverShape {
    address: String,
    records: BTreeMap<String, Vec<String>>,
}

impl From<NameserverStat> for NameserverShape {
    fn from(stat: NameserverStat) -> Self {
        let mut records = BTreeMap::<String, Vec<String>>::new();
        for record in stat.records {
            records.entry(record.name().to_string()).or_default().push(record.to_string());
        }
        Self { address: stat.addr.to_string(), records }
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
    /// Only what is not as usual, of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_server_exit: Option<&'static str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SelectShape {
    clauses: Vec<ClauseShape>,
    /// Null until one took place.
    chosen: Option<ChosenShape>,
    /// Why none did.
    failed: Option<String>,
}

/// As `mkselect` reads it.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ClauseShape {
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    send: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recv: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<bool>,
}

/// Which clause took place.
#[derive(Debug, Serialize)]
pub(crate) struct ChosenShape {
    clause: u32,
    name: String,
    /// How the process ended, if the clause waited for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    exit: Option<ExitShape>,
}

impl From<SelectStat> for SelectShape {
    fn from(stat: SelectStat) -> Self {
        Self {
            clauses: stat.spec.clauses.into_iter().map(ClauseShape::from).collect(),
            chosen: stat.chosen.map(ChosenShape::from),
            failed: stat.failed.map(|error| error.to_string()),
        }
    }
}

impl From<Clause> for ClauseShape {
    fn from(Clause { name, choice }: Clause) -> Self {
        let mut shape = Self { name, ..Self::default() };
        match choice {
            Choice::Send(at) => shape.send = Some(at.to_string()),
            Choice::Recv(at) => shape.recv = Some(at.to_string()),
            Choice::Exit(at) => shape.exit = Some(at.to_string()),
            Choice::After(micros) => {
                shape.after = Some(span(micros));
            }
            Choice::Default => shape.default = Some(true),
        }
        shape
    }
}

impl From<Chosen> for ChosenShape {
    fn from(Chosen { clause, name, exit }: Chosen) -> Self {
        Self { clause, name, exit: exit.and_then(|stat| stat.exit).map(ExitShape::from) }
    }
}

/// One of code and signal is null.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ExitShape {
    code: Option<i32>,
    signal: Option<String>,
    core: bool,
    /// Why it has no other end, where somebody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'static str>,
    started: String,
    ended: String,
}

impl From<ProcStat> for ProcShape {
    fn from(stat: ProcStat) -> Self {
        Self { cmd: stat.spec.into(), exit: stat.exit.map(ExitShape::from), phase: word(stat.phase) }
    }
}

impl From<ProcSpec> for CmdShape {
    fn from(spec: ProcSpec) -> Self {
        let output = (spec.output != OutputSpec::default()).then(|| spec.output.word());
        let on_server_exit = (spec.on_server_exit == OnServerExit::Keep).then_some("keep");
        let ProcSpec { env, dir, path, args, scrub, .. } = spec;
        Self { env, dir, path, args, scrub, output, grace: spec.grace.map(span), on_server_exit }
    }
}

impl From<Exit> for ExitShape {
    fn from(exit: Exit) -> Self {
        let (code, signal, core) = match exit.how {
            How::Code(_) if exit.cause == Some(Cause::Lost) => (None, None, false),
            How::Code(code) => (Some(code), None, false),
            How::Signal { number, core } => (None, Some(signals::name(number)), core),
        };
        let why = exit.cause.map(|cause| match cause {
            Cause::Memory => "it used more memory than it may",
            Cause::Lost => "somebody else removed it",
            Cause::Keeper => "its keeper was killed",
            Cause::Killed => "it was killed on its host, perhaps since it used more memory than it may",
        });
        Self { code, signal, core, why, started: time(exit.started), ended: time(exit.ended) }
    }
}

/// What an engine said is JSON; what is not is shown all the same.
fn inspection(stat: ContainerStat) -> serde_json::Value {
    serde_json::from_str(&stat.inspection).unwrap_or(serde_json::Value::String(stat.inspection))
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

/// So many microseconds, as people write them.
fn span(micros: u64) -> String {
    humantime::format_duration(Duration::from_micros(micros)).to_string()
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
    use super::*;

    #[test]
    fn a_process_has_the_fields_of_upstream() {
        let spec = ProcSpec { path: "/bin/ls".into(), args: vec!["/".into()], ..ProcSpec::default() };
        let exit = Exit { how: How::Signal { number: 9, core: false }, cause: None, started: 0, ended: 1_500_000 };
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
    fn only_what_was_asked_for_beyond_the_usual_is_shown() {
        let spec = ProcSpec { output: OutputSpec::Drop, grace: Some(1_500_000), ..ProcSpec::default() };
        let shape = ProcShape::from(ProcStat { spec, phase: Phase::Running, exit: None });
        let text = serde_json::to_string(&shape).expect("JSON");
        assert!(text.contains(r#""Scrub":false,"Output":"drop","Grace":"1s 500ms"}"#), "{text}");
    }

    #[test]
    fn no_time_is_too_large_to_print() {
        assert_eq!(time(u64::MAX), "9999-12-31T23:59:59.000000Z");
    }
}
