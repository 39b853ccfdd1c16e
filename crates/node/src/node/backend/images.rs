//! Resolves the images of a plan's roles when the plan is submitted: later attempts run the image of that moment.
//! Deliberately absent: fetching images.

use std::{collections::HashMap, sync::Arc};

use devstack_dag::plan::PlanSpec;

use super::Core;
use devstack_api::ApiError;
use devstack_config::problem::Problem;
use devstack_runtime::RuntimeError;

/// No such image, or no engine to ask.
const NO_IMAGE: &str = "DS0251";

impl Core {
    /// Returns the plan with every role's image as `name@sha256:…`. A node that serves only this request runs nothing
    /// and asks no engine: there the name stays, and is resolved when the attempt starts.
    pub(super) async fn with_images(&self, mut plan: PlanSpec) -> Result<PlanSpec, ApiError> {
        let Some(host) = &self.host else { return Ok(plan) };
        let mut known: HashMap<Option<Arc<str>>, Option<Arc<str>>> = HashMap::new();
        for role in &mut plan.project.roles {
            if !known.contains_key(&role.image) {
                let resolved = host.runtime.image(role.image.as_deref()).await.map_err(refused)?;
                known.insert(role.image.clone(), resolved.map(Arc::from));
            }
            if let Some(Some(resolved)) = known.get(&role.image) {
                role.image = Some(resolved.clone());
            }
        }
        Ok(plan)
    }
}

/// The fix follows after a semicolon.
fn refused(error: RuntimeError) -> ApiError {
    let text = error.to_string();
    let problem = match text.split_once("; ") {
        Some((what, fix)) => Problem::new(NO_IMAGE, what).hint(fix),
        None => Problem::new(NO_IMAGE, text),
    };
    ApiError::new(409, problem)
}
