//! Completes orders before they are sent. The prompt of a work attempt is composed here, where the task, its
//! dependencies and the project's template are known, and where long texts can be read and stored. Short prompts need
//! no disk and are sent at once. An order that needs the disk is completed on a separate thread, and later messages to
//! the hosts wait behind it.
//!
//! Deliberately absent: the content of a prompt (`devstack_dag::prompt`) and the destination of orders (`outbox`).

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use devstack_dag::{
    attempt::{Order, Stage},
    ids::{HostName, Text},
    prompt::{self, Brief, Composed},
};

use crate::wire::HostOrder;
use devstack_store::Blobs;

/// The longest text that is read for a prompt, in bytes: a task's own text has at most 1 MiB.
const TEXT_MAX: u64 = 16 << 20;

/// Orders that wait for the disk, and the messages behind them.
pub(super) struct Prompts {
    blobs: Arc<Blobs>,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Later>,
    /// Whether a thread is working through the queue.
    is_open: bool,
}

/// A message to a host, sent in turn.
pub(super) struct Later {
    pub(super) host: HostName,
    pub(super) order: HostOrder,
    /// For an order whose prompt is not composed yet: the project's template.
    pub(super) compose: Option<Option<Text>>,
}

impl Prompts {
    pub(super) fn new(blobs: Arc<Blobs>) -> Self {
        Self { blobs, queue: Mutex::default() }
    }

    /// Sends a message at once if nothing is queued before it and it needs no disk. Returns `true` if something waits
    /// and no thread works through the queue yet: then call [`Prompts::work`] on a thread that may block.
    #[must_use]
    pub(super) fn pass(&self, mut later: Later, send: impl FnOnce(HostName, HostOrder)) -> bool {
        if let (Some(template), HostOrder::Start(order)) = (&later.compose, &mut later.order)
            && compose_inline(order, template.as_ref())
        {
            later.compose = None;
        }
        let mut queue = self.queue();
        if !queue.is_open && later.compose.is_none() {
            // Under the lock, so that no later message is sent first.
            send(later.host, later.order);
            return false;
        }
        queue.waiting.push_back(later);
        !std::mem::replace(&mut queue.is_open, true)
    }

    /// Completes and sends the waiting messages in order, until none is left.
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

    /// An order whose texts cannot be read is sent as it is: a host that already runs it ignores it, another host
    /// cannot read them either and reports that.
    fn compose(&self, order: &mut Order, template: Option<&Text>) {
        let read = |text: &Text| self.blobs.read_text(text, TEXT_MAX);
        let made = prompt::compose(&brief(order, template), read).or_else(|error| {
            tracing::error!(attempt = %order.attempt, %error, "cannot read the project's template or a text");
            prompt::compose(&brief(order, None), read)
        });
        match made {
            Ok(Composed { text, is_cut }) => {
                match self.blobs.text(&text) {
                    Ok(prompt) => whole(order, prompt, is_cut),
                    // The author's own words and the title are better than nothing: a host cannot get more in one
                    // message.
                    Err(error) => {
                        tracing::error!(attempt = %order.attempt, %error, "cannot store a prompt: it is incomplete");
                        if order.prompt == Text::empty() {
                            order.prompt = Text::Inline(order.title.as_str().into());
                        }
                    }
                }
            }
            Err(error) => tracing::error!(attempt = %order.attempt, %error, "cannot compose a prompt"),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Composes a prompt that needs no disk: all its parts, and the prompt itself, are short.
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
