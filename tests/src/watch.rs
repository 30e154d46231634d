//! A client that sees what its server sees, as it happens.

use std::{
    collections::BTreeSet,
    error::Error,
    time::{Duration, Instant},
};

use circuit_core::{ServerId, wire::op::Source};
use circuit_tokio::{
    Circuit,
    client::{Happened, Subscription},
};
use tokio::time::timeout;

/// What can go wrong while somebody watches.
pub type Fault = Box<dyn Error + Send + Sync>;

/// Follows the view of the server that a client dialled.
#[derive(Debug)]
pub struct Watch {
    circuit: Circuit,
    subscription: Subscription,
    view: BTreeSet<ServerId>,
    joins: usize,
    leaves: usize,
}

impl Watch {
    /// Begins to watch with the eyes of the server that `circuit` dialled.
    ///
    /// # Errors
    /// Those of the server and the connection.
    pub async fn start(circuit: Circuit) -> Result<Self, Fault> {
        let anchor = circuit.server(circuit.dial_in()).walk("watch")?;
        let subscription = anchor.subscribe(Source::Both).await?;
        Ok(Self { circuit, subscription, view: BTreeSet::new(), joins: 0, leaves: 0 })
    }

    /// The client that watches.
    pub const fn circuit(&self) -> &Circuit {
        &self.circuit
    }

    /// Who is there, as far as it was followed.
    pub const fn view(&self) -> &BTreeSet<ServerId> {
        &self.view
    }

    /// How many have joined and left, as far as it was followed; those that were
    /// there at first have joined.
    pub const fn events(&self) -> (usize, usize) {
        (self.joins, self.leaves)
    }

    /// Follows the view until it is `right`; when that was.
    ///
    /// # Errors
    /// It was not within this time; those of the server and the connection.
    pub async fn until(
        &mut self,
        within: Duration,
        right: impl Fn(&BTreeSet<ServerId>) -> bool,
    ) -> Result<Instant, Fault> {
        let watching = async {
            while !right(&self.view) {
                match self.subscription.next().await? {
                    Happened::Joined(server) => {
                        self.joins += 1;
                        self.view.extend(server.server_id());
                    }
                    Happened::Left(server) => {
                        self.leaves += 1;
                        self.view.retain(|&id| Some(id) != server.server_id());
                    }
                    Happened::Lagged(count) => return Err(format!("{count} events were missed").into()),
                }
            }
            Ok(Instant::now())
        };
        match timeout(within, watching).await {
            Ok(when) => when,
            Err(_) => {
                let own = self.circuit.dial_in();
                Err(format!("{own} sees {} servers after {within:?}: {:?}", self.view.len(), self.view).into())
            }
        }
    }

    /// Its subscription and its client go.
    ///
    /// # Errors
    /// Those of the server and the connection.
    pub async fn end(self) -> Result<(), Fault> {
        self.subscription.anchor().scrub().await?;
        self.circuit.close().await;
        Ok(())
    }
}
