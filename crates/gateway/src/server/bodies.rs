//! Wrappers for bodies: a response body that keeps a value until it was sent, and a request body that fails when no
//! data arrives for too long. The rest of an unwanted request body is read for a moment, so that a client that is still
//! sending sees the answer and not a closed connection.
//! Deliberately absent: the size limit of a body (its route has one).

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Error,
    body::{Body, Bytes, HttpBody},
};
use futures::StreamExt;
use hyper::body::{Frame, SizeHint};
use tokio::time::Sleep;

/// A body that keeps a value until it ends, or until its reader disconnects.
pub(crate) struct Keeping<T> {
    body: Body,
    _kept: T,
}

impl<T: Send + Unpin + 'static> Keeping<T> {
    /// Wraps a body so that it keeps `kept`.
    pub(crate) fn body(body: Body, kept: T) -> Body {
        Body::new(Self { body, _kept: kept })
    }
}

impl<T: Unpin> HttpBody for Keeping<T> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// How long the unwanted rest of a body is read: a few round trips, in which the client sees the answer.
const LINGER: Duration = Duration::from_secs(1);
/// The maximum number of bytes of that rest: what buffers on the way hold.
const LINGER_MAX: usize = 8 << 20;

/// A body that fails when no data arrives for too long while a reader waits.
pub(crate) struct Stalling {
    body: Body,
    /// Whether the body has ended.
    is_over: bool,
    limit: Duration,
    /// The time since the last data.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Stalling {
    /// Wraps a body whose data must arrive at least every `limit`.
    pub(crate) fn body(body: Body, limit: Duration) -> Body {
        if body.is_end_stream() {
            return body;
        }
        Body::new(Self { body, is_over: false, limit, waiting: None })
    }
}

impl Drop for Stalling {
    fn drop(&mut self) {
        let rest = std::mem::take(&mut self.body);
        if self.is_over || rest.is_end_stream() {
            return;
        }
        // Without a runtime no data can arrive.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(tokio::time::timeout(LINGER, read_away(rest)));
        }
    }
}

async fn read_away(rest: Body) {
    let (mut rest, mut left) = (rest.into_data_stream(), LINGER_MAX);
    while let Some(Ok(chunk)) = rest.next().await {
        match left.checked_sub(chunk.len()) {
            Some(fewer) => left = fewer,
            None => return,
        }
    }
}

impl HttpBody for Stalling {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.waiting = None;
            self.is_over = !matches!(frame, Some(Ok(_)));
            return Poll::Ready(frame);
        }
        let limit = self.limit;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        match waiting.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                self.is_over = true;
                let why = format!("no data of the body arrived for {} s", limit.as_secs_f64());
                Poll::Ready(Some(Err(Error::new(io::Error::new(io::ErrorKind::TimedOut, why)))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn what_brings_nothing_is_ended_and_what_brings_something_is_not() {
        let parts = stream::iter(0..4).map(|number| Ok::<_, io::Error>(Bytes::from(vec![number])));
        let whole = Stalling::body(Body::from_stream(parts), Duration::from_secs(600));
        assert_eq!(whole.collect().await.unwrap().to_bytes().as_ref(), [0, 1, 2, 3]);
        let started = stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"half"))]).chain(stream::pending());
        let mut body = Stalling::body(Body::from_stream(started), Duration::from_millis(100)).into_data_stream();
        assert_eq!(body.next().await.unwrap().unwrap(), "half");
        let error = body.next().await.unwrap().unwrap_err();
        assert!(error.to_string().contains("no data of the body arrived for 0.1 s"), "{error}");
    }
}
