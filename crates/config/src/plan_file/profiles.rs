//! `[profiles.*]`, and the profile of a role with its settings.
//! Deliberately absent: the content of a profile (`config::profile`).

use std::{collections::BTreeMap, sync::Arc};

use devstack_dag::{
    plan::ProfileUse,
    profile::{Profile, Setting},
};

use super::{Surroundings, plan_code};
use crate::{
    profile::{self, Catalog},
    section::{At, Reader, Table, code},
};

/// The highest cost limit, in US dollars: a higher value is a typing mistake.
const DOLLARS_MAX: f64 = 1e6;
/// The most turns of an attempt.
const TURNS_MAX: u32 = 100_000;

/// Profiles of a plan: its own, and those that its roles use from elsewhere.
pub(super) struct Profiles {
    catalog: Catalog,
    /// The plan's own profiles; `None`: broken, and already reported.
    own: BTreeMap<String, Option<Arc<Profile>>>,
    /// Profiles that roles name; `None`: unknown or broken, and already reported.
    used: BTreeMap<String, Option<Arc<Profile>>>,
}

/// What a role's agents run.
#[derive(Default)]
pub(super) struct Chosen {
    pub(super) command: Vec<String>,
    pub(super) profile: Option<ProfileUse>,
    pub(super) max_cost_micros: Option<u64>,
    /// Whether the role names a profile, valid or not: then a missing command is not a mistake.
    pub(super) named: bool,
}

impl Profiles {
    /// Reads `[profiles.*]`.
    pub(super) fn read<'i>(reader: &mut Reader<'i>, top: &mut Table<'i>, around: &dyn Surroundings) -> Self {
        let mut profiles = Self { catalog: around.profiles(), own: BTreeMap::new(), used: BTreeMap::new() };
        let Some(table) = top.take(reader, "profiles").and_then(|field| reader.table(field.value, "[profiles]")) else {
            return profiles;
        };
        for field in table.into_fields() {
            if !profile::is_name(&field.key) {
                let message = format!("`{}` is not a profile name: use 1 to 64 letters, digits, `_` or `-`", field.key);
                reader.add(field.at, code::BAD_VALUE, message, None);
            }
            let Some(table) = reader.table(field.value, format!("[profiles.{}]", field.key)) else { continue };
            let read = profile::read(reader, table, &field.key).map(|(profile, _)| Arc::new(profile));
            profiles.own.insert(field.key.into_owned(), read);
        }
        profiles
    }

    /// Reads `profile`, `model`, `max_turns` and `max_cost` of a role; `has_command`: the role has its own command.
    pub(super) fn of_role<'i>(&mut self, reader: &mut Reader<'i>, table: &mut Table<'i>, has_command: bool) -> Chosen {
        let name = table.text(reader, "profile");
        let model = table.text(reader, "model");
        let max_turns = table.integer(reader, "max_turns", 1, TURNS_MAX);
        let max_cost = dollars(reader, table, "max_cost");
        let max_cost_micros = max_cost.as_ref().map(|cost| cost.value);
        let of = table.of();
        let Some(name) = name else {
            let given = [("model", model.as_ref().map(|v| v.at)), ("max_turns", max_turns.as_ref().map(|v| v.at))];
            for (key, at) in given.into_iter().filter_map(|(key, at)| Some((key, at?))) {
                let hint = "put the value into the command, or use a profile".to_owned();
                reader.add(at, code::BAD_VALUE, format!("`{key}`{of} needs a `profile`"), Some(hint));
            }
            return Chosen { max_cost_micros, ..Chosen::default() };
        };
        if has_command {
            let hint = "remove `command`; to change the command, write a profile file with `extends`".to_owned();
            reader.add(name.at, code::BAD_VALUE, format!("`profile` and `command`{of} exclude each other"), Some(hint));
        }
        let broken = Chosen { max_cost_micros, named: true, ..Chosen::default() };
        let Some(profile) = self.named(reader, &name, &of) else { return broken };
        let settings = [
            (Setting::Model, model.as_ref().map(|v| (v.at, v.value.to_string()))),
            (Setting::MaxTurns, max_turns.as_ref().map(|v| (v.at, v.value.to_string()))),
        ];
        for (setting, given) in &settings {
            if let Some((at, _)) = given.as_ref().filter(|_| !profile.takes(*setting)) {
                let key = setting.key();
                let hint = format!("remove `{key}`; `timeout` and `max_cost` also limit an attempt");
                let message = format!("`{key}`{of}: the profile `{}` has no argument for it", name.value);
                reader.add(*at, code::BAD_VALUE, message, Some(hint));
            }
        }
        if let Some(model) = model.as_ref().filter(|model| model.value.is_empty() || model.value.contains('\0')) {
            reader.add(model.at, code::BAD_VALUE, format!("`model`{of} is not a model name"), None);
        }
        let [(_, model), (_, turns)] = settings;
        let command = profile.argv(|setting| match setting {
            Setting::Model => model.as_ref().map(|(_, value)| value.clone()),
            Setting::MaxTurns => turns.as_ref().map(|(_, value)| value.clone()),
            Setting::MaxCost => max_cost_micros.map(|micros| format!("{}", micros as f64 / 1e6)),
        });
        let used = ProfileUse {
            name: profile.name.clone(),
            model: model.map(|(_, value)| value.into()),
            max_turns: max_turns.map(|turns| turns.value),
        };
        Chosen { command, profile: Some(used), max_cost_micros, named: true }
    }

    fn named(
        &mut self,
        reader: &mut Reader<'_>,
        name: &At<std::borrow::Cow<'_, str>>,
        of: &str,
    ) -> Option<Arc<Profile>> {
        if let Some(known) = self.own.get(&*name.value).or_else(|| self.used.get(&*name.value)) {
            let known = known.clone();
            self.used.insert(name.value.to_string(), known.clone());
            return known;
        }
        let found = match self.catalog.find(&name.value) {
            Ok(Some(found)) => Some(found.profile),
            Ok(None) => {
                let hint = self.catalog.hint(&name.value, self.own.keys().cloned());
                let message = format!("unknown profile `{}`{of}", name.value);
                reader.add(name.at, plan_code::UNKNOWN_PROFILE, message, Some(hint));
                return None;
            }
            Err(problems) => {
                reader.adopt(name.at, problems);
                None
            }
        };
        self.used.insert(name.value.to_string(), found.clone());
        found
    }

    /// The profiles that roles use, by name.
    pub(super) fn used(self) -> Vec<Arc<Profile>> {
        self.used.into_values().flatten().collect()
    }
}

/// Reads US dollars; returns millionths.
pub(super) fn dollars<'i>(reader: &mut Reader<'i>, table: &mut Table<'i>, key: &str) -> Option<At<u64>> {
    let found = table.number(reader, key)?;
    let micros = (found.value * 1e6).round();
    if micros >= 1.0 && found.value <= DOLLARS_MAX {
        // In range, so it fits.
        return Some(At { at: found.at, value: micros as u64 });
    }
    let message = format!(
        "`{key}`{} is {}; it must be US dollars, more than 0 and at most {DOLLARS_MAX}",
        table.of(),
        found.value
    );
    reader.add(found.at, code::BAD_VALUE, message, None);
    None
}
