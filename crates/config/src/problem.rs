//! One error type for people and programs: what failed and why, what to do, a stable code, and the place.
//! All errors of plans, configurations, the API and the CLI use it.
//! Deliberately absent: HTTP statuses and exit codes (the gateway and the CLI add theirs).

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};

/// A refusal or failure, with the stable fields of the API's error object. Kept small, since many results contain it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Stable: `DS` and four digits. The constants are in the modules that use them (`plan_file::code`,
    /// `gateway::error::code`, …).
    pub code: Cow<'static, str>,
    /// What failed and why; lower case, no full stop.
    pub message: String,
    /// How to fix it.
    pub hint: Option<Box<str>>,
    /// The file with the problem.
    pub file: Option<Box<str>>,
    /// The line in that file, from 1.
    pub line: Option<u32>,
}

impl Problem {
    /// A problem without a hint and a place.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code: Cow::Borrowed(code), message: message.into(), hint: None, file: None, line: None }
    }

    /// Adds a hint: how to fix the problem.
    pub fn hint(mut self, hint: impl Into<Box<str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the place of the problem.
    pub fn at(mut self, file: impl Into<Box<str>>, line: Option<u32>) -> Self {
        self.file = Some(file.into());
        self.line = line;
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "{file}:{line}: ")?,
            (Some(file), None) => write!(f, "{file}: ")?,
            (None, Some(line)) => write!(f, "line {line}: ")?,
            (None, None) => {}
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

/// All problems of one input, in the order of its lines. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// The most problems that are kept. More are only counted: nobody reads them, and a large plan could have one per
    /// task.
    pub const KEPT: usize = 100;

    /// `None` if the list is empty.
    pub fn from_list(problems: Vec<Problem>) -> Option<Self> {
        (!problems.is_empty()).then_some(Self(problems))
    }

    /// The problems.
    pub fn as_slice(&self) -> &[Problem] {
        &self.0
    }

    /// The problems, by value.
    pub fn into_vec(self) -> Vec<Problem> {
        self.0
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
