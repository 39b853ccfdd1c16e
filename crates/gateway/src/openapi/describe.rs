//! Derives the parameters and answers of a handler from its signature: each extractor and each answer describes itself,
//! so no second list of parameters and schemas can differ from the code.
//! Deliberately absent: paths, access and limits (the table of routes has them).

use std::{collections::BTreeMap, future::Future};

use axum::{Json, extract::State};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::{
    access::{Origin, Peer, Visitor},
    routes::Api,
};
use devstack_api::ApiError;

/// A part of an operation under construction.
#[derive(Debug, Default)]
pub struct Draft {
    /// Parameters of path, query and headers, as OpenAPI has them.
    pub parameters: Vec<Value>,
    /// The request's body.
    pub body: Option<Value>,
    /// The content of a successful answer, by media type.
    pub content: Map<String, Value>,
    /// Statuses of refusals, beyond those of every route.
    pub statuses: Vec<u16>,
    /// Referenced schemas.
    pub schemas: BTreeMap<String, Value>,
}

impl Draft {
    /// A reference to an answer type. Unknown values are null and never absent in answers, so every property is
    /// required.
    pub fn answer<T: ToSchema>(&mut self) -> Value {
        self.refer::<T>(true)
    }

    /// A reference to a request type, whose optional properties can be absent.
    pub fn request<T: ToSchema>(&mut self) -> Value {
        self.refer::<T>(false)
    }

    fn refer<T: ToSchema>(&mut self, whole: bool) -> Value {
        let mut found = vec![(T::name().into_owned(), T::schema())];
        T::schemas(&mut found);
        for (name, schema) in found {
            let mut schema = serde_json::to_value(schema).unwrap_or_default();
            if whole {
                require_all(&mut schema);
            }
            self.schemas.insert(name, schema);
        }
        json!({ "$ref": format!("#/components/schemas/{}", T::name()) })
    }

    /// The properties of a type as query parameters.
    pub fn query<T: ToSchema>(&mut self) {
        let schema = serde_json::to_value(T::schema()).unwrap_or_default();
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let mut property = property.clone();
            let said = property.as_object_mut().and_then(|property| property.remove("description"));
            // An optional parameter is left out, not null.
            if let Some(kinds) = property.get_mut("type").and_then(Value::as_array_mut) {
                kinds.retain(|kind| kind != "null");
                property["type"] = kinds.first().cloned().unwrap_or_default();
            }
            let is_required = required.iter().any(|required| required == name);
            self.parameters.push(json!({
                "name": name, "in": "query", "required": is_required, "description": said, "schema": property,
            }));
        }
    }

    /// Adds a path parameter.
    pub fn path(&mut self, name: &str, description: &str, pattern: &str, example: &str) {
        self.parameters.push(json!({
            "name": name, "in": "path", "required": true, "description": description,
            "schema": { "type": "string", "pattern": pattern }, "example": example,
        }));
    }

    /// Adds an optional header.
    pub fn header(&mut self, name: &str, description: &str, schema: Value) {
        self.parameters.push(json!({
            "name": name, "in": "header", "required": false, "description": description, "schema": schema,
        }));
    }

    /// Adds a successful answer.
    pub fn gives(&mut self, media_type: &str, schema: Value) {
        self.content.insert(media_type.to_owned(), json!({ "schema": schema }));
    }
}

/// Makes every property of every object in this schema required.
fn require_all(schema: &mut Value) {
    let names: Option<Vec<String>> =
        schema.get("properties").and_then(Value::as_object).map(|properties| properties.keys().cloned().collect());
    if let Some(names) = names {
        schema["required"] = json!(names);
    }
    for part in schema.get_mut("allOf").and_then(Value::as_array_mut).into_iter().flatten() {
        require_all(part);
    }
}

/// Something that a handler extracts from its request.
pub trait Takes {
    /// Adds the description of the input.
    fn takes(draft: &mut Draft);
}

/// Something that a handler answers.
pub trait Gives {
    /// Adds the description of the answer.
    fn gives(draft: &mut Draft);
}

impl Takes for State<Api> {
    fn takes(_: &mut Draft) {}
}

impl Takes for Peer {
    fn takes(_: &mut Draft) {}
}

impl Takes for Origin {
    fn takes(_: &mut Draft) {}
}

impl Takes for Visitor {
    fn takes(_: &mut Draft) {}
}

impl<T: ToSchema> Gives for Json<T> {
    fn gives(draft: &mut Draft) {
        let schema = draft.answer::<T>();
        draft.gives("application/json", schema);
    }
}

impl Gives for &'static str {
    fn gives(draft: &mut Draft) {
        draft.gives("text/plain; charset=utf-8", json!({ "type": "string" }));
    }
}

impl<T: Gives> Gives for Result<T, ApiError> {
    fn gives(draft: &mut Draft) {
        T::gives(draft);
    }
}

/// A handler whose signature describes it.
pub trait Described<Arguments> {
    /// Adds the description of the handler.
    fn describe(&self) -> Draft;
}

macro_rules! described {
    ($($argument:ident)*) => {
        impl<F, Answer, R, $($argument),*> Described<($($argument,)*)> for F
        where
            F: Fn($($argument),*) -> Answer,
            Answer: Future<Output = R>,
            R: Gives,
            $($argument: Takes,)*
        {
            fn describe(&self) -> Draft {
                let mut draft = Draft::default();
                $($argument::takes(&mut draft);)*
                R::gives(&mut draft);
                draft
            }
        }
    };
}

described!();
described!(A);
described!(A B);
described!(A B C);
described!(A B C D);
described!(A B C D E);

/// Describes a handler by its signature.
pub fn describe<Arguments, H: Described<Arguments>>(handler: H) -> Draft {
    handler.describe()
}
