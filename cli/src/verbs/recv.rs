//! `circuit recv`: a message from a channel, or an event from a subscription.

use circuit_core::Error;
use circuit_tokio::client::{Chan, Element, Happened, Subscription};
use clap::Args;
use serde::Serialize;

use crate::{
    args::AnchorArg,
    dial::{Client, DialArgs, OnCircuit, tried},
    fault::{FAILED, Fault, warn},
    print::{FormatArgs, Out},
};

/// Receive a message from a channel or an event from a subscription, and print it
///
/// Once all of it was printed it is this receiver's; before, it goes back, or if it is longer
/// than 32 KiB its sender hears that it was not delivered. An event of a subscription is
/// printed as the anchor of the server that joined or left.
#[derive(Args, Debug)]
pub(crate) struct Recv {
    /// Where the channel or subscription stands
    anchor: AnchorArg,

    /// Do not wait for a message to come: receive what is there, or has begun, now
    #[arg(long = "try")]
    try_only: bool,

    #[command(flatten)]
    format: FormatArgs,

    #[command(flatten)]
    dial: DialArgs,
}

/// An event, as JSON has it.
#[derive(Serialize)]
enum Event {
    Joined(String),
    Left(String),
    /// So many events are lost.
    Lagged(u64),
}

impl OnCircuit for Recv {
    fn dialling(&self) -> &DialArgs {
        &self.dial
    }

    async fn run(self, client: &Client) -> Result<u8, Fault> {
        let fault = tried("recv", &self.anchor);
        let anchor = client.anchor(&self.anchor)?;
        let out = Out::new(self.format);
        match anchor.get().await.map_err(&fault)? {
            Element::Subscription(subscription) => self.event(&subscription, out, fault).await,
            _ => self.message(&anchor.chan().map_err(&fault)?, out, fault).await,
        }
    }
}

impl Recv {
    async fn message(&self, channel: &Chan, mut out: Out, fault: impl Fn(Error) -> Fault) -> Result<u8, Fault> {
        let message = async { if self.try_only { channel.try_recv().await } else { channel.recv().await } };
        let mut message = out.wanted(message).await.map_err(unread)?.map_err(&fault)?;
        while let Some(bytes) = message.next().await.map_err(&fault)? {
            out.piece(&bytes).await.map_err(unprinted)?;
        }
        out.end_of_pieces().await.map_err(unprinted)?;
        message.confirm().await.map_err(&fault)?;
        Ok(0)
    }

    async fn event(&self, from: &Subscription, mut out: Out, fault: impl Fn(Error) -> Fault) -> Result<u8, Fault> {
        loop {
            let event = async { if self.try_only { from.try_recv().await } else { from.recv().await } };
            let event = out.wanted(event).await.map_err(unread)?.map_err(&fault)?;
            let shape = match event.happened() {
                Happened::Joined(server) => Event::Joined(server.path()),
                Happened::Left(server) => Event::Left(server.path()),
                Happened::Lagged(count) => Event::Lagged(*count),
            };
            match &shape {
                _ if out.is_json() => out.value(&shape).await.map_err(unprinted)?,
                Event::Joined(server) | Event::Left(server) => out.line(server).await.map_err(unprinted)?,
                Event::Lagged(count) => warn(&format!("{count} events were missed: nobody received them in time")),
            }
            out.flush().await.map_err(unprinted)?;
            event.confirm().await.map_err(&fault)?;
            // Whoever reads lines waits for a server.
            if out.is_json() || !matches!(shape, Event::Lagged(_)) {
                return Ok(0);
            }
        }
    }
}

/// A message that nobody reads was not received.
const fn unread(fault: Fault) -> Fault {
    fault.with_status(FAILED)
}

fn unprinted(error: std::io::Error) -> Fault {
    unread(Fault::from(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_a_form_of_its_own() {
        let text = |event: Event| serde_json::to_string(&event).expect("JSON");
        assert_eq!(text(Event::Joined("/X1".into())), r#"{"Joined":"/X1"}"#);
        assert_eq!(text(Event::Left("/X1".into())), r#"{"Left":"/X1"}"#);
        assert_eq!(text(Event::Lagged(5)), r#"{"Lagged":5}"#);
    }
}
