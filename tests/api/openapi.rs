//! The description and the server say the same: every route of the table, every field of every answer, `docs/api.md`.

use std::{collections::BTreeSet, fs, path::Path};

use devstack::{
    config::node::Limits,
    gateway::{Access, ROUTES, openapi},
};
use serde_json::{Value, json};

use crate::client::Api;

const METHODS: [&str; 2] = ["get", "post"];

fn document() -> Value {
    openapi::document(&Limits::default())
}

/// What people and programs may ask: everything but pages and what nodes ask each other.
fn is_api(path: &str) -> bool {
    path.starts_with("/v1/") || ["/healthz", "/readyz", "/metrics"].contains(&path)
}

#[test]
fn every_route_is_described_and_nothing_else() {
    let document = document();
    let mut described = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, _) in item.as_object().unwrap() {
            assert!(METHODS.contains(&method.as_str()), "{method} {path}");
            described.insert((method.clone(), path.clone()));
        }
    }
    let public = ROUTES.iter().filter(|route| route.least != Access::Node && is_api(route.path));
    let routes: BTreeSet<_> = public.map(|route| (route.method.to_owned(), route.path.to_owned())).collect();
    assert_eq!(described, routes);
}

#[test]
fn every_operation_says_what_it_takes_and_gives() {
    let document = document();
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let place = format!("{method} {path}");
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{place}");
            assert!(operation["summary"].as_str().unwrap().ends_with(['.', '?']), "{place}");
            assert_ne!(operation["responses"]["200"]["content"], json!({}), "{place}");
            let named: BTreeSet<&str> = operation["parameters"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|parameter| parameter["in"] == "path")
                .map(|parameter| parameter["name"].as_str().unwrap())
                .collect();
            let in_path: BTreeSet<&str> = path.split('{').skip(1).map(|rest| rest.split('}').next().unwrap()).collect();
            assert_eq!(named, in_path, "{place}");
            for parameter in operation["parameters"].as_array().unwrap() {
                assert!(parameter["description"].as_str().is_some_and(|text| !text.is_empty()), "{place}: {parameter}");
            }
            if method == "post" {
                assert!(operation["requestBody"]["content"].is_object(), "{place}");
            }
        }
    }
    // Keywords of a schema that are there say something.
    let text = document.to_string();
    for keyword in ["allOf", "type", "properties", "required", "description", "schema"] {
        assert!(!text.contains(&format!("\"{keyword}\":null")), "{keyword} is null");
    }
    let mut references = Vec::new();
    collect(&document, &mut references);
    for reference in references {
        let pointer = reference.trim_start_matches('#');
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            references.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|field| collect(field, references));
        }
        Value::Array(all) => all.iter().for_each(|one| collect(one, references)),
        _ => {}
    }
}

/// Checks an answer against a schema, and more strictly than JSON Schema: no field that is not described.
struct Checker<'a> {
    document: &'a Value,
    place: String,
}

impl Checker<'_> {
    fn fail(&self, why: &str, found: &Value) -> ! {
        panic!("{}: {why}: {found}", self.place)
    }

    /// The schema behind references, with the parts of an `allOf` as one object.
    fn open(&self, schema: &Value) -> Value {
        if let Some(reference) = schema["$ref"].as_str() {
            return self.open(self.document.pointer(reference.trim_start_matches('#')).unwrap());
        }
        let Some(parts) = schema["allOf"].as_array() else { return schema.clone() };
        let (mut properties, mut required) = (serde_json::Map::new(), Vec::new());
        for part in parts.iter().map(|part| self.open(part)) {
            properties.extend(part["properties"].as_object().unwrap().clone());
            required.extend(part["required"].as_array().unwrap().clone());
        }
        json!({ "type": "object", "properties": properties, "required": required })
    }

    fn check(&mut self, schema: &Value, found: &Value) {
        let schema = self.open(schema);
        if let Some(choices) = schema["oneOf"].as_array() {
            let null = |choice: &&Value| choice["type"] == "null";
            return match found.is_null() {
                true => assert!(choices.iter().any(|choice| null(&choice)), "{}: null", self.place),
                false => self.check(choices.iter().find(|choice| !null(choice)).unwrap(), found),
            };
        }
        let kind = match found {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let allowed = match &schema["type"] {
            Value::Array(kinds) => kinds.iter().any(|allowed| allowed == kind),
            allowed => allowed == kind || (allowed == "number" && kind == "integer"),
        };
        if !allowed {
            self.fail(&format!("it is no {}", schema["type"]), found);
        }
        if let Some(words) = schema["enum"].as_array().filter(|words| !words.contains(found)) {
            self.fail(&format!("it is none of {words:?}"), found);
        }
        match found {
            Value::Array(all) => all.iter().for_each(|one| self.check(&schema["items"], one)),
            Value::Object(fields) => self.fields(&schema, fields, found),
            _ => {}
        }
    }

    fn fields(&mut self, schema: &Value, fields: &serde_json::Map<String, Value>, found: &Value) {
        for required in schema["required"].as_array().into_iter().flatten() {
            if !fields.contains_key(required.as_str().unwrap()) {
                self.fail(&format!("{required} is absent"), found);
            }
        }
        // Free in its shape: a plan file, the description itself.
        if schema["properties"].is_null() && schema["additionalProperties"].is_null() {
            return;
        }
        for (name, field) in fields {
            let described = schema["properties"].get(name).or(schema.get("additionalProperties"));
            let Some(described) = described else { self.fail(&format!("`{name}` is not described"), found) };
            let place = self.place.clone();
            self.place += &format!(".{name}");
            self.check(described, field);
            self.place = place;
        }
    }
}

/// A schema of every kind of answer, with everything in it that this server can show.
#[tokio::test]
async fn every_field_of_every_answer_is_described() {
    let api = Api::start(2);
    let plan = "[[task]]\nid = \"a\"\ntitle = \"First\"\nprompt = \"do\"\n[[task]]\nid = \"b\"\ndependencies = [\"a\"]\ntitle = \"b\"\n\
                [[task]]\nid = \"c\"\nrole = \"bad\"\ntitle = \"c\"\n[[task]]\nid = \"d\"\nrole = \"slow\"\ntitle = \"d\"\n[[task]]\nid = \"e\"\nexecutor = \"human\"\ntitle = \"e\"\n";
    assert_eq!(api.plan(plan).await.status, 200);
    let document = api.get("/v1/openapi.json").await.json();
    assert_eq!(document, self::document());
    let asked = [
        ("/v1/plans", "/v1/plans"),
        ("/v1/plans/{project}", "/v1/plans/shop"),
        ("/v1/projects", "/v1/projects"),
        ("/v1/projects/{project}", "/v1/projects/shop"),
        ("/v1/tasks", "/v1/tasks"),
        ("/v1/tasks/{project}/{id}", "/v1/tasks/shop/c"),
        ("/v1/tasks/{project}/{id}", "/v1/tasks/shop/d"),
        ("/v1/tasks/{project}/{id}/explain", "/v1/tasks/shop/c/explain"),
        ("/v1/agents", "/v1/agents"),
        ("/v1/hosts", "/v1/hosts"),
        ("/v1/hosts/{host}", "/v1/hosts/one"),
        ("/v1/merges", "/v1/merges"),
        ("/v1/status", "/v1/status"),
        ("/v1/repos/{project}", "/v1/repos/shop"),
        ("/v1/wait", "/v1/wait?project=shop&tasks=a"),
        ("/v1/audit", "/v1/audit"),
        ("/v1/openapi.json", "/v1/openapi.json"),
    ];
    for (path, asked) in asked {
        let answer = api.get(asked).await;
        assert_eq!((answer.status, answer.kind.as_str()), (200, "application/json"), "{asked}: {}", answer.text());
        let schema = &document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        Checker { document: &document, place: asked.to_owned() }.check(schema, &answer.json());
    }
    let facts = api.get_accepting("/v1/facts?limit=100", "application/json").await;
    let schema = &document["paths"]["/v1/facts"]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
    Checker { document: &document, place: "facts".to_owned() }.check(schema, &facts.json());
    let error = api.get("/v1/tasks?limit=0").await;
    let schema = &document["components"]["responses"]["Refused400"]["content"]["application/json"]["schema"];
    Checker { document: &document, place: "an error".to_owned() }.check(schema, &error.json());
}

/// A field that nobody described is found.
#[test]
#[should_panic(expected = "`colour` is not described")]
fn the_checker_finds_what_is_not_described() {
    let document = document();
    let schema = json!({ "$ref": "#/components/schemas/Answer" });
    let found = json!({ "apiVersion": "v1", "changed": true, "message": "", "colour": "red" });
    Checker { document: &document, place: String::new() }.check(&schema, &found);
}

/// `DEVSTACK_WRITE_DOCS=1 cargo test --test api docs` writes the page again.
#[test]
fn the_docs_are_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/api.md");
    let text = fs::read_to_string(&path).unwrap();
    let mark = "<!-- From here on the page is generated; see tests/api/openapi.rs. -->\n";
    let (prose, _) = text.split_once(mark).expect("the mark of the generated part");
    let fresh = format!("{prose}{mark}\n{}", openapi::reference());
    if std::env::var_os("DEVSTACK_WRITE_DOCS").is_some() {
        fs::write(&path, &fresh).unwrap();
    }
    let text = fs::read_to_string(&path).unwrap();
    assert!(text == fresh, "docs/api.md is out of date: DEVSTACK_WRITE_DOCS=1 cargo test --test api docs");
}
