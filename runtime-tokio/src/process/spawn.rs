//! Starting a program, in a session of its own.

use std::{
    collections::BTreeMap,
    ffi::{CString, OsStr, OsString},
    fs::File,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::Path,
};

use circuit_core::{
    Error, ErrorKind,
    wire::op::{OutputSpec, ProcSpec, StdinSpec},
};
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    pipe::PipeFlags,
};

use super::{
    child::{Child, Nursery},
    store,
};

/// Bytes that a pipe to or from a program should hold; less will do.
const PIPE: usize = 256 * 1024;
/// Where programs are looked for that are named without a `/`, when nothing
/// else is said.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// A program that runs. Its pipes do not block.
pub(super) struct Spawned {
    pub(super) pid: u32,
    pub(super) pidfd: OwnedFd,
    pub(super) stdin: Option<OwnedFd>,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
    /// Where its output and its errors are kept, if on disk.
    pub(super) files: Option<[File; 2]>,
}

/// Why a program does not run.
pub(super) enum Failed {
    /// The operating system did not start it.
    Start(i32),
    /// It did not come to that.
    Else(Error),
}

/// Starts a program. Output that is to be on disk is kept in `folder`.
pub(super) fn spawn(nursery: &mut Nursery, spec: &ProcSpec, folder: Option<&Path>) -> Result<Spawned, Failed> {
    let files = (spec.output == OutputSpec::File).then(|| Ok([store::file(folder)?, store::file(folder)?]));
    let files = files.transpose().map_err(|error| no_file(folder, &error))?;
    start(nursery, spec, files)
        .map_err(|error| Failed::Start(error.raw_os_error().unwrap_or_else(|| Errno::INVAL.raw_os_error())))
}

fn no_file(folder: Option<&Path>, error: &io::Error) -> Failed {
    let temporary = std::env::temp_dir();
    let folder = folder.unwrap_or(&temporary).display();
    let failed = ErrorKind::DiskFailed(store::errno(error));
    Failed::Else(Error::new(failed, format!("no file for its output can be made in {folder}")))
}

fn start(nursery: &mut Nursery, spec: &ProcSpec, files: Option<[File; 2]>) -> io::Result<Spawned> {
    let env = environment(spec);
    let programs = programs(&spec.path, env.get(OsStr::new("PATH")).map(OsString::as_os_str))?;
    let (its_stdin, stdin) = match spec.stdin {
        StdinSpec::Pipe => {
            let (read, write) = pipe()?;
            (read, Some(ours(write)?))
        }
        StdinSpec::Null => (rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?, None),
    };
    let (stdout, its_stdout) = pipe()?;
    let (stderr, its_stderr) = pipe()?;
    let child = Child {
        programs,
        args: std::iter::once(&spec.path).chain(&spec.args).map(|arg| text(arg)).collect::<io::Result<_>>()?,
        env: env.into_iter().map(variable).collect::<io::Result<_>>()?,
        dir: if spec.dir.is_empty() { None } else { Some(text(&spec.dir)?) },
        stdio: [its_stdin, its_stdout, its_stderr],
    };
    let (pid, pidfd) = nursery.start(child)?;
    Ok(Spawned { pid, pidfd, stdin, stdout: ours(stdout)?, stderr: ours(stderr)?, files })
}

/// Its environment; the last of a name counts.
pub(super) fn environment(spec: &ProcSpec) -> BTreeMap<OsString, OsString> {
    if spec.env.is_empty() {
        return std::env::vars_os().collect();
    }
    let pairs = spec.env.iter().filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.into(), value.into())).collect()
}

pub(super) fn variable((name, value): (OsString, OsString)) -> io::Result<CString> {
    let mut text = name.into_vec();
    text.push(b'=');
    text.extend_from_slice(value.as_bytes());
    Ok(CString::new(text)?)
}

/// The files that may be meant, as a shell would look for them.
fn programs(path: &str, search: Option<&OsStr>) -> io::Result<Vec<CString>> {
    if path.contains('/') {
        return Ok(vec![text(path)?]);
    }
    let folders = std::env::split_paths(search.unwrap_or(OsStr::new(DEFAULT_PATH)));
    let file = |folder: std::path::PathBuf| {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { &folder };
        Ok(CString::new(folder.join(path).into_os_string().into_vec())?)
    };
    folders.map(file).collect()
}

pub(super) fn text(text: &str) -> io::Result<CString> {
    Ok(CString::new(text)?)
}

/// A pipe: its end to read from, and the one to write to.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    // The kernel may have given out all that an ordinary user may have.
    let _ = rustix::pipe::fcntl_setpipe_size(read.as_fd(), PIPE);
    Ok((read, write))
}

/// The server's end of a pipe, which must not block it.
fn ours(pipe: OwnedFd) -> io::Result<OwnedFd> {
    rustix::io::ioctl_fionbio(&pipe, true)?;
    Ok(pipe)
}
