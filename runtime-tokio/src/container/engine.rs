//! The container engine, over its socket.
//!
//! Every request has a connection of its own, which ends with it: so none is
//! left over when the engine is gone, and none is taken for alive that is not.

use std::{collections::HashMap, path::Path, pin::Pin, sync::Arc, time::Duration};

use bollard::{
    API_DEFAULT_VERSION, BollardRequest, Docker,
    container::{AttachContainerResults, LogOutput},
    errors::Error as EngineError,
    models::EventMessage,
    query_parameters::{
        AttachContainerOptions, CreateContainerOptions, CreateImageOptions, EventsOptions, KillContainerOptions,
        ListContainersOptions, RemoveContainerOptions, StopContainerOptions, WaitContainerOptions,
    },
};
use circuit_core::{
    Error, ErrorKind, Incarnation,
    effect::ProcessEvent,
    wire::op::{ContainerSpec, Stdio},
};
use futures_util::{Stream, StreamExt, TryStreamExt};
use http_body_util::{BodyExt, Limited};
use hyper::{Request, Response, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::{io::AsyncWrite, net::UnixStream, time};

use super::{Teller, spec};

/// How long a question may take that the engine can answer at once.
const SHORT: Duration = Duration::from_secs(10);
/// How long any may take; making a container may mean copying an image.
const LONG: Duration = Duration::from_secs(120);
/// The longest inspection of a container.
const MAX_INSPECTION: usize = 4 * 1024 * 1024;
/// Which server a container is of, and which of its starts.
const SERVER: &str = "circuit.server";
const START: &str = "circuit.start";

/// What a container writes.
pub(super) type Written = Pin<Box<dyn Stream<Item = Result<LogOutput, EngineError>> + Send>>;
/// What it reads.
pub(super) type Input = Pin<Box<dyn AsyncWrite + Send>>;

/// The engine of this machine, as one server uses it.
#[derive(Clone, Debug)]
pub(super) struct Engine {
    docker: Option<Docker>,
    socket: Arc<Path>,
    own: Incarnation,
}

/// What the engine says of a container's state.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct State {
    pub(super) running: bool,
    pub(super) paused: bool,
    #[serde(rename = "OOMKilled")]
    pub(super) out_of_memory: bool,
    pub(super) pid: u32,
    pub(super) exit_code: i32,
    /// When, in words; it tells one run of a container from the next.
    pub(super) started_at: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspection {
    state: State,
}

impl Engine {
    pub(super) fn new(socket: &str, own: Incarnation) -> Self {
        let socket: Arc<Path> = Path::new(socket).into();
        let to = socket.clone();
        let transport = move |request| send(to.clone(), request);
        // The name of the host is not looked at.
        let docker = Docker::connect_with_custom_transport(
            transport,
            Some("http://engine"),
            LONG.as_secs(),
            API_DEFAULT_VERSION,
        );
        Self { docker: docker.ok(), socket, own }
    }

    fn docker(&self) -> Result<&Docker, Error> {
        self.docker.as_ref().ok_or_else(|| Error::new(ErrorKind::Unreachable, "no client for the container engine"))
    }

    /// Sees that an image is there, and tells what is done for that.
    pub(super) async fn fetch(&self, image: &str, teller: &Teller) -> Result<(), Error> {
        let there = within(SHORT, self.docker()?.inspect_image(image)).await;
        match there {
            Err(EngineError::DockerResponseServerError { status_code: 404, .. }) => {}
            other => return other.map(drop).map_err(|error| self.told(error)),
        }
        teller.tell(ProcessEvent::Progress { text: format!("pulling {image}") }).await;
        // Without a tag all of them would be pulled.
        let tagged = image.rsplit('/').next().is_some_and(|name| name.contains([':', '@']));
        let name = if tagged { image.to_owned() } else { format!("{image}:latest") };
        let options = CreateImageOptions { from_image: Some(name), ..CreateImageOptions::default() };
        let mut news = Box::pin(self.docker()?.create_image(Some(options), None, None));
        let mut told = HashMap::new();
        loop {
            match news.try_next().await {
                Ok(Some(info)) => {
                    let Some(mut line) = info.status else { continue };
                    let bytes = info.progress_detail.and_then(|bytes| bytes.current.zip(bytes.total));
                    if let Some((current, total)) = bytes.filter(|(_, total)| *total > 0) {
                        line = format!("{line} {} %", current.saturating_mul(10) / total * 10);
                    }
                    if let Some(layer) = &info.id {
                        line = format!("{layer}: {line}");
                    }
                    if told.insert(info.id, line.clone()).as_ref() != Some(&line) {
                        teller.tell(ProcessEvent::Progress { text: line }).await;
                    }
                }
                Ok(None) => return Ok(()),
                Err(error) => {
                    let error = self.told(error);
                    if error.kind == ErrorKind::Unreachable {
                        return Err(error);
                    }
                    let detail = format!("the image {image} is not there and cannot be pulled: {}", error.detail);
                    return Err(Error::new(ErrorKind::Invalid, detail));
                }
            }
        }
    }

    /// Makes a container: its id there.
    pub(super) async fn create(&self, name: String, spec: &ContainerSpec) -> Result<String, Error> {
        let options = CreateContainerOptions { name: Some(name), platform: String::new() };
        let created = within(LONG, self.docker()?.create_container(Some(options), spec::body(spec, self.labels())));
        let created = created.await.map_err(|error| self.told(error))?;
        for warning in created.warnings {
            tracing::warn!("a container was made: {warning}");
        }
        Ok(created.id)
    }

    /// Starts it.
    pub(super) async fn start(&self, id: &str, spec: &ContainerSpec) -> Result<(), Error> {
        let started = within(LONG, self.docker()?.start_container(id, None)).await;
        started.map_err(|error| {
            let error = self.told(error);
            let says = |words: &[&str]| words.iter().any(|words| error.detail.contains(words));
            let errno = if says(&["no such file or directory", "executable file not found"]) {
                rustix::io::Errno::NOENT
            } else if says(&["permission denied"]) {
                rustix::io::Errno::ACCESS
            } else {
                return error;
            };
            let path = if spec.entry.is_empty() { &spec.path } else { &spec.entry };
            Error::new(ErrorKind::SpawnFailed(errno.raw_os_error()), path)
        })
    }

    /// What it writes to one of its outputs from now on, and what it reads.
    pub(super) async fn attach(&self, id: &str, of: Stdio, stdin: bool) -> Result<(Written, Input), Error> {
        let (stdout, stderr) = (of == Stdio::Out, of == Stdio::Err);
        let options = AttachContainerOptions { stream: true, stdin, stdout, stderr, ..Default::default() };
        let attached = within(SHORT, self.docker()?.attach_container(id, Some(options))).await;
        let AttachContainerResults { output, input } = attached.map_err(|error| self.told(error))?;
        Ok((output, input))
    }

    /// Waits until it does not run: its status.
    pub(super) async fn wait(&self, id: &str) -> Result<i32, Error> {
        let options = WaitContainerOptions { condition: "not-running".to_owned() };
        let code = match Box::pin(self.docker()?.wait_container(id, Some(options))).next().await {
            Some(Ok(ended)) => ended.status_code,
            Some(Err(EngineError::DockerContainerWaitError { code, .. })) => code,
            Some(Err(error)) => return Err(self.told(error)),
            None => return Err(self.silent("it hung up")),
        };
        Ok(i32::try_from(code).unwrap_or(-1))
    }

    /// What it says of a container, in its own words.
    pub(super) async fn inspection(&self, id: &str) -> Result<String, Error> {
        let request = Request::get(format!("http://engine/containers/{id}/json"));
        let request = request.body(bollard::body_full(bytes::Bytes::new()));
        let question = async {
            let response = send(self.socket.clone(), request?).await?;
            let status_code = response.status().as_u16();
            let body = Limited::new(response.into_body(), MAX_INSPECTION).collect().await;
            let body = body.map_err(|error| EngineError::from(std::io::Error::other(error)))?;
            let message = String::from_utf8_lossy(&body.to_bytes()).trim_end().to_owned();
            match status_code {
                200 => Ok(message),
                _ => Err(EngineError::DockerResponseServerError { status_code, message }),
            }
        };
        within(SHORT, question).await.map_err(|error| self.told(error))
    }

    /// Its state; nothing if there is no such container.
    pub(super) async fn state(&self, id: &str) -> Result<Option<State>, Error> {
        let text = match self.inspection(id).await {
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let parsed = serde_json::from_str::<Inspection>(&text);
        parsed.map(|inspection| Some(inspection.state)).map_err(|error| {
            let detail = format!("the container engine says what is not understood: {error}");
            Error::new(ErrorKind::Invalid, detail)
        })
    }

    /// Sends it a signal.
    pub(super) async fn signal(&self, id: &str, number: i32) -> Result<(), Error> {
        let options = KillContainerOptions { signal: number.to_string() };
        within(SHORT, self.docker()?.kill_container(id, Some(options))).await.map_err(|error| self.told(error))
    }

    /// Stops all of its processes where they are, or lets them go on.
    pub(super) async fn pause(&self, id: &str, pause: bool) -> Result<(), Error> {
        let docker = self.docker()?;
        let done = match pause {
            true => within(SHORT, docker.pause_container(id)).await,
            false => within(SHORT, docker.unpause_container(id)).await,
        };
        done.map_err(|error| self.told(error))
    }

    /// Ends and removes it, and the volumes that have no name. Well done if it
    /// is not there.
    pub(super) async fn end(&self, id: &str, grace: Duration) -> Result<(), Error> {
        let docker = self.docker()?;
        if !grace.is_zero() {
            let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
            let options = StopContainerOptions { t: Some(seconds), ..StopContainerOptions::default() };
            // Whatever comes of that, the next makes an end.
            let _ = within(grace + SHORT, docker.stop_container(id, Some(options))).await;
        }
        let options = RemoveContainerOptions { v: true, force: true, link: false };
        match within(LONG, docker.remove_container(id, Some(options))).await {
            Err(EngineError::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
            other => other.map_err(|error| self.told(error)),
        }
    }

    /// The containers that earlier starts of this server have left.
    pub(super) async fn leftovers(&self) -> Result<Vec<String>, Error> {
        let options = ListContainersOptions { all: true, filters: Some(self.filter()), ..Default::default() };
        let listed = within(SHORT, self.docker()?.list_containers(Some(options))).await;
        let own = self.own.start.to_string();
        let old = listed.map_err(|error| self.told(error))?.into_iter().filter(|container| {
            let start = container.labels.as_ref().and_then(|labels| labels.get(START));
            start.is_some_and(|start| *start != own)
        });
        Ok(old.filter_map(|container| container.id).collect())
    }

    /// What happens to the containers of this server.
    pub(super) fn events(&self) -> Result<impl Stream<Item = Result<EventMessage, EngineError>> + use<>, Error> {
        let mut filters = self.filter();
        filters.insert("type".to_owned(), vec!["container".to_owned()]);
        let options = EventsOptions { filters: Some(filters), ..EventsOptions::default() };
        Ok(self.docker()?.events(Some(options)))
    }

    fn labels(&self) -> [(String, String); 2] {
        [(SERVER.to_owned(), self.own.id.to_string()), (START.to_owned(), self.own.start.to_string())]
    }

    fn filter(&self) -> HashMap<String, Vec<String>> {
        [("label".to_owned(), vec![format!("{SERVER}={}", self.own.id)])].into()
    }

    /// What the engine said, as what it means here.
    fn told(&self, error: EngineError) -> Error {
        match error {
            EngineError::DockerResponseServerError { status_code, message } => {
                let message = serde_json::from_str::<Message>(&message).map_or(message, |inner| inner.message);
                let kind = if status_code == 404 { ErrorKind::NotFound } else { ErrorKind::Invalid };
                Error::new(kind, format!("the container engine says: {message}"))
            }
            EngineError::DockerStreamError { error } => Error::new(ErrorKind::Invalid, error),
            EngineError::RequestTimeoutError => self.silent("the time is over"),
            EngineError::IOError { err } => self.silent(&err.to_string()),
            other => self.silent(&other.to_string()),
        }
    }

    fn silent(&self, why: &str) -> Error {
        let detail = format!("the container engine at {} does not answer: {why}", self.socket.display());
        Error::new(ErrorKind::Unreachable, detail)
    }

    /// The name of a container, which no other of this server has.
    pub(super) fn name(&self, element: u64) -> String {
        format!("circuit-{}-{}-{element}", self.own.id, self.own.start)
    }
}

#[derive(Deserialize)]
struct Message {
    message: String,
}

/// Sends a request, over a connection that lasts as long as the answer.
async fn send(socket: Arc<Path>, mut request: BollardRequest) -> Result<Response<Incoming>, EngineError> {
    let stream = UnixStream::connect(&socket).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection.with_upgrades());
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse()?;
    request.headers_mut().insert(hyper::header::HOST, hyper::header::HeaderValue::from_static("engine"));
    Ok(sender.send_request(request).await?)
}

/// The same, unless it takes too long.
async fn within<T>(most: Duration, question: impl Future<Output = Result<T, EngineError>>) -> Result<T, EngineError> {
    time::timeout(most, question).await.unwrap_or(Err(EngineError::RequestTimeoutError))
}
