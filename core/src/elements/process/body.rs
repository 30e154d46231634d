//! What runs: a process of the host, or a container of its engine.

use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
};
use core::time::Duration;

use crate::{
    Error, ErrorKind, Path, codec,
    effect::Effect,
    elements::ElementId,
    wire::op::{ContainerSpec, Kind, OnServerExit, OutputSpec, ProcSpec, StdinSpec, leads_to},
};

/// How long what is told to end may take for it, if nothing was said.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// The containers that a server makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerRules {
    /// Where their engine listens: who can write there can do everything.
    pub socket: String,
    /// Whether containers may have what gives them the host.
    pub all: bool,
}

/// Where engines usually listen.
const SOCKETS: [&str; 5] = [
    "/var/run/docker.sock",
    "/run/docker.sock",
    "/run/containerd/containerd.sock",
    "/var/run/containerd/containerd.sock",
    "/run/podman/podman.sock",
];

impl ContainerRules {
    /// Whether a container that has this path of the host can reach an engine,
    /// as far as names can tell.
    pub fn forbid(&self, path: &str) -> bool {
        !self.all && SOCKETS.into_iter().chain([self.socket.as_str()]).any(|socket| leads_to(path, socket))
    }

    /// What to say of a volume that is forbidden.
    pub fn forbidden(path: &str) -> Error {
        let detail = format!("the volume {path} leads to the engine's socket, which the server was not told to allow");
        Error::new(ErrorKind::Forbidden, detail)
    }
}

/// What an element of this kind runs.
#[derive(Debug)]
pub(super) enum Body {
    Process(ProcSpec),
    Container(Box<ContainerSpec>, ContainerRules),
}

impl Body {
    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Process(_) => Kind::Proc,
            Self::Container(..) => Kind::Container,
        }
    }

    /// What to call it.
    pub(super) const fn noun(&self) -> &'static str {
        match self {
            Self::Process(_) => "process",
            Self::Container(..) => "container",
        }
    }

    /// Takes what was described, if there is nothing wrong with it.
    pub(super) fn describe(&mut self, spec: &[u8]) -> Result<(), Error> {
        let invalid = |error: codec::DecodeError| Error::new(ErrorKind::Invalid, error.to_string());
        match self {
            Self::Process(own) => *own = checked(codec::decode_whole(spec).map_err(invalid)?)?,
            Self::Container(own, rules) => {
                **own = checked_container(codec::decode_whole(spec).map_err(invalid)?, rules)?;
            }
        }
        Ok(())
    }

    /// What starts it.
    pub(super) fn start(&self, id: ElementId, at: &Path) -> Effect {
        match self {
            Self::Process(spec) if spec.on_server_exit == OnServerExit::Keep => {
                Effect::Keep { id, at: at.clone(), spec: Box::new(spec.clone()) }
            }
            Self::Process(spec) => Effect::Spawn { id, spec: Box::new(spec.clone()) },
            Self::Container(spec, _) => Effect::Run { id, spec: spec.clone() },
        }
    }

    /// Whether the element goes when it ends.
    pub(super) fn scrub(&self) -> bool {
        match self {
            Self::Process(spec) => spec.scrub,
            Self::Container(spec, _) => spec.scrub,
        }
    }

    pub(super) fn has_stdin(&self) -> bool {
        match self {
            Self::Process(spec) => spec.stdin == StdinSpec::Pipe,
            Self::Container(..) => true,
        }
    }

    /// What happens to its output when nobody reads.
    pub(super) fn output(&self) -> OutputSpec {
        match self {
            Self::Process(spec) => spec.output,
            Self::Container(..) => OutputSpec::Block,
        }
    }

    /// How long it may take to end when it is told to.
    pub(super) fn grace(&self) -> Duration {
        match self {
            Self::Process(ProcSpec { grace: Some(micros), .. }) => Duration::from_micros(*micros),
            _ => GRACE,
        }
    }

    /// What is run, as of a process.
    pub(super) fn command(&self) -> ProcSpec {
        match self {
            Self::Process(spec) => spec.clone(),
            Self::Container(spec, _) => {
                let ContainerSpec { path, args, dir, env, scrub, .. } = (**spec).clone();
                ProcSpec { path, args, dir, env, scrub, ..ProcSpec::default() }
            }
        }
    }

    /// What its maker should know of how it was made.
    pub(super) fn warning(&self) -> Option<&'static str> {
        match self {
            Self::Container(spec, _) if !spec.lxc.is_empty() => Some("Lxc is ignored: engines no longer have it"),
            _ => None,
        }
    }
}

/// A description of a process, if there is nothing wrong with it.
fn checked(spec: ProcSpec) -> Result<ProcSpec, Error> {
    if spec.path.is_empty() {
        return Err(Error::new(ErrorKind::Invalid, "Path is empty"));
    }
    if spec.on_server_exit == OnServerExit::Keep && spec.output != OutputSpec::File {
        let detail = "OnServerExit: \"keep\" needs Output: \"file\": a pipe to a server breaks with it";
        return Err(Error::new(ErrorKind::Invalid, detail));
    }
    check_command(&spec.path, &spec.dir, &spec.args, &spec.env)?;
    Ok(spec)
}

/// A description of a container, if there is nothing wrong with it and it is
/// allowed.
fn checked_container(spec: ContainerSpec, rules: &ContainerRules) -> Result<ContainerSpec, Error> {
    let invalid = |detail: String| Err(Error::new(ErrorKind::Invalid, detail));
    if spec.image.is_empty() {
        return invalid("Image is empty".to_string());
    }
    if !is_image(&spec.image) {
        return invalid(format!("invalid reference format: no image is called {:?}", spec.image));
    }
    if spec.memory > i64::MAX as u64 || spec.cpu_shares > i64::MAX as u64 {
        return invalid("Memory or CpuShares is too large".to_string());
    }
    check_command(&spec.path, &spec.dir, &spec.args, &spec.env)?;
    if spec.entry.contains('\0') {
        return invalid("Entry has a NUL in it".to_string());
    }
    if let Some(bad) = spec.volume.iter().find(|volume| !is_volume(volume)) {
        return invalid(format!("the volume {bad:?} is none of /INSIDE, /HOST:/INSIDE[:MODE] and NAME:/INSIDE[:MODE]"));
    }
    if !rules.all && (spec.privileged || !spec.host_namespaces.is_empty()) {
        let what = if spec.privileged { "Privileged" } else { "HostNamespaces" };
        let detail = format!("{what} gives a container the host, which the server was not told to allow");
        return Err(Error::new(ErrorKind::Forbidden, detail));
    }
    if let Some(path) = spec.host_paths().find(|path| rules.forbid(path)) {
        return Err(ContainerRules::forbidden(path));
    }
    Ok(spec)
}

/// Whether an image can be called this: it becomes part of what its engine is asked.
fn is_image(image: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte);
    image.bytes().all(plain) && !image.split('/').any(|part| matches!(part, "" | "." | ".."))
}

fn is_volume(volume: &str) -> bool {
    let parts: alloc::vec::Vec<&str> = volume.split(':').collect();
    let (source, inside) = match parts[..] {
        [inside] => (None, inside),
        [source, inside] | [source, inside, _] => (Some(source), inside),
        _ => return false,
    };
    !volume.contains('\0') && inside.starts_with('/') && source.is_none_or(|source| !source.is_empty())
}

/// What is wrong with something to run, if anything is.
fn check_command(path: &str, dir: &str, args: &[String], env: &[String]) -> Result<(), Error> {
    let nul = |text: &str| text.contains('\0');
    let detail = if nul(path) || nul(dir) {
        "Path or Dir has a NUL in it".to_string()
    } else if args.iter().any(|arg| nul(arg)) {
        "an argument in Args has a NUL in it".to_string()
    } else if let Some(at) = env.iter().position(|pair| nul(pair) || pair.find('=').is_none_or(|at| at == 0)) {
        // Not what it is: it may be a secret.
        format!("entry {} of Env is not NAME=VALUE", at + 1)
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::Invalid, detail))
}
