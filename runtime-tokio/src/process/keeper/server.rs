//! The server's side: how a keeper is started, found again, and listened to.

use std::{
    ffi::CString,
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{
            ffi::OsStrExt,
            fs::{DirBuilderExt, OpenOptionsExt},
            net::{UnixListener as StdListener, UnixStream as StdStream},
        },
    },
    path::{Path, PathBuf},
    time::Duration,
};

use circuit_core::{
    Error, ErrorKind,
    effect::{EffectEvent, ProcessEvent},
    elements::{ElementId, Kept},
    wire::op::ProcSpec,
};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use tokio::{io::unix::AsyncFd, net::UnixStream, sync::mpsc, time};

use super::{
    super::{
        Order,
        child::{Child, Nursery},
        spawn::{environment, text, variable},
        store::make_folder,
    },
    SOCKET,
    link::{FromKeeper, Link, Stranger, ToKeeper},
};

/// How long a keeper may take to greet a server that starts. One that is stopped
/// would take for ever.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where keepers are, and the program that they are.
#[derive(Clone, Debug)]
pub(in crate::process) struct Place {
    pub(in crate::process) folder: PathBuf,
    pub(in crate::process) program: PathBuf,
}

/// A keeper that was started.
pub(in crate::process) struct Started {
    stream: StdStream,
    pidfd: OwnedFd,
    folder: PathBuf,
}

/// Starts a keeper, in a folder of its own. It is connected to before it is
/// there, so that it always hears what to do, or that nobody will say.
pub(in crate::process) fn start(nursery: &mut Nursery, place: &Place) -> io::Result<Started> {
    let folder = new_folder(&place.folder)?;
    let started = start_in(nursery, &folder, &place.program);
    if started.is_err() {
        let _ = fs::remove_dir_all(&folder);
    }
    let (stream, pidfd) = started?;
    Ok(Started { stream, pidfd, folder })
}

fn start_in(nursery: &mut Nursery, folder: &Path, program: &Path) -> io::Result<(StdStream, OwnedFd)> {
    let (_open, socket) = socket(folder)?;
    let listener = StdListener::bind(&socket)?;
    let stream = StdStream::connect(&socket)?;
    stream.set_nonblocking(true)?;
    let nothing = || OpenOptions::new().read(true).write(true).open("/dev/null");
    let child = Child {
        programs: vec![CString::new(program.as_os_str().as_bytes())?],
        args: vec![text("circuit")?, text("keeper")?, CString::new(folder.as_os_str().as_bytes())?],
        env: environment(&ProcSpec::default()).into_iter().map(variable).collect::<io::Result<_>>()?,
        dir: None,
        stdio: [listener.into(), nothing()?.into(), nothing()?.into()],
    };
    let (_, pidfd) = nursery.start(child)?;
    Ok((stream, pidfd))
}

/// Makes the first folder in this one whose number is free.
fn new_folder(within: &Path) -> io::Result<PathBuf> {
    make_folder(within)?;
    let mut number = 1_u64;
    loop {
        let folder = within.join(number.to_string());
        match fs::DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
        }
    }
}

/// A name for the socket in a folder that is short enough, however long that of
/// the folder is; it is good as long as the file is open.
fn socket(folder: &Path) -> io::Result<(File, PathBuf)> {
    let open = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(folder)?;
    let name = Path::new("/proc/self/fd").join(open.as_raw_fd().to_string()).join(SOCKET);
    Ok((open, name))
}

/// A process whose keeper was found, and in which folder.
pub(in crate::process) type Found = (Kept, Known);

/// A keeper that is talked to, and its folder.
#[derive(Debug)]
pub(in crate::process) struct Known {
    link: Link,
    folder: PathBuf,
}

/// Finds the processes that were kept in this folder, and clears up after
/// keepers that are gone.
pub(in crate::process) async fn find(folder: &Path) -> io::Result<Vec<Found>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let number = |entry: &fs::DirEntry| entry.file_name().to_str().and_then(|name| name.parse::<u64>().ok());
    let mut numbers: Vec<u64> = entries.filter_map(|entry| number(&entry.ok()?)).collect();
    numbers.sort_unstable();
    let mut found = Vec::new();
    for folder in numbers.into_iter().map(|number| folder.join(number.to_string())) {
        match meet(&folder).await {
            Ok(Some(kept)) => found.push(kept),
            Ok(None) => {} // it knows of no process, and ends
            Err(Stranger::Gone) => {
                if let Err(error) = fs::remove_dir_all(&folder) {
                    tracing::warn!("{} is left by a keeper that is gone: {error}", folder.display());
                }
            }
            Err(Stranger::OtherVersion) => {
                let folder = folder.display();
                tracing::warn!(
                    "{folder}: its keeper is of another version of circuit, and is left alone with its process"
                );
            }
            Err(Stranger::Silent) => {
                let folder = folder.display();
                tracing::warn!("{folder}: its keeper does not answer, and is left alone with its process");
            }
        }
    }
    Ok(found)
}

async fn meet(folder: &Path) -> Result<Option<Found>, Stranger> {
    let (_open, socket) = socket(folder).map_err(|_| Stranger::Gone)?;
    let stream = UnixStream::connect(&socket).await.map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Stranger::Gone,
        _ => Stranger::Silent,
    })?;
    let mut link = Link::new(stream);
    // One that hangs up in the middle is gone the next time that it is looked for.
    let greeted = time::timeout(PATIENCE, link.greeted()).await.unwrap_or(Err(Stranger::Silent));
    let kept = greeted.map_err(|why| if why == Stranger::Gone { Stranger::Silent } else { why })?;
    Ok(kept.map(|kept| (*kept, Known { link, folder: folder.to_owned() })))
}

/// What a server has to do with one kept process.
pub(in crate::process) struct Carrier {
    pub(in crate::process) id: ElementId,
    pub(in crate::process) orders: mpsc::UnboundedReceiver<Order>,
    pub(in crate::process) events: mpsc::Sender<EffectEvent>,
}

impl Carrier {
    pub(in crate::process) async fn say(&self, event: ProcessEvent) {
        let _ = self.events.send(EffectEvent::Process { id: self.id, event }).await;
    }
}

/// Has a keeper that was started start its process, and then listens to it.
pub(in crate::process) async fn begin(carrier: Carrier, started: Started, at: circuit_core::Path, spec: ProcSpec) {
    let Started { stream, pidfd, folder } = started;
    tokio::spawn(reap(pidfd));
    let Ok(stream) = UnixStream::from_std(stream) else {
        return carrier.say(refused("its keeper cannot be listened to")).await;
    };
    let mut link = Link::new(stream);
    link.push(&ToKeeper::Start(at, spec));
    match link.greeted().await {
        Ok(None) => carry(carrier, Known { link, folder }).await,
        Ok(Some(_)) | Err(_) => {
            let _ = fs::remove_dir_all(folder);
            carrier.say(refused("what was started as its keeper is none, or of another version")).await;
        }
    }
}

fn refused(why: &str) -> ProcessEvent {
    ProcessEvent::Refused { error: Error::new(ErrorKind::Forbidden, why) }
}

/// Carries orders and events between a server and a keeper.
pub(in crate::process) async fn carry(mut carrier: Carrier, keeper: Known) {
    let Known { mut link, folder } = keeper;
    let mut ending = false;
    loop {
        tokio::select! {
            biased;
            order = carrier.orders.recv(), if !ending && link.has_room() => {
                // Nothing more comes when the server ends: that is what it is kept for.
                let Some(order) = order else { return link.flush().await };
                let last = matches!(order, Order::Release);
                ending = matches!(order, Order::Kill(_));
                link.push(&ToKeeper::Order(order));
                if last {
                    return link.flush().await;
                }
            }
            message = link.next() => {
                let Some(FromKeeper::Event(event)) = message else {
                    tracing::warn!("{}: the keeper is gone, and its process with it", folder.display());
                    // One that was told to end has given up its number, or the
                    // next start clears up after it.
                    if !ending {
                        let _ = fs::remove_dir_all(folder);
                    }
                    return carrier.say(ProcessEvent::Lost).await;
                };
                let last = matches!(
                    event,
                    ProcessEvent::Failed { .. } | ProcessEvent::Refused { .. } | ProcessEvent::Killed { .. }
                );
                carrier.say(event).await;
                if last {
                    return;
                }
            }
        }
    }
}

/// Waits for the end of a keeper, as its parent must.
async fn reap(pidfd: OwnedFd) {
    // SAFETY: an owned descriptor stays open, and the same, for as long as it is
    // owned.
    let Ok(pidfd) = (unsafe { AsyncFd::register(pidfd) }) else {
        return;
    };
    if pidfd.readable().await.is_ok() {
        let fd = std::os::fd::AsFd::as_fd(pidfd.get_ref());
        let _ = waitid(WaitId::PidFd(fd), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }
}
