//! `circuit start`: a server, until it is told to end.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use circuit_core::{Target, Url, session::ClusterKey};
use circuit_tokio::{ContainerRules, Group, Server, ServerConfig};
use clap::Args;
use serde::Serialize;
use tracing::Level;

use crate::{
    address::{self, Address},
    dial::group_of_environment,
    fault::{Fault, plain},
    files,
    interrupt::Interrupts,
    logging,
    print::{FormatArgs, Out},
    resident,
};

/// Run a server, and print the URL where others dial it
#[derive(Args, Debug)]
pub(crate) struct Start {
    /// Where to listen: HOST:PORT, or HOST for any free port
    #[arg(short = 'a', long, value_name = "HOST[:PORT]", conflicts_with = "interface")]
    addr: Option<Address>,

    /// Listen at any free port of this network interface's address
    #[arg(long = "if", value_name = "IFACE")]
    interface: Option<String>,

    /// What others dial, where that is not where this listens
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Option<Address>,

    /// Join the circuit of this server
    #[arg(short = 'j', long, value_name = "URL")]
    join: Vec<Url>,

    /// Find the other servers by this multicast group
    #[arg(long, value_name = "GROUP:PORT")]
    discover: Option<Group>,

    /// The file that holds the circuit's key
    #[arg(long, value_name = "FILE")]
    hmac: Option<PathBuf>,

    /// Listen beyond this machine without a key: whoever can connect can do everything
    #[arg(long)]
    insecure: bool,

    /// A directory for who this server is, what it did, and the processes that
    /// outlive it; without, every start is a new server
    #[arg(long, value_name = "DIR")]
    var: Option<PathBuf>,

    /// Make containers, by the engine that listens at this socket
    #[arg(long, value_name = "SOCKET", num_args = 0..=1, default_missing_value = "/var/run/docker.sock")]
    docker: Option<String>,

    /// Make containers that can do what they like with this machine: privileged
    /// ones, in its namespaces, with the engine's socket
    #[arg(long, requires = "docker")]
    docker_unsafe: bool,

    #[command(flatten)]
    format: FormatArgs,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Started {
    url: String,
}

impl Start {
    pub(crate) fn run(self) -> Result<u8, Fault> {
        logging::start(Level::INFO)?;
        circuit_tokio::raise_descriptors();
        let runtime =
            circuit_tokio::runtime().map_err(|error| Fault::failed(format!("no runtime: {}", plain(&error))))?;
        runtime.block_on(self.serve())
    }

    async fn serve(self) -> Result<u8, Fault> {
        let key = files::key(self.hmac.as_deref())?;
        let config = self.config(key).await?;
        let mut interrupts = Interrupts::new()?;
        let server = Server::start(config).await;
        let mut server = server.map_err(|error| Fault::failed(format!("start: {}", plain(&error))))?;
        let url = server.url().to_string();
        tracing::info!("the server {} runs at {url}", server.url().id);
        let mut out = Out::new(self.format);
        let said = match out.is_json() {
            true => out.value(&Started { url }).await,
            false => out.line(&url).await,
        };
        if let Err(error) = said.and(out.flush().await) {
            tracing::warn!("the URL could not be printed: {}", plain(&error));
        }
        resident::let_go_of_code();
        tokio::select! {
            signal = interrupts.next() => tracing::info!("told to end by signal {signal}"),
            well = server.ended() => {
                return if well { Ok(0) } else { Err(Fault::failed("the server has failed: its log says where")) };
            }
        }
        tokio::select! {
            () = server.stop() => Ok(0),
            // Whoever asks twice does not want to wait.
            signal = interrupts.next() => Err(Fault::quiet(128 + signal)),
        }
    }

    async fn config(&self, key: Option<ClusterKey>) -> Result<ServerConfig, Fault> {
        let listen = match (&self.addr, &self.interface) {
            (Some(address), _) => address.resolve().await?,
            (None, Some(interface)) => SocketAddr::new(address::of_interface(interface)?, 0),
            (None, None) => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
        };
        let advertise = match &self.advertise {
            Some(address) if !address.has_port() => {
                return Err(Fault::usage(format!("-advertise {address}: others need the port")).hint("HOST:PORT"));
            }
            Some(address) => Some(address.resolve().await?),
            None if listen.ip().is_unspecified() => {
                let what = format!("-a {}: nobody can dial an address that means all of them", listen.ip());
                return Err(Fault::usage(what).hint("say with -advertise HOST:PORT what others dial"));
            }
            None => None,
        };
        let key = key.unwrap_or_else(ClusterKey::public);
        let join = self.join.iter().map(|url| Target::from(*url)).collect();
        let discover = self.discover.map_or_else(group_of_environment, |group| Ok(Some(group)))?;
        let rules = |socket: &String| ContainerRules { socket: socket.clone(), all: self.docker_unsafe };
        let containers = self.docker.as_ref().map(rules);
        // The very same program, also when another has been put in its place.
        let keeper = Some("/proc/self/exe".into());
        let (insecure, var) = (self.insecure, self.var.clone());
        let config = ServerConfig { listen, advertise, discover, join, key, insecure, var, containers, keeper };
        if config.is_open_unasked() {
            let what = format!("start: {} is reached from other machines, and there is no key", listen.ip());
            let hint = "make a key with 'circuit keygen FILE' and name it with -hmac FILE, or say --insecure";
            return Err(Fault::usage(what).hint(hint));
        }
        Ok(config)
    }
}
