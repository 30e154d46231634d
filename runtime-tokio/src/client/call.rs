//! A call between its caller and the client's task.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use circuit_core::{
    Error, ErrorKind, ServerId,
    client::{CallId, Request, WRITE_AHEAD},
    wire::op::Reply,
};

use super::{Circuit, driver::Command};

/// What has come of a call and was not fetched yet.
#[derive(Debug, Default)]
pub(super) struct Desk {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    data: VecDeque<Data>,
    answer: Option<Result<Reply, Error>>,
    /// What the host has used up of the stream to it.
    acked: u64,
    waker: Option<Waker>,
}

/// A piece of the stream from the host.
#[derive(Debug)]
pub(super) struct Data {
    pub(super) bytes: Bytes,
    pub(super) end: bool,
    pub(super) again: bool,
}

impl Desk {
    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        act(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The client's task puts something here.
    fn put(&self, act: impl FnOnce(&mut Inner)) {
        let waker = self.with(|inner| {
            act(inner);
            inner.waker.take()
        });
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn put_data(&self, data: Data) {
        self.put(|inner| inner.data.push_back(data));
    }

    pub(super) fn put_acked(&self, acked: u64) {
        self.put(|inner| inner.acked = acked);
    }

    pub(super) fn put_answer(&self, result: Result<Reply, Error>) {
        self.put(|inner| inner.answer = Some(result));
    }

    /// The caller looks for something, and will be woken when there is more.
    fn poll<T>(&self, cx: &mut Context<'_>, look: impl FnOnce(&mut Inner) -> Option<T>) -> Poll<T> {
        self.with(|inner| match look(inner) {
            Some(found) => Poll::Ready(found),
            None => {
                inner.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        })
    }
}

/// A call that was made. When it is dropped before it was answered it is
/// withdrawn.
#[derive(Debug)]
pub(super) struct Call {
    circuit: Circuit,
    pub(super) id: CallId,
    desk: Arc<Desk>,
    /// Whether nothing is lost if it is dropped now.
    over: bool,
}

impl Call {
    pub(super) fn start(circuit: &Circuit, host: ServerId, request: Request) -> Self {
        let (id, desk) = (circuit.call_id(), Arc::new(Desk::default()));
        circuit.command(Command::Call { id, host, request, desk: desk.clone() });
        Self { circuit: circuit.clone(), id, desk, over: false }
    }

    pub(super) fn command(&self, command: Command) {
        self.circuit.command(command);
    }

    /// It may be dropped now: what is still to come is not awaited.
    pub(super) const fn let_go(&mut self) {
        self.over = true;
    }

    /// The answer, which can be fetched once.
    pub(super) async fn answer(&mut self) -> Result<Reply, Error> {
        let result = poll_fn(|cx| self.desk.poll(cx, |inner| inner.answer.take())).await;
        self.over = !is_unknown(&result);
        result
    }

    /// The next piece of the stream from the host, or the answer if that comes
    /// first.
    pub(super) async fn data(&mut self) -> Result<Data, Result<Reply, Error>> {
        poll_fn(|cx| self.poll_data(cx)).await
    }

    /// The same, if there is one.
    pub(super) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Data, Result<Reply, Error>>> {
        let found = self.desk.poll(cx, |inner| match inner.data.pop_front() {
            Some(data) => Some(Ok(data)),
            None => inner.answer.take().map(Err),
        });
        self.over |= matches!(&found, Poll::Ready(Err(answer)) if !is_unknown(answer));
        found
    }

    /// Waits until more than `written` may be written of the stream to the
    /// host: up to which offset.
    pub(super) async fn room(&mut self, written: u64) -> Result<u64, Error> {
        let found = poll_fn(|cx| {
            self.desk.poll(cx, |inner| match &inner.answer {
                Some(Err(error)) => Some(Err(error.clone())),
                Some(Ok(reply)) => Some(Err(unexpected(reply))),
                None => {
                    Some(Ok(inner.acked + WRITE_AHEAD)).filter(|room| room.as_ref().is_ok_and(|&end| end > written))
                }
            })
        });
        found.await
    }

    /// Asks again for an answer that was [`ErrorKind::Unknown`].
    fn ask_again(&mut self) {
        self.circuit.command(Command::AskAgain { id: self.id, desk: self.desk.clone() });
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.over {
            self.circuit.command(Command::Abandon { id: self.id });
        }
    }
}

const fn is_unknown(result: &Result<Reply, Error>) -> bool {
    matches!(result, Err(error) if matches!(error.kind, ErrorKind::Unknown))
}

/// A call that was made and has one answer. When it is dropped without one it is
/// withdrawn.
#[derive(Debug)]
pub struct Pending {
    call: Call,
    answered: bool,
}

impl Pending {
    pub(super) const fn new(call: Call) -> Self {
        Self { call, answered: false }
    }

    /// The answer. After [`ErrorKind::Unknown`] this can be called again: it
    /// then asks for the truth, and waits until somebody knows it.
    ///
    /// # Errors
    /// That of the call.
    pub async fn answer(&mut self) -> Result<Reply, Error> {
        if self.answered {
            self.answered = false;
            self.call.ask_again();
        }
        let result = self.call.answer().await;
        self.answered = true;
        result
    }
}

/// The connection was closed by this program, or what it ran on was.
pub(super) fn closed() -> Error {
    Error::new(ErrorKind::Disconnected, "this program has closed it")
}

/// A host answered something else than was asked.
pub(super) fn unexpected(reply: &Reply) -> Error {
    Error::new(ErrorKind::Invalid, format!("the server's answer makes no sense here: {reply:?}"))
}
