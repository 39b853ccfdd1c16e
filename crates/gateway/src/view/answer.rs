//! Converts the engine's answers and refusals to the API's form.

use devstack_dag::Answer;

use devstack_api::{ApiError, dto};

/// The answer to a submission.
///
/// # Errors
/// The engine answered something else: a bug.
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
        other => Err(ApiError::internal(format!("unexpected answer to a plan: {other:?}"))),
    }
}

/// `1 task`, `2 tasks`.
fn counted(count: impl Into<u64>) -> String {
    let count = count.into();
    format!("{count} task{}", if count == 1 { "" } else { "s" })
}

/// The answer to any other change.
pub fn answer(answer: Answer) -> dto::Answer {
    let (changed, message) = match answer {
        Answer::Done => (true, "done".to_owned()),
        Answer::Unchanged | Answer::Fenced => (false, "nothing to change".to_owned()),
        Answer::Cancelled { rejected, merging } if merging.is_empty() => {
            (rejected > 0, format!("rejected {}", counted(rejected)))
        }
        Answer::Cancelled { rejected, merging } => {
            let names: Vec<String> = merging.iter().map(ToString::to_string).collect();
            (true, format!("rejected {}; still merging: {}", counted(rejected), names.join(", ")))
        }
        Answer::Plan { project, number, .. } => (true, format!("plan {number} of {project}")),
    };
    dto::Answer { api_version: dto::V1, changed, message }
}
