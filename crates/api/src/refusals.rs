//! Refusals of the engine and of the registry of members as errors of the API.
//! Deliberately absent: why something is refused.

use devstack_config::problem::Problem;
use devstack_dag::{Class, Rejection};
use devstack_members::MembersError;

use super::{ApiError, error::code};

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
                    problems.iter().take(devstack_config::problem::Problems::KEPT).map(each).collect();
                Self { status, problem: more[0].clone(), more }
            }
            _ => Self::new(status, Problem::new(rejection.code(), rejection.to_string()).hint(rejection.hint())),
        }
    }
}

impl From<MembersError> for ApiError {
    fn from(error: MembersError) -> Self {
        let message = error.to_string();
        let problem = |code| Problem::new(code, message.clone());
        let another = "create another with `devstack token create --role agent-host`";
        let removed = "choose another name with --name, or remove the machine first: `devstack host remove NAME`";
        match error {
            MembersError::UnknownToken => Self::new(401, problem(code::UNAUTHENTICATED).hint(another)),
            MembersError::UsedToken(_)
            | MembersError::ExpiredToken
            | MembersError::RevokedToken
            | MembersError::NotForJoining(_) => Self::new(403, problem(code::JOIN_REFUSED).hint(another)),
            MembersError::NotAMember { .. } => Self::new(403, problem(code::FORBIDDEN)),
            MembersError::NameTaken(_) => Self::new(409, problem(code::NAME_TAKEN).hint(removed)),
            MembersError::NameReserved(_) => {
                Self::new(409, problem(code::NAME_TAKEN).hint("choose another name with --name"))
            }
            MembersError::TokenNameTaken(_) => {
                Self::new(409, problem(code::NAME_TAKEN).hint("revoke that token, or choose another name with --name"))
            }
            MembersError::Request(_) | MembersError::BadToken(_) => Self::new(400, problem(code::BAD_REQUEST)),
            MembersError::NoToken(_) => {
                Self::new(404, problem(code::NOTHING_THERE).hint("list the tokens with `devstack token list`"))
            }
            MembersError::NoMember(_) => {
                Self::new(404, problem(code::NOTHING_THERE).hint("list the members with `devstack cluster status`"))
            }
            MembersError::IsTaskmaster(name) => {
                let hint = format!("keep attempts away from it with `devstack host drain {name}`");
                Self::new(409, problem(code::FORBIDDEN).hint(hint))
            }
            MembersError::Full(_) => {
                Self::new(409, problem(code::NAME_TAKEN).hint("revoke or remove unused tokens and members"))
            }
            MembersError::Exists(_)
            | MembersError::Io { .. }
            | MembersError::Damaged { .. }
            | MembersError::Ca(_)
            | MembersError::Credentials(_) => Self::internal(message),
        }
    }
}
