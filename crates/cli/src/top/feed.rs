//! The connection of `top` to the node: queries, followed facts and changes. Each runs in a task of its own, so that
//! keys never wait.
//! Deliberately absent: deciding when to query (`state` decides).

use std::{io, sync::Arc};

use futures::StreamExt;
use serde_json::json;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};

use super::state::{Answer, Detail, Event};
use crate::{
    CliError,
    client::{Client, escape, parse},
    follow::{Follow, From, Heard},
};
use devstack_api::dto;

/// The most waiting tasks to show: more than a terminal has lines.
const QUEUE: usize = 200;
/// The longest line of a log, in bytes: agents may write lines of megabytes.
const LINE_MAX: usize = 4 << 10;

/// The connection to the node.
pub(super) struct Feed {
    client: Client,
    events: mpsc::Sender<Event>,
    /// Allows one query at a time: a slow node gets no second query meanwhile.
    turn: Arc<Semaphore>,
    follower: Option<JoinHandle<()>>,
    log: Option<JoinHandle<()>>,
}

impl Feed {
    /// Starts the feed. `follow`: follow the facts, which an idle node does not produce.
    pub(super) fn new(client: Client, events: mpsc::Sender<Event>, follow: bool) -> Self {
        let follower = follow.then(|| tokio::spawn(facts(client.clone(), events.clone())));
        Self { client, events, turn: Arc::new(Semaphore::new(1)), follower, log: None }
    }

    /// Queries everything that is shown, and waits for the answer.
    pub(super) async fn ask(&self) -> Result<Answer, CliError> {
        ask(&self.client).await
    }

    /// Queries everything that is shown; the answer becomes an event.
    pub(super) fn ask_later(&self) {
        let Ok(turn) = self.turn.clone().try_acquire_owned() else { return };
        let (client, events) = (self.client.clone(), self.events.clone());
        tokio::spawn(async move {
            let _turn = turn;
            let event = match ask(&client).await {
                Ok(answer) => Event::Answer(Box::new(answer)),
                Err(error) => Event::NoAnswer(error.to_string()),
            };
            // Sending fails only after `top` has ended.
            let _ = events.send(event).await;
        });
    }

    /// Fetches a task's page, and follows its log until the end.
    pub(super) fn open(&mut self, task: String) {
        self.close();
        let (client, events) = (self.client.clone(), self.events.clone());
        self.log = Some(tokio::spawn(async move {
            if let Err(error) = detail(&client, &events, &task).await {
                let _ = events.send(Event::NoDetail(task, error.to_string())).await;
            }
        }));
    }

    /// Stops following a log.
    pub(super) fn close(&mut self) {
        if let Some(log) = self.log.take() {
            log.abort();
        }
    }

    /// Requests a change of a task.
    pub(super) fn change(&self, task: String, what: &'static str) {
        let (client, events) = (self.client.clone(), self.events.clone());
        tokio::spawn(async move {
            let said = match client.change(&format!("{}/{what}", path(&task)), &json!({})).await {
                Ok(body) => parse::<dto::Answer>(&body).map(|answer| answer.message),
                Err(error) => Err(error),
            };
            let said = said.unwrap_or_else(|error| error.to_string());
            let _ = events.send(Event::Said(format!("{what} {task}: {said}"))).await;
        });
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.close();
        if let Some(follower) = self.follower.take() {
            follower.abort();
        }
    }
}

fn path(task: &str) -> String {
    let (project, id) = task.split_once('/').unwrap_or(("", task));
    format!("/v1/tasks/{}/{}", escape(project), escape(id))
}

async fn ask(client: &Client) -> Result<Answer, CliError> {
    let waiting = format!("/v1/tasks?status=TODO,TESTING,REVIEW,APPROVED&limit={QUEUE}");
    let (overview, agents, tasks) = tokio::try_join!(
        client.read::<dto::Overview>("/v1/status"),
        client.read::<dto::AgentList>("/v1/agents"),
        client.read::<dto::TaskList>(&waiting),
    )?;
    Ok(Answer { overview, agents: agents.agents, queue: tasks.tasks, more: tasks.next.is_some() })
}

async fn facts(client: Client, events: mpsc::Sender<Event>) {
    let mut follow = Follow::new(client, From::Now);
    loop {
        let (event, over) = match follow.next().await {
            Ok(Heard::Fact(fact)) => (Event::Fact(Box::new(fact)), false),
            Ok(Heard::Broken(error)) => (Event::NoAnswer(error.to_string()), false),
            // Earlier answers may be outdated.
            Ok(Heard::Met | Heard::Back | Heard::Gap) => (Event::Stale, false),
            Err(error) => (Event::Gone(Box::new(error)), true),
        };
        if events.send(event).await.is_err() || over {
            return;
        }
    }
}

async fn detail(client: &Client, events: &mpsc::Sender<Event>, task: &str) -> Result<(), CliError> {
    let page = client.read::<dto::TaskPage>(&path(task)).await?.task;
    let explanation = client.read::<dto::Explanation>(&format!("{}/explain", path(task))).await?.text;
    let attempts = page.task.attempts;
    let _ = events.send(Event::Detail(Box::new(Detail::new(task, page, explanation)))).await;
    if attempts == 0 {
        return Ok(());
    }
    let mut log = client.stream(&format!("{}/logs?follow=true", path(task))).await?;
    let mut line = Vec::new();
    while let Some(piece) = log.next().await {
        let piece = piece.map_err(|error: io::Error| CliError::unreachable(error.to_string()))?;
        let mut lines = Vec::new();
        for byte in piece {
            if byte == b'\n' {
                lines.push(String::from_utf8_lossy(&line).into_owned());
                line.clear();
            } else if line.len() < LINE_MAX {
                line.push(byte);
            }
        }
        if events.send(Event::Log(task.to_owned(), lines)).await.is_err() {
            return Ok(());
        }
    }
    if !line.is_empty() {
        let _ = events.send(Event::Log(task.to_owned(), vec![String::from_utf8_lossy(&line).into_owned()])).await;
    }
    Ok(())
}
