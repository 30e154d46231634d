//! Containers: processes that an engine runs. What can be done to a [`Proc`] can
//! be done to them, by the same handle.

use circuit_core::{
    Error, ErrorKind, ServerId,
    client::Request,
    codec,
    wire::op::{ContainerSpec, ContainerStat, Op, Reply, Stat},
};

use super::{
    Anchor, Proc,
    call::{Call, Data, unexpected},
    driver::Command,
};

impl Anchor {
    /// Starts a container, on a server that makes them. The image is pulled, if
    /// it is not there and there is a registry that has it.
    ///
    /// # Errors
    /// As [`Anchor::make_chan`]. `Forbidden` if the server makes none, or none
    /// like this; `Invalid` for an image that cannot be had, and with the words
    /// of the engine, if that refuses; `SpawnFailed` if the program cannot
    /// be run; `Unreachable` if the engine does not answer.
    pub async fn make_container(&self, spec: &ContainerSpec) -> Result<Proc, Error> {
        self.make_container_telling(spec, |_| {}).await
    }

    /// The same; `tell` hears what is done for that, and what of the
    /// description is ignored, a line at a time.
    ///
    /// # Errors
    /// As [`Anchor::make_container`].
    pub async fn make_container_telling(
        &self,
        spec: &ContainerSpec,
        mut tell: impl FnMut(&str),
    ) -> Result<Proc, Error> {
        let at = self.place("a container cannot be made at /: it is no server's")?;
        let mut bytes = Vec::new();
        codec::encode(spec, &mut bytes);
        let op = Op::MakeContainer(at.path.clone());
        let request = Request { op, deadline: self.deadline(), input: Some(bytes.into()) };
        let host = self.server_id().unwrap_or(ServerId::DIAL_IN);
        let mut call = Call::start(self.circuit(), host, request);
        let mut lines = Vec::new();
        let answer = loop {
            match call.data().await {
                Ok(Data { bytes, end, .. }) => {
                    call.command(Command::Consumed { id: call.id, count: bytes.len(), end });
                    lines.extend_from_slice(&bytes);
                    while let Some(end) = lines.iter().position(|&byte| byte == b'\n') {
                        let line: Vec<u8> = lines.drain(..=end).collect();
                        tell(String::from_utf8_lossy(&line).trim_end());
                    }
                }
                Err(answer) => break answer?,
            }
        };
        match answer {
            Reply::Done => {}
            Reply::Text(warning) => tell(&warning),
            other => return Err(unexpected(&other)),
        }
        self.proc()
    }
}

impl Proc {
    /// The state of a container, and what its engine says of it.
    ///
    /// # Errors
    /// `NotFound`; `WrongKind` if no container stands there; `Unreachable` if
    /// the engine does not answer.
    pub async fn inspect(&self) -> Result<ContainerStat, Error> {
        match self.0.peek().await? {
            Stat::Container(stat) => Ok(stat),
            _ => Err(ErrorKind::WrongKind.into()),
        }
    }
}
