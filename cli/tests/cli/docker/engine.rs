//! A container engine of the test's own.

use std::{
    env, fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use circuit_tests::engine::{import, is_there, run};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// An engine of the test's own, that it can kill. It has its own network, as it would
/// take the bridge away from the machine's engine.
pub(crate) struct Private {
    folder: TempDir,
    child: Option<Child>,
}

impl Private {
    /// Starts one; nothing where that cannot be done.
    pub(crate) fn start() -> Option<Self> {
        if !is_there() {
            return None;
        }
        // Its socket's path may not be long.
        let folder = tempfile::Builder::new().prefix("engine").tempdir_in("/tmp").expect("a folder");
        fs::write(folder.path().join("config"), "{}").expect("written");
        let mut engine = Self { folder, child: None };
        engine.launch();
        if let Err(why) = import(&engine.options()) {
            assert!(env::var_os("CIRCUIT_REQUIRE_DOCKER").is_none(), "no engine of its own: {why}");
            eprintln!("skipped: no container engine that can be killed: {why}");
            return None;
        }
        Some(engine)
    }

    /// Starts it again, and waits until it answers or has ended.
    pub(crate) fn launch(&mut self) {
        let at = self.folder.path().display();
        let line = format!(
            "exec unshare --net --mount dockerd --config-file {at}/config --data-root {at}/data --exec-root {at}/exec --pidfile {at}/pid \
             --host unix://{at}/socket --bridge none --iptables=false --storage-driver vfs >> {at}/log 2>&1"
        );
        let child = Command::new("/bin/sh").args(["-c", &line]).stdin(Stdio::null()).spawn().expect("a shell");
        let child = self.child.insert(child);
        let options = format!("--host unix://{}", self.folder.path().join("socket").display());
        while run(&format!("docker {options} version")).is_err() && child.try_wait().expect("its state").is_none() {
            std::thread::yield_now();
        }
    }

    /// Kills it, as nothing else is.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("killed");
        child.wait().expect("its end");
        // What it ran by died with it; the numbers in these may look alive yet.
        for file in ["pid", "exec/containerd/containerd.pid"] {
            let _ = fs::remove_file(self.folder.path().join(file));
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// What to tell the engine's command.
    pub(crate) fn options(&self) -> String {
        format!("--host unix://{}", self.socket().display())
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // In order, so that it unmounts what it has mounted.
            crate::support::send(&child, Signal::TERM);
            let _ = child.wait();
        }
        // Who attended to the containers of an engine that was killed may be
        // there still; nobody else names its folder.
        let at = self.folder.path().join("exec").display().to_string();
        for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let names_it =
                fs::read(process.path().join("cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(&at));
            let pid = process.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
            if let Some(pid) = pid.filter(|_| names_it) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}
