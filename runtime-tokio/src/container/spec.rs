//! What is wished for, as the engine wants it said.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig};
use circuit_core::{
    Error,
    elements::ContainerRules,
    wire::op::{ContainerSpec, HostNamespace},
};

/// What the engine is asked to make.
pub(super) fn body(spec: &ContainerSpec, labels: impl IntoIterator<Item = (String, String)>) -> ContainerCreateBody {
    let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let (binds, volumes): (Vec<_>, Vec<_>) = spec.volume.iter().cloned().partition(|volume| volume.contains(':'));
    let command: Vec<String> = given(&spec.path).into_iter().chain(spec.args.iter().cloned()).collect();
    let amount = |amount: u64| i64::try_from(amount).ok().filter(|amount| *amount > 0);
    let shared = |namespace| spec.host_namespaces.contains(&namespace).then(|| "host".to_owned());
    let host_config = HostConfig {
        memory: amount(spec.memory),
        cpu_shares: amount(spec.cpu_shares),
        binds: Some(binds),
        privileged: Some(spec.privileged),
        network_mode: shared(HostNamespace::Net),
        pid_mode: shared(HostNamespace::Pid),
        ipc_mode: shared(HostNamespace::Ipc),
        uts_mode: shared(HostNamespace::Uts),
        // What it writes is kept by the element, in bounds; the engine would
        // keep all of it on disk, and more slowly than it can be read.
        log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
        ..HostConfig::default()
    };
    ContainerCreateBody {
        image: Some(spec.image.clone()),
        cmd: Some(command).filter(|command| !command.is_empty()),
        entrypoint: given(&spec.entry).map(|entry| vec![entry]),
        env: Some(spec.env.clone()),
        working_dir: given(&spec.dir),
        volumes: Some(volumes),
        labels: Some(labels.into_iter().collect()),
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        open_stdin: Some(true),
        stdin_once: Some(true),
        host_config: Some(host_config),
        ..ContainerCreateBody::default()
    }
}

/// Whether a volume leads to the engine by another name, which only this machine
/// can tell.
///
/// # Errors
/// It does, and that is forbidden.
pub(super) fn check(spec: &ContainerSpec, rules: &ContainerRules) -> Result<(), Error> {
    let socket = fs::canonicalize(&rules.socket).map(|path| path.to_string_lossy().into_owned());
    let real = ContainerRules { socket: socket.unwrap_or_else(|_| rules.socket.clone()), all: rules.all };
    for path in spec.host_paths() {
        if real.forbid(&resolved(path).to_string_lossy()) {
            return Err(ContainerRules::forbidden(path));
        }
    }
    Ok(())
}

/// Where a path leads. As to the engine, `..` is what it says whether or not
/// anything is there; and what is not there yet is no link.
fn resolved(path: &str) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::ParentDir => drop(clean.pop()),
            Component::CurDir => {}
            part => clean.push(part),
        }
    }
    let there = clean.ancestors().find_map(|above| Some((above, fs::canonicalize(above).ok()?)));
    match there {
        Some((above, real)) => real.join(clean.strip_prefix(above).unwrap_or(&clean)),
        None => clean,
    }
}
