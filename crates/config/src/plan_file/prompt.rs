//! `prompt_template` of a project: the template for prompts of agents.
//! Deliberately absent: filling the template (`devstack_dag::prompt`).

use devstack_dag::{ids::Text, prompt};

use super::Surroundings;
use crate::section::{Reader, Table, code};

/// Reads the template from the plan or from a file beside it; `None`: the shipped template.
pub(super) fn template<'i>(reader: &mut Reader<'i>, table: &mut Table<'i>, around: &dyn Surroundings) -> Option<Text> {
    let inline = table.text(reader, "prompt_template");
    let file = table.text(reader, "prompt_template_file");
    let of = table.of();
    if let (Some(_), Some(file)) = (&inline, &file) {
        let message = format!("`prompt_template` and `prompt_template_file`{of} exclude each other");
        reader.add(file.at, code::BAD_VALUE, message, None);
    }
    let (at, text) = match (inline, file) {
        (Some(inline), _) => (inline.at, inline.value.into_owned()),
        (None, Some(file)) => match around.prompt(&file.value) {
            Ok(text) => (file.at, text),
            Err(why) => {
                let message = format!("cannot read `prompt_template_file`{of}, `{}`: {why}", file.value);
                let hint = "the path is relative to the plan file".to_owned();
                reader.add(file.at, code::UNREADABLE, message, Some(hint));
                return None;
            }
        },
        (None, None) => return None,
    };
    let wrong = match prompt::check(&text) {
        _ if text.len() > prompt::TEMPLATE_MAX => {
            Some(format!("it has {} bytes; at most {} are allowed", text.len(), prompt::TEMPLATE_MAX))
        }
        Err(flaw) => Some(flaw.to_string()),
        Ok(()) => None,
    };
    if let Some(why) = wrong {
        let hint = "`{{title}}`, `{{prompt}}`, `{{dependencies}}` and `{{feedback}}` are placeholders; a section from \
            `{{#feedback}}` to `{{/feedback}}` is left out if there is no feedback"
            .to_owned();
        reader.add(at, code::BAD_VALUE, format!("the prompt template{of}: {why}"), Some(hint));
    }
    Some(Text::Inline(text.into()))
}
