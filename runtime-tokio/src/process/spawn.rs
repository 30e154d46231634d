//! Starting a program, in a session of its own.

use std::{
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::{Command, Stdio},
};

use circuit_core::wire::op::{ProcSpec, StdinSpec};
use rustix::process::{Pid, PidfdFlags, Signal, getpid, getppid, pidfd_open, set_parent_process_death_signal, setsid};

/// Bytes that a pipe to or from a program should hold; less will do.
const PIPE: usize = 256 * 1024;

/// A program that runs.
pub(super) struct Spawned {
    pub(super) pid: u32,
    pub(super) pidfd: OwnedFd,
    pub(super) stdin: Option<OwnedFd>,
    pub(super) stdout: Option<OwnedFd>,
    pub(super) stderr: Option<OwnedFd>,
}

/// Starts a program; says the errno if that cannot be done.
pub(super) fn spawn(spec: &ProcSpec) -> Result<Spawned, i32> {
    let mut command = Command::new(&spec.path);
    command.args(&spec.args).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(if spec.stdin == StdinSpec::Pipe { Stdio::piped() } else { Stdio::null() });
    if !spec.dir.is_empty() {
        command.current_dir(&spec.dir);
    }
    if !spec.env.is_empty() {
        command.env_clear();
        command.envs(spec.env.iter().filter_map(|pair| pair.split_once('=')));
    }
    let server = getpid();
    // SAFETY: between fork and exec only system calls are made.
    unsafe { command.pre_exec(move || before_exec(server)) };
    let mut child = command.spawn().map_err(|error| errno_of(&error))?;
    let pid = child.id();
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    // It was not waited for, so the number is still its own.
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pidfd = raw.ok_or(rustix::io::Errno::SRCH).and_then(|pid| pidfd_open(pid, PidfdFlags::NONBLOCK));
    let pidfd = pidfd.map_err(|errno| {
        let _ = child.kill();
        let _ = child.wait();
        errno.raw_os_error()
    })?;
    let (stdin, stdout, stderr) = (stdin.map(widened), stdout.map(widened), stderr.map(widened));
    Ok(Spawned { pid, pidfd, stdin, stdout, stderr })
}

/// In the child: a session and a process group of its own, and its death when
/// the server's thread dies.
fn before_exec(server: Pid) -> io::Result<()> {
    setsid()?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid() == Some(server) {
        Ok(())
    } else {
        Err(rustix::io::Errno::SRCH.into()) // the server died in the meantime
    }
}

fn widened(pipe: impl Into<OwnedFd>) -> OwnedFd {
    let pipe = pipe.into();
    // The kernel may have given out all that an ordinary user may have.
    let _ = rustix::pipe::fcntl_setpipe_size(pipe.as_fd(), PIPE);
    pipe
}

fn errno_of(error: &io::Error) -> i32 {
    // Without a number it is std that refuses, for what is in the arguments.
    error.raw_os_error().unwrap_or_else(|| rustix::io::Errno::INVAL.raw_os_error())
}
