//! The history: forwards as a stream, and backwards in pages, newest first, until enough facts are found or the search
//! has gone far enough. Deliberately absent: an index. A search reads facts one page at a time, so that the Taskmaster
//! can do other work in between.

use super::{Core, ask_again};
use crate::{
    actor::Address,
    taskmaster::message::{FactsAnswer, GetFacts, TaskmasterMessage},
};
use devstack_api::{ApiError, dto};
use devstack_gateway::pages;
use devstack_gateway::{FactPage, FactSearch, FactStream, view};
use devstack_store::StoreError;

/// Number of facts read at once.
const FACTS_PAGE: usize = 256;

impl Core {
    pub(super) async fn fact_stream(&self, after: Option<u64>) -> Result<FactStream, ApiError> {
        let after = match after {
            Some(after) => after,
            None => self.look(|seen| seen.seq).await?,
        };
        let first = self.facts_after(after).await?;
        let taskmaster = self.taskmaster.clone();
        let (send, receive) = tokio::sync::mpsc::channel(FACTS_PAGE);
        tokio::spawn(async move {
            let mut answer = first;
            let mut last = after;
            loop {
                let page = match answer.page {
                    Ok(page) => page,
                    Err(_) => return drop(send.send(Err(ApiError::behind_horizon(last))).await),
                };
                for (seq, fact) in &page.facts {
                    last = seq.0;
                    if send.send(Ok(view::fact(seq.0, fact))).await.is_err() {
                        return;
                    }
                }
                if last >= page.last.0 {
                    let more = answer.news.wait_for(|durable| *durable > last);
                    tokio::select! {
                        more = more => if more.is_err() { return },
                        () = send.closed() => return,
                    }
                }
                answer = match ask_facts(&taskmaster, last, FACTS_PAGE).await {
                    Ok(answer) => answer,
                    Err(error) => return drop(send.send(Err(error)).await),
                };
            }
        });
        Ok(Box::pin(futures::stream::unfold(receive, |mut receive| async move {
            let next = receive.recv().await?;
            Some((next, receive))
        })))
    }

    pub(super) async fn facts_after(&self, after: u64) -> Result<FactsAnswer, ApiError> {
        let answer = ask_facts(&self.taskmaster, after, FACTS_PAGE).await?;
        if answer.page.is_err() {
            return Err(ApiError::behind_horizon(after));
        }
        Ok(answer)
    }

    pub(super) async fn page_of_facts(&self, after: Option<u64>, limit: usize) -> Result<FactPage, ApiError> {
        let read = async |after| ask_facts(&self.taskmaster, after, limit).await;
        let mut from = after.unwrap_or(0);
        let mut answer = read(from).await?;
        // The oldest stored fact can change during the request.
        while let (None, Err(StoreError::OutOfRange { first, .. })) = (after, &answer.page) {
            from = first.0.saturating_sub(1);
            answer = read(from).await?;
        }
        let page = answer.page.map_err(|_| ApiError::behind_horizon(from))?;
        let facts: Vec<dto::Fact> = page.facts.iter().map(|(seq, fact)| view::fact(seq.0, fact)).collect();
        Ok(FactPage { through: facts.last().map_or(from, |fact| fact.seq), last: page.last.0, facts })
    }

    /// Searches facts, newest first.
    pub(super) async fn search_facts(&self, search: FactSearch) -> Result<pages::History, ApiError> {
        let mut found = pages::History::default();
        // Facts with lower numbers were not examined yet.
        let mut before = match search.before {
            Some(before) => before,
            None => self.look(|seen| seen.seq).await?.saturating_add(1),
        };
        let mut first = 1;
        while before > first && found.facts.len() < search.limit && found.searched < search.depth {
            let after = before.saturating_sub(1 + FACTS_PAGE as u64).max(first - 1);
            // At most a page: `after` was chosen accordingly.
            let limit = usize::try_from(before - 1 - after).unwrap_or(FACTS_PAGE);
            let page = match ask_facts(&self.taskmaster, after, limit).await?.page {
                Ok(page) => page.facts,
                // The reader is ahead of the present, or the history up to there was pruned.
                Err(StoreError::OutOfRange { last, .. }) if after > last.0 => {
                    before = last.0 + 1;
                    continue;
                }
                Err(StoreError::OutOfRange { first: kept, .. }) if kept.0 > first => {
                    first = kept.0;
                    continue;
                }
                Err(error) => return Err(super::errors::internal(error)),
            };
            if page.is_empty() {
                break;
            }
            for (seq, fact) in page.iter().rev() {
                if found.facts.len() == search.limit {
                    break;
                }
                found.searched += 1;
                before = seq.0;
                found.facts.extend(Some(view::fact(seq.0, fact)).filter(|fact| search.wants(fact)));
            }
        }
        found.older = (before > first).then_some(before);
        Ok(found)
    }
}

async fn ask_facts(taskmaster: &Address<TaskmasterMessage>, after: u64, limit: usize) -> Result<FactsAnswer, ApiError> {
    let get = |reply| TaskmasterMessage::GetFacts(GetFacts { after, limit, reply });
    Ok(ask_again(taskmaster, get).await?)
}
