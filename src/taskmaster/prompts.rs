//! Makes orders whole on their way out: the prompt of a work attempt is composed here, where the task, its dependencies and
//! the project's template are known, and long texts can be read and kept. Short prompts need no disk and go at once; an order
//! that needs it is completed on a thread of its own, and what follows it to the hosts waits behind it.
//!
//! Deliberately absent: what a prompt says (`devstack_dag::prompt`) and where orders go (`outbox`).

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use devstack_dag::{
    attempt::{Order, Stage},
    ids::{HostName, Text},
    prompt::{self, Brief, Composed},
};

use crate::{store::Blobs, wire::HostOrder};

/// The longest text that is read for a prompt, in bytes: a task's own text has at most 1 MiB.
const TEXT_MAX: u64 = 16 << 20;

/// Orders that wait for the disk, and those behind them.
pub(super) struct Prompts {
    blobs: Arc<Blobs>,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Later>,
    /// Somebody works through it.
    is_open: bool,
}

/// What goes to a host in its turn.
pub(super) struct Later {
    pub(super) host: HostName,
    pub(super) order: HostOrder,
    /// For an order whose prompt is still to be composed: the project's template.
    pub(super) compose: Option<Option<Text>>,
}

impl Prompts {
    pub(super) fn new(blobs: Arc<Blobs>) -> Self {
        Self { blobs, queue: Mutex::default() }
    }

    /// Sends at once what nothing is before and no disk is needed for. `true`: something waits, and nobody works through
    /// it yet: call [`Prompts::work`] on a thread that may wait.
    #[must_use]
    pub(super) fn pass(&self, mut later: Later, send: impl FnOnce(HostName, HostOrder)) -> bool {
        if let (Some(template), HostOrder::Start(order)) = (&later.compose, &mut later.order)
            && compose_inline(order, template.as_ref())
        {
            later.compose = None;
        }
        let mut queue = self.queue();
        if !queue.is_open && later.compose.is_none() {
            // Under the lock: nothing that comes after it goes before it.
            send(later.host, later.order);
            return false;
        }
        queue.waiting.push_back(later);
        !std::mem::replace(&mut queue.is_open, true)
    }

    /// Completes and sends what waits, in its order, until nothing does.
    pub(super) fn work(&self, send: impl Fn(HostName, HostOrder)) {
        loop {
            let next = {
                let mut queue = self.queue();
                let next = queue.waiting.pop_front();
                queue.is_open = next.is_some();
                next
            };
            let Some(Later { host, mut order, compose }) = next else { return };
            if let (Some(template), HostOrder::Start(order)) = (compose, &mut order) {
                self.compose(order, template.as_ref());
            }
            send(host, order);
        }
    }

    /// An order whose texts cannot be read goes out as it is: a host that runs it already ignores it, another one cannot read
    /// them either and says so.
    fn compose(&self, order: &mut Order, template: Option<&Text>) {
        let read = |text: &Text| self.blobs.read_text(text, TEXT_MAX);
        let made = prompt::compose(&brief(order, template), read).or_else(|error| {
            tracing::error!(attempt = %order.attempt, %error, "the project's template or a text cannot be read");
            prompt::compose(&brief(order, None), read)
        });
        match made {
            Ok(Composed { text, is_cut }) => {
                match self.blobs.text(&text) {
                    Ok(prompt) => whole(order, prompt, is_cut),
                    // Better the author's own words and the title than nothing: a host cannot be told more at once.
                    Err(error) => {
                        tracing::error!(attempt = %order.attempt, %error, "a prompt cannot be kept: it is not whole");
                        if order.prompt == Text::empty() {
                            order.prompt = Text::Inline(order.title.as_str().into());
                        }
                    }
                }
            }
            Err(error) => tracing::error!(attempt = %order.attempt, %error, "a prompt cannot be composed"),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Composes a prompt that needs no disk: everything in it, and it itself, is short.
fn compose_inline(order: &mut Order, template: Option<&Text>) -> bool {
    if order.stage != Stage::Work {
        return true;
    }
    let read = |text: &Text| match text {
        Text::Inline(text) => Ok(text.to_string()),
        Text::Blob(..) => Err(()),
    };
    match prompt::compose(&brief(order, template), read) {
        Ok(Composed { text, is_cut: false }) if text.len() <= Text::INLINE_MAX => {
            whole(order, Text::Inline(text.into()), false);
            true
        }
        _ => false,
    }
}

fn whole(order: &mut Order, prompt: Text, is_cut: bool) {
    let own = std::mem::replace(&mut order.prompt, prompt);
    order.whole_prompt = is_cut.then_some(own);
    order.composed = true;
}

fn brief(order: &Order, template: Option<&Text>) -> Brief {
    Brief {
        title: order.title.clone(),
        prompt: order.prompt.clone(),
        dependencies: order.dependencies.clone(),
        more_dependencies: order.more_dependencies,
        feedback: order.feedback.clone(),
        template: template.cloned(),
    }
}
