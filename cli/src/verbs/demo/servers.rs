//! The servers of the demo: processes of this program, and a folder that is
//! theirs.

use std::{
    env,
    fs::{self, File},
    io,
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use circuit_core::{Url, session::ClusterKey};
use circuit_tokio::{system_rng, write_key};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdout, Command},
    time,
};

use super::failed;
use crate::fault::{Fault, plain};

/// How long a server may take to leave before it is killed.
const LEAVE: Duration = Duration::from_secs(3);

/// What of the user's environment would lead the servers elsewhere.
const NOT_OURS: [&str; 3] = ["CIRCUIT", "CIRCUIT_DISCOVER", "CIRCUIT_HMAC"];

/// Servers on loopback, which are killed when this is dropped.
pub(super) struct Servers {
    folder: TempDir,
    key: ClusterKey,
    running: Vec<Server>,
}

struct Server {
    child: Child,
    url: Url,
    /// Kept open: a server has nothing more to say there, and may.
    _stdout: BufReader<ChildStdout>,
}

impl Servers {
    /// None yet, but a folder with a key.
    pub(super) fn new() -> Result<Self, Fault> {
        let folder = tempfile::Builder::new().prefix("circuit-demo-").tempdir();
        let folder = folder.map_err(|error| failed(format!("no temporary directory: {}", plain(&error))))?;
        let unkept = |error: io::Error| failed(format!("no key: {}", plain(&error)));
        let key = ClusterKey::generate(&mut system_rng().map_err(unkept)?);
        write_key(&folder.path().join("key"), &key).map_err(unkept)?;
        Ok(Self { folder, key, running: Vec::new() })
    }

    pub(super) const fn key(&self) -> &ClusterKey {
        &self.key
    }

    /// Starts a server, which joins the first.
    pub(super) async fn start(&mut self) -> Result<Url, Fault> {
        let log = self.folder.path().join(format!("log-{}", self.running.len() + 1));
        let (mut child, stdout) = self.spawn(&log).map_err(|error| failed(format!("no server: {}", plain(&error))))?;
        let (mut stdout, mut line) = (BufReader::new(stdout), String::new());
        let read = stdout.read_line(&mut line).await;
        match (read, line.trim().parse()) {
            (Ok(_), Ok(url)) => {
                self.running.push(Server { child, url, _stdout: stdout });
                Ok(url)
            }
            _ => {
                let _ = child.kill().await;
                let said = fs::read_to_string(&log).unwrap_or_default();
                let last = said.lines().last().unwrap_or("it said nothing");
                Err(failed(format!("a server did not start: {last}")))
            }
        }
    }

    fn spawn(&self, log: &PathBuf) -> io::Result<(Child, ChildStdout)> {
        let mut command = Command::new(env::current_exe()?);
        command.args(["start", "-a", "127.0.0.1", "-hmac"]).arg(self.folder.path().join("key"));
        if let Some(first) = self.running.first() {
            command.arg("-j").arg(first.url.to_string());
        }
        for name in NOT_OURS {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(log)?);
        // An interrupt from the terminal is for this program, which ends them.
        command.process_group(0).kill_on_drop(true);
        // SAFETY: between fork and exec only a system call is made.
        unsafe { command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?)) };
        let mut child = command.spawn()?;
        let stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok((child, stdout))
    }

    /// Kills the server at `url`, as a loss of power does.
    pub(super) async fn kill(&mut self, url: Url) -> Result<(), Fault> {
        for server in self.running.iter_mut().filter(|server| server.url == url) {
            server.child.kill().await.map_err(|error| failed(format!("kill: {}", plain(&error))))?;
        }
        self.running.retain(|server| server.url != url);
        Ok(())
    }

    /// Tells all to leave, waits until they have, and removes the folder.
    pub(super) async fn end(mut self) -> Result<(), Fault> {
        for server in &self.running {
            let pid = server.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
            // One that has ended by itself needs not be told.
            let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
        }
        for server in &mut self.running {
            if time::timeout(LEAVE, server.child.wait()).await.is_err() {
                let _ = server.child.kill().await;
            }
        }
        let at = self.folder.path().display().to_string();
        self.folder.close().map_err(|error| failed(format!("{at} could not be removed: {}", plain(&error))))
    }
}
