//! Images of a plan's roles, resolved when it is submitted: what runs later is the image of that moment.
//! Deliberately absent: fetching any.

use std::{collections::HashMap, sync::Arc};

use devstack_dag::plan::PlanSpec;

use super::Core;
use crate::{config::problem::Problem, gateway::ApiError, runtime::RuntimeError};

/// No such image, or nobody to ask.
const NO_IMAGE: &str = "DS0251";

impl Core {
    /// The plan with every role's image as `name@sha256:…`. A node that only serves this request runs nothing and asks no
    /// engine: there the name stays, and means what it means when the attempt starts.
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

/// The mend stands after a semicolon.
fn refused(error: RuntimeError) -> ApiError {
    let text = error.to_string();
    let problem = match text.split_once("; ") {
        Some((what, mend)) => Problem::new(NO_IMAGE, what).hint(mend),
        None => Problem::new(NO_IMAGE, text),
    };
    ApiError::new(409, problem)
}
