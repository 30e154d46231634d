//! `circuit start`: a server, until it is told to end.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use circuit_core::{Target, Url, session::ClusterKey};
use circuit_tokio::{Group, Server, ServerConfig};
use clap::Args;
use serde::Serialize;
use tokio::runtime;
use tracing::Level;

use crate::{
    address::{self, Address},
    dial::group_of_environment,
    fault::{Fault, plain},
    files,
    interrupt::Interrupts,
    logging,
    print::{FormatArgs, Out},
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

    /// A directory for who this server is and what it did; without, every start
    /// is a new server
    #[arg(long, value_name = "DIR")]
    var: Option<PathBuf>,

    /// Allow containers (not in this version)
    #[arg(long)]
    docker: bool,

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
        self.refuse_what_is_missing()?;
        let runtime = runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Fault::failed(format!("no runtime: {}", plain(&error))))?;
        runtime.block_on(self.serve())
    }

    /// What can be asked for and does not work yet is never ignored.
    fn refuse_what_is_missing(&self) -> Result<(), Fault> {
        if self.docker {
            return Err(Fault::usage("-docker: containers are not in this version").hint("start it without -docker"));
        }
        Ok(())
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
        tokio::select! {
            signal = interrupts.next() => tracing::info!("told to end by signal {signal}"),
            () = server.ended() => return Ok(0),
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
        if key.is_none() && !self.insecure && !listen.ip().is_loopback() {
            let what = format!("start: {} is reached from other machines, and there is no key", listen.ip());
            let hint = "make a key with 'circuit keygen FILE' and name it with -hmac FILE, or say --insecure";
            return Err(Fault::usage(what).hint(hint));
        }
        let key = key.unwrap_or_else(ClusterKey::public);
        let join = self.join.iter().map(|url| Target::from(*url)).collect();
        let discover = self.discover.map_or_else(group_of_environment, |group| Ok(Some(group)))?;
        Ok(ServerConfig { listen, advertise, discover, join, key, var: self.var.clone() })
    }
}
