//! What a host says about itself, as the API shows the host.
//! Deliberately absent: what the engine knows about the host.

use devstack_api::dto;

use crate::wire::Introduction;

impl From<Introduction> for dto::Setup {
    fn from(said: Introduction) -> Self {
        let Introduction { version, runtime, sandbox } = said;
        Self { runtime, sandbox, version, ..Self::default() }
    }
}
