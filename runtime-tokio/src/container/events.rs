//! What the engine says has happened to containers, and to whom that is news.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use futures_util::TryStreamExt;
use tokio::{sync::Notify, time};

use super::engine::Engine;

/// How long an engine that is away is left alone.
pub(super) const RETRY: Duration = Duration::from_millis(500);

/// Where the tasks of containers hear that there is something to look at.
#[derive(Clone, Debug, Default)]
pub(super) struct Newsroom {
    readers: Arc<Mutex<HashMap<String, Arc<Notify>>>>,
}

/// A container that news may come of, for as long as this is kept.
#[derive(Debug)]
pub(super) struct Subscription {
    container: String,
    bell: Arc<Notify>,
    newsroom: Newsroom,
}

impl Newsroom {
    /// Follows what happens for as long as anybody has this, and at first
    /// removes what earlier starts of the server have left.
    pub(super) fn open(engine: Engine) -> Self {
        let newsroom = Self::default();
        tokio::spawn(follow(engine, Arc::downgrade(&newsroom.readers)));
        newsroom
    }

    pub(super) fn subscribe(&self, container: &str) -> Subscription {
        let bell = Arc::new(Notify::new());
        self.with(|readers| readers.insert(container.to_owned(), bell.clone()));
        Subscription { container: container.to_owned(), bell, newsroom: self.clone() }
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<String, Arc<Notify>>) -> T) -> T {
        act(&mut self.readers.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Subscription {
    /// Waits until something has happened.
    pub(super) async fn news(&self) {
        self.bell.notified().await;
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.newsroom.with(|readers| readers.remove(&self.container));
    }
}

async fn follow(engine: Engine, readers: Weak<Mutex<HashMap<String, Arc<Notify>>>>) {
    let mut swept = false;
    while let Some(readers) = readers.upgrade() {
        let newsroom = Newsroom { readers };
        if !swept {
            swept = sweep(&engine).await;
        }
        let Ok(events) = engine.events() else { return };
        let mut events = Box::pin(events);
        // Whatever has happened before this was not told.
        newsroom.with(|readers| readers.values().for_each(|bell| bell.notify_one()));
        let weak = Arc::downgrade(&newsroom.readers);
        drop(newsroom);
        loop {
            let event = tokio::select! {
                event = events.try_next() => event,
                () = nobody(&weak) => return,
            };
            let (Ok(Some(event)), Some(readers)) = (event, weak.upgrade()) else { break };
            let container = event.actor.and_then(|actor| actor.id).unwrap_or_default();
            Newsroom { readers }.with(|readers| readers.get(&container).map(|bell| bell.notify_one()));
        }
        time::sleep(RETRY).await;
    }
}

/// Removes what earlier starts of the server have left; whether that is done.
async fn sweep(engine: &Engine) -> bool {
    let Ok(leftovers) = engine.leftovers().await else { return false };
    for container in leftovers {
        tracing::info!("a container of an earlier start is removed: {container}");
        if engine.end(&container, Duration::ZERO).await.is_err() {
            return false;
        }
    }
    true
}

/// Waits until nobody reads the news any more.
async fn nobody<T>(readers: &Weak<T>) {
    while readers.strong_count() > 0 {
        time::sleep(RETRY).await;
    }
}
