//! The machine of a server: its processes are scripts, and all that it says is
//! checked.

use std::{
    collections::VecDeque,
    future::Future as _,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use circuit_core::{
    effect::{Effect, EffectEvent},
    node::{Node, Output},
    oplog::Operation,
};
use circuit_tokio::{Clock, Host};
use tokio::time::{Sleep, sleep_until};

use super::ground::Ground;
use crate::{ServerIndex, script::Scripts};

pub(super) struct Machine {
    ground: Ground,
    server: ServerIndex,
    life: u32,
    clock: Clock,
    scripts: Scripts,
    events: VecDeque<EffectEvent>,
    /// When the next process is due.
    alarm: Option<Pin<Box<Sleep>>>,
    waker: Option<Waker>,
}

impl Machine {
    pub(super) fn new(ground: Ground, server: ServerIndex, life: u32) -> Self {
        let (scripts, events) = Default::default();
        Self { ground, server, life, clock: Clock::start(), scripts, events, alarm: None, waker: None }
    }

    fn set_alarm(&mut self) {
        self.alarm = self.scripts.poll_timeout().map(|at| Box::pin(sleep_until(self.clock.at(at))));
    }
}

impl Host for Machine {
    fn perform(&mut self, effect: Effect) {
        self.scripts.full = self.ground.is_full(self.server);
        self.events.extend(self.scripts.perform(self.clock.now(), effect));
        self.set_alarm();
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<EffectEvent> {
        if self.events.is_empty()
            && let Some(alarm) = &mut self.alarm
            && alarm.as_mut().poll(cx).is_ready()
        {
            self.events.extend(self.scripts.handle_timeout(self.clock.now()));
            self.set_alarm();
            cx.waker().wake_by_ref();
        }
        self.waker = Some(cx.waker().clone());
        self.events.pop_front().map_or(Poll::Pending, Poll::Ready)
    }

    fn record(&mut self, operation: Operation) {
        self.ground.wires.note(operation.seq);
    }

    fn watch(&mut self, node: &Node, output: Option<&Output>) {
        self.ground.watch(self.server, self.life, node, output);
    }
}
