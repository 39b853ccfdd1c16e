//! The engine's answers and refusals as the API gives them.

use devstack_dag::{Answer, Class, Rejection};

use crate::{
    config::problem::Problem,
    gateway::{ApiError, dto},
};

impl From<Rejection> for ApiError {
    fn from(rejection: Rejection) -> Self {
        let status = match rejection.class() {
            Class::NotFound => 404,
            Class::Invalid => 400,
            Class::State => 409,
        };
        match &rejection {
            Rejection::Plan(problems) if !problems.is_empty() => {
                let each = |p: &devstack_dag::Problem| Problem::new(p.code(), p.to_string()).hint(p.hint());
                let more: Box<[Problem]> =
                    problems.iter().take(crate::config::problem::Problems::KEPT).map(each).collect();
                Self { status, problem: more[0].clone(), more }
            }
            _ => Self::new(status, Problem::new(rejection.code(), rejection.to_string()).hint(rejection.hint())),
        }
    }
}

/// The answer to a submission.
///
/// # Errors
/// The engine answered something else: a defect.
pub fn plan_answer(answer: Answer, warnings: Vec<String>) -> Result<dto::PlanAnswer, ApiError> {
    match answer {
        Answer::Plan { project, number, added, updated, retried, unchanged } => Ok(dto::PlanAnswer {
            api_version: dto::V1,
            project: project.to_string(),
            plan: number,
            added,
            updated,
            retried,
            unchanged,
            warnings,
        }),
        other => Err(ApiError::internal(format!("a plan was answered with {other:?}"))),
    }
}

/// The answer to any other change.
pub fn answer(answer: Answer) -> dto::Answer {
    let (changed, message) = match answer {
        Answer::Done => (true, "done".to_owned()),
        Answer::Unchanged | Answer::Fenced => (false, "it was so already".to_owned()),
        Answer::Cancelled { rejected, merging } if merging.is_empty() => {
            (rejected > 0, format!("{rejected} tasks given up"))
        }
        Answer::Cancelled { rejected, merging } => {
            let names: Vec<String> = merging.iter().map(ToString::to_string).collect();
            (true, format!("{rejected} tasks given up; these are being merged and finish: {}", names.join(", ")))
        }
        Answer::Plan { project, number, .. } => (true, format!("plan {number} of {project}")),
    };
    dto::Answer { api_version: dto::V1, changed, message }
}
