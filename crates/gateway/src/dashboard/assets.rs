//! Embedded files of the pages: one style sheet, which is inlined in each page so that the first response can be
//! painted, and one module, whose name contains a hash of its content, so that browsers can cache it forever.
//! Deliberately absent: anything from another host.

use std::sync::LazyLock;

use axum::{
    extract::Path,
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use rust_embed::Embed;

use devstack_api::{ApiError, error::code};
use devstack_config::problem::Problem;

#[derive(Embed)]
#[folder = "src/dashboard/assets"]
struct Embedded;

/// An embedded file.
struct Asset {
    text: String,
    sha256: [u8; 32],
}

impl Asset {
    fn of(name: &str) -> Self {
        // The names are constants of this file, and the files exist at compile time.
        let file = Embedded::get(name).unwrap_or_else(|| unreachable!("{name} is embedded"));
        let text = String::from_utf8_lossy(&file.data).into_owned();
        Self { text, sha256: file.metadata.sha256_hash() }
    }
}

static STYLE: LazyLock<Asset> = LazyLock::new(|| Asset::of("dashboard.css"));
static SCRIPT: LazyLock<Asset> = LazyLock::new(|| Asset::of("dashboard.js"));
static SCRIPT_PATH: LazyLock<String> = LazyLock::new(|| {
    let hash: String = SCRIPT.sha256[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("/assets/dashboard.{hash}.js")
});

/// The style sheet, for a `<style>` element with exactly this content.
pub(super) fn style() -> &'static str {
    &STYLE.text
}

/// The hash of the style sheet for the content security policy: `sha256-…`.
pub(super) fn style_hash() -> String {
    format!("sha256-{}", base64(&STYLE.sha256))
}

/// The address of the module.
pub(super) fn script_path() -> &'static str {
    &SCRIPT_PATH
}

/// `GET /assets/{file}`.
pub(crate) async fn asset(Path(file): Path<String>) -> Result<Response, ApiError> {
    if SCRIPT_PATH.strip_prefix("/assets/") != Some(&file) {
        let problem = Problem::new(code::NO_ROUTE, "this version has no such file");
        return Err(ApiError::new(404, problem.hint("reload the page")));
    }
    let headers =
        [(CONTENT_TYPE, "text/javascript; charset=utf-8"), (CACHE_CONTROL, "public, max-age=31536000, immutable")];
    Ok((headers, SCRIPT.text.as_str()).into_response())
}

/// Base64 as in RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = (0..3).fold(0_u32, |word, at| word << 8 | u32::from(*chunk.get(at).unwrap_or(&0)));
        for at in 0..4 {
            let letter = LETTERS[(word >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_as_in_the_rfc() {
        let pairs = ["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(|text| base64(text.as_bytes()));
        assert_eq!(pairs, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]);
    }
}
