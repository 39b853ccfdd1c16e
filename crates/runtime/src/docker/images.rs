//! A cached list of the engine's images, for a host's report, which never blocks. The list is refreshed when the node
//! starts, when a name is resolved, and in the background after an answer that is older than [`STALE`].
//! Deliberately absent: a timer; without a reader nothing is refreshed.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bollard::models::ImageSummary;

use super::{engine::Engine, health::Health};
use crate::IMAGES_MAX;

/// A list older than this is refreshed for the next caller: a user who loads an image waits about this long.
const STALE: Duration = Duration::from_secs(30);

/// The cached list.
pub(super) struct Images {
    engine: Arc<Engine>,
    health: Arc<Health>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    images: Vec<String>,
    /// When it was last refreshed; `None` if never.
    at: Option<Instant>,
}

impl Images {
    pub(super) fn new(engine: Arc<Engine>, health: Arc<Health>) -> Arc<Self> {
        Arc::new(Self { engine, health, seen: Mutex::default() })
    }

    /// Refreshes the list now. If the engine is gone, the old list stays.
    pub(super) async fn look(&self) {
        let found = self.health.note(self.engine.images().await);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.at = Some(Instant::now());
        match found {
            Ok(found) => seen.images = names(&found),
            Err(error) => tracing::debug!(%error, "cannot list the images of this host now"),
        }
    }

    /// The cached list.
    pub(super) fn report(self: &Arc<Self>) -> Vec<String> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.at.is_none_or(|at| at.elapsed() > STALE) {
            // Only one caller refreshes, not every caller meanwhile.
            seen.at = Some(Instant::now());
            let this = self.clone();
            tokio::spawn(async move { this.look().await });
        }
        seen.images.clone()
    }
}

/// Named images first: plans ask for those.
fn names(found: &[ImageSummary]) -> Vec<String> {
    let tags = |image: &ImageSummary| {
        let named = image.repo_tags.iter().filter(|tag| *tag != "<none>:<none>");
        named.map(|tag| format!("{tag}@{}", image.id)).collect::<Vec<_>>()
    };
    let mut all: Vec<String> = found.iter().flat_map(tags).collect();
    all.sort();
    all.extend(found.iter().filter(|image| tags(image).is_empty()).map(|image| image.id.clone()));
    all.truncate(IMAGES_MAX);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_images_come_first_and_there_are_never_too_many() {
        let image = |id: &str, tags: &[&str]| ImageSummary {
            id: id.to_owned(),
            repo_tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
            ..Default::default()
        };
        let mut found =
            vec![image("sha256:0", &[]), image("sha256:1", &["b:1", "a:1"]), image("sha256:2", &["<none>:<none>"])];
        assert_eq!(names(&found), ["a:1@sha256:1", "b:1@sha256:1", "sha256:0", "sha256:2"]);
        found.extend((0..IMAGES_MAX).map(|n| image(&format!("sha256:x{n}"), &[])));
        assert_eq!(names(&found).len(), IMAGES_MAX);
    }
}
