//! A backup as a stream. It is complete or breaks off; the reader checks its end.

use axum::{
    body::Body,
    extract::State,
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::Api;
use crate::openapi::{Draft, Gives};
use devstack_api::{ApiError, ByteStream};

const TAR: &str = "application/x-tar";

/// A backup.
pub(super) struct Backup(ByteStream);

impl IntoResponse for Backup {
    fn into_response(self) -> Response {
        // It contains keys, so no proxy may store it.
        ([(CONTENT_TYPE, TAR), (CACHE_CONTROL, "no-store")], Body::from_stream(self.0)).into_response()
    }
}

impl Gives for Backup {
    fn gives(draft: &mut Draft) {
        let description = "the input of `devstack cluster restore`; `contents.json` at its end marks it as complete";
        draft.gives(TAR, json!({ "type": "string", "format": "binary", "description": description }));
    }
}

pub(super) async fn take(State(api): State<Api>) -> Result<Backup, ApiError> {
    api.backend.backup().await.map(Backup)
}
