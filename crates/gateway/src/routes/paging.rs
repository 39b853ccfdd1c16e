//! Pages of lists: `limit` and `after`. Short lists are cut here.
//! Deliberately absent: lists without a bound (the views cut those in the store).

use devstack_dag::ids::ProjectName;

use crate::extract::name;
use crate::query::PAGE;
use devstack_api::ApiError;

/// Checks the `limit` of a query.
pub(super) fn limit(asked: Option<usize>) -> Result<usize, ApiError> {
    let limit = asked.unwrap_or(PAGE);
    if (1..=PAGE).contains(&limit) {
        return Ok(limit);
    }
    Err(ApiError::invalid(format!("`limit` is {limit}; it must be 1 to {PAGE}")))
}

/// The cursor of a numbered list: `project/number`.
pub(super) fn numbered(after: &str) -> Result<(ProjectName, u64), ApiError> {
    let (project, number) = after.split_once('/').ok_or_else(|| unknown(after))?;
    Ok((name(ProjectName::new(project))?, number.parse().map_err(|_| unknown(after))?))
}

/// Cuts a list into a page, and returns the `after` of the next page; `key` names an entry.
pub(super) fn cut<T>(
    mut all: Vec<T>,
    key: impl Fn(&T) -> String,
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<T>, Option<String>), ApiError> {
    let from = match after {
        None => 0,
        Some(after) => all.iter().position(|entry| key(entry) == after).ok_or_else(|| unknown(after))? + 1,
    };
    let mut page = all.split_off(from);
    let more = page.len() > limit;
    page.truncate(limit);
    let next = page.last().filter(|_| more).map(key);
    Ok((page, next))
}

fn unknown(after: &str) -> ApiError {
    let shown: String = after.chars().take(200).collect();
    let hint = "`after` must be the `next` of the previous page; start again with the first page";
    ApiError::invalid(format!("there is no page after `{shown}`")).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_join_to_the_whole() {
        let all: Vec<u32> = (0..7).collect();
        let (mut joined, mut after) = (Vec::new(), None);
        loop {
            let (page, next) = cut(all.clone(), u32::to_string, after.as_deref(), 3).unwrap();
            assert!(!page.is_empty() && page.len() <= 3);
            joined.extend(page);
            after = next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(joined, all);
        assert!(cut(all, u32::to_string, Some("9"), 3).is_err());
        assert_eq!(cut(Vec::<u32>::new(), u32::to_string, None, 3).unwrap(), (Vec::new(), None));
    }
}
