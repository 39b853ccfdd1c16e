//! The output of attempts: its end in a page, and the rest as it arrives.
//! Deliberately absent: colours. Escape sequences of terminals are removed, so a log is plain text.

use std::{io, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use devstack_dag::ids::TaskRef;
use futures::{StreamExt, TryStreamExt};
use serde::Deserialize;

use crate::{
    extract::{OfTask, Params},
    routes::Api,
};
use devstack_api::{ApiError, ByteStream};

/// The maximum size of the end of a log in a page, in bytes.
const TAIL: usize = 32 << 10;
/// How long a log is read to find its end; the log can be on another host.
const PATIENCE: Duration = Duration::from_secs(3);

/// The end of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tail {
    /// Text without escape sequences of terminals.
    pub(super) text: String,
    /// The number of bytes of the log before this end.
    pub(super) read: u64,
    /// Whether an earlier part was left out.
    pub(super) cut: bool,
}

/// Reads a log to its end, and keeps as much as a page shows.
pub(super) async fn tail(mut log: ByteStream) -> Tail {
    let (mut kept, mut read) = (Vec::new(), 0_u64);
    let reading = async {
        while let Some(Ok(chunk)) = log.next().await {
            read += chunk.len() as u64;
            kept.extend_from_slice(&chunk);
            if kept.len() > 4 * TAIL {
                kept.drain(..kept.len() - TAIL);
            }
        }
    };
    // The data so far is shown, and the rest follows.
    let _ = tokio::time::timeout(PATIENCE, reading).await;
    let cut = read > TAIL as u64;
    let end = &kept[kept.len().saturating_sub(TAIL)..];
    // Starts with a complete line.
    let start = if cut { end.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1) } else { 0 };
    Tail { text: plain(&String::from_utf8_lossy(&end[start..])), read, cut }
}

/// Text without escape sequences and other control characters; of an overwritten line, the last version.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut line = 0;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => skip_sequence(&mut chars),
            '\r' if chars.peek() == Some(&'\n') => {}
            '\r' => out.truncate(line),
            '\n' => {
                out.push(c);
                line = out.len();
            }
            '\t' => out.push(c),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

/// Skips an escape sequence: `[` up to a letter, `]` up to a bell or `ESC \`, or one character.
fn skip_sequence(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match chars.next() {
        Some('[') => {
            for c in chars.by_ref() {
                if ('@'..='~').contains(&c) {
                    return;
                }
            }
        }
        Some(']') => {
            while let Some(c) = chars.next() {
                if c == '\u{7}' || (c == '\u{1b}' && chars.next_if_eq(&'\\').is_some()) {
                    return;
                }
            }
        }
        _ => {}
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    attempt: u32,
    from: Option<u64>,
}

/// `GET /tasks/{project}/{id}/log`: the output of an attempt from an offset on, until the attempt ends.
pub(crate) async fn log(
    State(api): State<Api>,
    OfTask(task): OfTask,
    Params(wanted): Params<Wanted>,
) -> Result<Response, ApiError> {
    let log = follow(&api, task, wanted.attempt, wanted.from.unwrap_or_default()).await?;
    let headers = [(CONTENT_TYPE, "text/plain; charset=utf-8"), (CACHE_CONTROL, "private, no-store")];
    Ok((headers, Body::from_stream(log)).into_response())
}

async fn follow(api: &Api, task: TaskRef, attempt: u32, from: u64) -> Result<ByteStream, ApiError> {
    let log = api.backend.logs(task, Some(attempt), true).await?;
    let mut left = from;
    let rest = log.try_filter_map(move |mut chunk: Bytes| {
        let skipped = usize::try_from(left).map_or(chunk.len(), |left| left.min(chunk.len()));
        left -= skipped as u64;
        let rest = chunk.split_off(skipped);
        std::future::ready(Ok::<_, io::Error>((!rest.is_empty()).then_some(rest)))
    });
    Ok(rest.boxed())
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    #[test]
    fn nothing_of_a_terminal_is_left() {
        assert_eq!(plain("\u{1b}[1;31mred\u{1b}[0m \u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{7}!"), "red link!");
        assert_eq!(plain("10%\r20%\rdone\r\nnext\u{7}\u{8}\u{0}"), "done\nnext");
        assert_eq!(plain("\u{1b}"), "");
        assert_eq!(plain("\u{1b}[31"), "");
        assert_eq!(plain("<b>&\t"), "<b>&\t");
    }

    #[tokio::test]
    async fn the_end_begins_with_a_line() {
        let line = "0123456789abcdef\n".repeat(64);
        let chunks: Vec<_> = (0..200).map(|_| Ok(Bytes::from(line.clone()))).collect();
        let tail = tail(stream::iter(chunks).boxed()).await;
        assert!(tail.cut && tail.text.len() <= TAIL && tail.text.starts_with("0123"));
        assert_eq!(tail.read, 200 * line.len() as u64);
        let short = super::tail(stream::iter([Ok(Bytes::from_static(b"a\nb"))]).boxed()).await;
        assert_eq!(short, Tail { text: "a\nb".into(), read: 3, cut: false });
    }
}
