//! Servers as processes, and commands as a shell runs them.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, ChildStdout, Command, Output, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A folder with a circuit of its own: a key, and servers on loopback, or where
/// else they can be put.
pub(crate) struct Bed {
    folder: TempDir,
    servers: Vec<Server>,
    hosts: Option<Hosts>,
}

/// The network namespaces of servers and of clients, and where servers listen.
#[derive(Clone, Debug)]
pub(crate) struct Hosts {
    pub(crate) servers: String,
    pub(crate) clients: String,
    pub(crate) listen: String,
}

/// A server, which is killed when this is dropped.
pub(crate) struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
    pub(crate) url: String,
    /// Its anchor, as `/X88550014d4c82e4d`.
    pub(crate) anchor: String,
}

/// What came of a command.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Bed {
    /// A folder with a key in `.hmac`, and no servers.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let bed = Self { folder, servers: Vec::new(), hosts: None };
        bed.ok("circuit keygen .hmac");
        bed
    }

    /// A folder with a key and a circuit of `count` servers.
    pub(crate) fn with_servers(count: usize) -> Self {
        let mut bed = Self::new();
        bed.add_joined(count);
        bed
    }

    /// The same in the network namespaces of `hosts`.
    pub(crate) fn on_hosts(hosts: Hosts, count: usize) -> Self {
        let mut bed = Self { hosts: Some(hosts), ..Self::new() };
        bed.add_joined(count);
        bed
    }

    fn add_joined(&mut self, count: usize) {
        for _ in 0..count {
            self.add(&format!("{} -hmac .hmac{}", self.listen(), self.joining()));
        }
        for server in self.servers.iter().filter(|_| count > 1) {
            self.until(&format!("circuit ls -d {} /", server.url), |listed| listed.lines().count() == count);
        }
    }

    /// The option for where servers listen.
    pub(crate) fn listen(&self) -> String {
        format!("-a {}", self.hosts.as_ref().map_or("127.0.0.1", |hosts| &hosts.listen))
    }

    /// The option that joins the first server, if there is one.
    fn joining(&self) -> String {
        self.servers.first().map_or_else(String::new, |first| format!(" -j {}", first.url))
    }

    /// Starts a server of this circuit with these arguments. The first is the
    /// one that commands dial.
    pub(crate) fn add(&mut self, args: &str) -> &Server {
        let server = self.start(args);
        if self.servers.is_empty() {
            fs::write(self.path().join("url"), format!("{}\n", server.url)).expect("written");
        }
        self.servers.push(server);
        &self.servers[self.servers.len() - 1]
    }

    /// Starts a server that commands do not dial.
    pub(crate) fn start(&self, args: &str) -> Server {
        self.launch(&format!("unset CIRCUIT_HMAC; exec circuit start {args}"))
    }

    /// Starts a server by a script, which becomes it.
    pub(crate) fn launch(&self, script: &str) -> Server {
        let mut command = self.command_in(self.hosts.as_ref().map(|hosts| &hosts.servers), script);
        let mut child = command.stderr(Stdio::null()).spawn().expect("a server");
        let mut stdout = BufReader::new(child.stdout.take().expect("its output"));
        let mut url = String::new();
        stdout.read_line(&mut url).expect("a line");
        let url = url.trim_end().to_owned();
        let id = url.rsplit_once("/Q").unwrap_or_else(|| panic!("{url:?} is no URL")).1;
        let anchor = format!("/X{id}");
        Server { child, stdout, url, anchor }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn server(&self, number: usize) -> &Server {
        &self.servers[number]
    }

    /// The anchor of the server that hosts elements: the last.
    pub(crate) fn anchor(&self) -> &str {
        &self.server(self.servers.len() - 1).anchor
    }

    /// All servers, as `ls /` prints them.
    pub(crate) fn listing(&self) -> String {
        let mut anchors: Vec<String> = self.servers.iter().map(|server| format!("{}\n", server.anchor)).collect();
        anchors.sort_unstable();
        anchors.concat()
    }

    /// A shell in the folder that will run `script`, with pipes to it. The first
    /// server is dialled; `$X` is the anchor of the last.
    pub(crate) fn command(&self, script: &str) -> Command {
        self.command_in(self.hosts.as_ref().map(|hosts| &hosts.clients), script)
    }

    fn command_in(&self, namespace: Option<&String>, script: &str) -> Command {
        let binary = Path::new(env!("CARGO_BIN_EXE_circuit"));
        let folder = binary.parent().expect("a folder").display().to_string();
        let mut command = Command::new(namespace.map_or("/bin/sh", |_| "ip"));
        if let Some(namespace) = namespace {
            command.args(["netns", "exec", namespace, "/bin/sh"]);
        }
        command.args(["-c", script]).current_dir(self.path()).env_clear();
        command.env("PATH", format!("{folder}:/usr/bin:/bin:/usr/sbin:/sbin")).env("HOME", self.path());
        command.env("CIRCUIT_HMAC", ".hmac");
        if let Some(last) = self.servers.last() {
            command.env("CIRCUIT", "url").env("X", &last.anchor);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a script.
    pub(crate) fn sh(&self, script: &str) -> Done {
        done(&self.command(script).output().expect("a shell"))
    }

    /// Runs a script that gets `input`.
    pub(crate) fn fed(&self, script: &str, input: &str) -> Done {
        let mut child = self.command(script).stdin(Stdio::piped()).spawn().expect("a shell");
        let mut stdin = child.stdin.take().expect("its input");
        // It may end without having read all.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        done(&child.wait_with_output().expect("its end"))
    }

    /// Runs a script that must do well; what it printed.
    pub(crate) fn ok(&self, script: &str) -> String {
        let done = self.sh(script);
        assert_eq!((done.status, done.stderr.as_str()), (0, ""), "{script}: {done:?}");
        done.stdout
    }

    /// Runs a script that must fail with this status, and say this.
    pub(crate) fn fails(&self, script: &str, status: i32, says: &str) {
        self.sh(script).fails(script, status, says);
    }

    /// Asks with `script` until it prints something that `enough` accepts.
    pub(crate) fn until(&self, script: &str, enough: impl Fn(&str) -> bool) {
        while !enough(&self.sh(script).stdout) {
            std::thread::yield_now();
        }
    }
}

impl Done {
    /// It failed with this status and said this, in good form.
    pub(crate) fn fails(&self, script: &str, status: i32, says: &str) {
        assert_eq!(self.status, status, "{script}: {self:?}");
        assert!(self.stderr.contains(says), "{script}: {self:?} does not say {says:?}");
        assert!(self.stderr.starts_with("circuit: "), "{script}: {self:?}");
        assert!(self.stderr.lines().count() <= 3, "{script}: {self:?}");
        assert!(!self.stderr.chars().any(|c| c.is_control() && c != '\n'), "{script}: {self:?}");
    }
}

fn done(output: &Output) -> Done {
    Done {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Server {
    pub(crate) fn signal(&self, signal: Signal) {
        send(&self.child, signal);
    }

    /// The number of its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The port where it listens.
    pub(crate) fn port(&self) -> &str {
        self.url.split([':', '/']).nth(4).expect("a port")
    }

    /// Waits until it has ended: its status, and what it printed after its URL.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("text");
        (self.child.wait().expect("its end").code(), rest)
    }

    /// The most memory it has had, in KiB.
    pub(crate) fn most_memory(&self) -> u64 {
        most_memory(&self.child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a process a signal, which is still ours to wait for.
pub(crate) fn send(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a number");
    kill_process(pid, signal).expect("sent");
}

/// The most memory that a process has had, in KiB.
pub(crate) fn most_memory(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).expect("its state");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
