//! A backup as a stream. It ends whole or breaks off: whoever reads it checks its end.

use axum::{
    body::Body,
    extract::State,
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::Api;
use crate::gateway::{
    ApiError, ByteStream,
    openapi::{Draft, Gives},
};

const TAR: &str = "application/x-tar";

/// A backup.
pub(super) struct Backup(ByteStream);

impl IntoResponse for Backup {
    fn into_response(self) -> Response {
        // It holds keys: nobody on the way keeps it.
        ([(CONTENT_TYPE, TAR), (CACHE_CONTROL, "no-store")], Body::from_stream(self.0)).into_response()
    }
}

impl Gives for Backup {
    fn gives(draft: &mut Draft) {
        let description = "what `devstack cluster restore` takes; `contents.json` at its end says that it is whole";
        draft.gives(TAR, json!({ "type": "string", "format": "binary", "description": description }));
    }
}

pub(super) async fn take(State(api): State<Api>) -> Result<Backup, ApiError> {
    api.backend.backup().await.map(Backup)
}
