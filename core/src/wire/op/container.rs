//! What is said of containers.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use super::ProcStat;
use crate::codec::list;

/// What container to run; the names are upstream's, and mean what the options of
/// these names mean to the engine's own command.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// The image that it is made of.
    pub image: String,
    /// The most memory that it may use, in bytes; 0 is any.
    pub memory: u64,
    /// Its share of the processors, in relation to others; 0 is the engine's.
    pub cpu_shares: u64,
    /// Options for LXC, which engines do not have any more: ignored.
    #[serde(deserialize_with = "list::bounded::<{ usize::MAX }, _, _>")]
    pub lxc: Vec<String>,
    /// Volumes: `/inside`, `/on/the/host:/inside`, `name:/inside`, the last two
    /// with `:ro` and the like behind them.
    #[serde(deserialize_with = "list::bounded::<{ usize::MAX }, _, _>")]
    pub volume: Vec<String>,
    /// The directory it runs in; empty means the image's.
    pub dir: String,
    /// What runs instead of the image's entry point, if not empty.
    pub entry: String,
    /// Its environment, each as `NAME=VALUE`, besides the image's.
    #[serde(deserialize_with = "list::bounded::<{ usize::MAX }, _, _>")]
    pub env: Vec<String>,
    /// What is run, or given to the entry point; the image's, if it is empty and
    /// there are no arguments.
    pub path: String,
    /// The arguments after that.
    #[serde(deserialize_with = "list::bounded::<{ usize::MAX }, _, _>")]
    pub args: Vec<String>,
    /// Whether the element goes when the container ends.
    pub scrub: bool,
    /// Whether it may do to the host what root can.
    pub privileged: bool,
    /// Which namespaces it shares with the host.
    #[serde(deserialize_with = "list::bounded::<4, _, _>")]
    pub host_namespaces: Vec<HostNamespace>,
}

/// A namespace that a container may share with its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostNamespace {
    /// The network.
    Net,
    /// The processes.
    Pid,
    /// Shared memory and the like.
    Ipc,
    /// The host's name.
    Uts,
}

impl HostNamespace {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Net, Self::Pid, Self::Ipc, Self::Uts];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Net => "net",
            Self::Pid => "pid",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
        }
    }
}

impl ContainerSpec {
    /// The paths of the host that it has as volumes.
    pub fn host_paths(&self) -> impl Iterator<Item = &str> {
        let sources = self.volume.iter().filter_map(|volume| volume.split_once(':')).map(|(source, _)| source);
        sources.filter(|source| source.starts_with('/'))
    }
}

/// Whether what is at `path` is `file`, or a directory that `file` is in, as far
/// as the names alone can tell.
pub fn leads_to(path: &str, file: &str) -> bool {
    let mut rest = names(file).into_iter();
    names(path).into_iter().all(|name| rest.next() == Some(name))
}

/// The names in an absolute path, without `.` and `..`.
fn names(path: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    names
}

/// The state of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerStat {
    /// What it runs, what it is doing and how it ended, as of a process.
    pub process: ProcStat,
    /// What its engine says of it: an object in JSON, as it came.
    pub inspection: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_path_is_called_it_leads_where_it_leads() {
        let socket = "/var/run/docker.sock";
        for path in [socket, "/", "//var/", "/var/run/", "/./var/run/../run/docker.sock", "/../var", "/x/../var/run"] {
            assert!(leads_to(path, socket), "{path}");
        }
        for path in ["/var/run/docker.sock2", "/var/run/docker", "/va", "/run", "/var/run/docker.sock/x", "/src"] {
            assert!(!leads_to(path, socket), "{path}");
        }
    }

    #[test]
    fn volumes_of_the_host_are_those_with_a_path_before_a_colon() {
        let volume = ["/anonymous", "/src:/dst:ro", "name:/dst", "/a:/b"].map(String::from).to_vec();
        let spec = ContainerSpec { volume, ..ContainerSpec::default() };
        assert_eq!(spec.host_paths().collect::<Vec<_>>(), ["/src", "/a"]);
    }
}
