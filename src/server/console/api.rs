//! What can programs ask, and how?
//!
//! The description of the routes, `/openapi.json`, for people. Promises to show what the document
//! says, and nothing else.

use askama::Template;
use axum::Extension;
use axum::http::StatusCode;
use serde_json::{Map, Value};

use super::texts::Texts;
use super::visit::{Frame, Visit};
use super::{Answer, html};
use crate::server::problem::{Kind, Problem};
use crate::server::routes::Document;

struct Field {
    name: String,
    kind: String,
    place: String,
    is_needed: bool,
    what: String,
}

struct Reply {
    status: String,
    what: String,
    kinds: String,
    fields: Vec<Field>,
}

struct Operation {
    id: String,
    method: String,
    path: String,
    summary: String,
    more: String,
    scopes: String,
    parameters: Vec<Field>,
    body: Vec<Field>,
    example: String,
    replies: Vec<Reply>,
}

struct Group {
    name: String,
    operations: Vec<Operation>,
}

#[derive(Template)]
#[template(path = "api.html")]
struct ApiPage {
    f: Frame,
    t: &'static Texts,
    groups: Vec<Group>,
}

/// The description of the routes.
pub(super) async fn page(visit: Visit, Extension(document): Extension<Document>) -> Answer {
    visit.known()?;
    let unread = || Problem::new(Kind::Internal, "the description can't be read");
    let document: Value = serde_json::from_str(&document.0).map_err(|_| unread())?;
    let f = visit.frame(visit.t.api, "/console/api");
    let page = ApiPage { f, t: visit.t, groups: groups(&document) };
    Ok(html(StatusCode::OK, &page))
}

fn groups(document: &Value) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (path, methods) in object(&document["paths"]) {
        for (method, operation) in object(methods).iter().filter(|(_, it)| it.is_object()) {
            let name = text(&operation["tags"][0]);
            let read = self::operation(document, path, method, operation);
            match groups.iter_mut().find(|group| group.name == name) {
                Some(group) => group.operations.push(read),
                None => groups.push(Group { name, operations: vec![read] }),
            }
        }
    }
    groups
}

fn operation(document: &Value, path: &str, method: &str, operation: &Value) -> Operation {
    let parameters = list(&operation["parameters"]).iter().map(|parameter| Field {
        name: text(&parameter["name"]),
        kind: kind(&parameter["schema"]),
        place: text(&parameter["in"]),
        is_needed: parameter["required"] == true,
        what: text(&parameter["description"]),
    });
    let body = content(&operation["requestBody"]);
    let schema = body.map(|body| &body["schema"]);
    let security = list(&operation["security"]).iter();
    let scopes = security.flat_map(|it| list(&it["key"])).map(text);
    let replies = object(&operation["responses"]).iter().map(|(status, reply)| Reply {
        status: status.clone(),
        what: text(&reply["description"]),
        kinds: object(&reply["content"]).keys().cloned().collect::<Vec<_>>().join(", "),
        fields: content(reply).map_or(vec![], |it| fields(document, &it["schema"], "", 0)),
    });
    let id: String = path.chars().filter(|it| it.is_ascii_alphanumeric() || *it == '/').collect();
    Operation {
        id: format!("{method}{}", id.replace('/', "-")),
        method: method.to_uppercase(),
        path: path.to_owned(),
        summary: text(&operation["summary"]),
        more: text(&operation["description"]),
        scopes: scopes.collect::<Vec<_>>().join(", "),
        parameters: parameters.collect(),
        body: schema.map_or(vec![], |schema| fields(document, schema, "", 0)),
        example: schema.map_or(String::new(), |schema| {
            let example = example(document, schema, 0);
            serde_json::to_string_pretty(&example).unwrap_or_default()
        }),
        replies: replies.collect(),
    }
}

/// Schemas within schemas that are looked at.
const DEPTH_MAX: usize = 4;

/// The fields of a schema; those of a part stand behind its name.
fn fields(document: &Value, schema: &Value, before: &str, depth: usize) -> Vec<Field> {
    let schema = resolved(document, schema);
    let mut found: Vec<Field> = Vec::new();
    if depth > DEPTH_MAX {
        return found;
    }
    for other in list(&schema["oneOf"]).iter().chain(list(&schema["anyOf"])) {
        for field in fields(document, other, before, depth + 1) {
            if found.iter().all(|it| it.name != field.name) {
                found.push(field);
            }
        }
    }
    for part in list(&schema["allOf"]) {
        found.extend(fields(document, part, before, depth + 1));
    }
    for (name, field) in object(&schema["properties"]) {
        let full = format!("{before}{name}");
        let is_needed = list(&schema["required"]).iter().any(|it| it == name);
        let what = text(&resolved(document, field)["description"]);
        let what =
            if field["description"].is_string() { text(&field["description"]) } else { what };
        let (inner, place) = (kind(field), String::new());
        found.push(Field { name: full.clone(), kind: inner, place, is_needed, what });
        let (inner, mark) = match field.get("items") {
            Some(items) => (items, "[]."),
            None => (field, "."),
        };
        found.extend(fields(document, inner, &format!("{full}{mark}"), depth + 1));
    }
    found
}

/// A value as a schema describes it.
fn example(document: &Value, schema: &Value, depth: usize) -> Value {
    let schema = resolved(document, schema);
    let given =
        [&schema["example"], &schema["examples"][0], &schema["default"], &schema["enum"][0]];
    if let Some(value) = given.into_iter().find(|value| !value.is_null()) {
        return value.clone();
    }
    if depth > DEPTH_MAX {
        return Value::Null;
    }
    if let Some(first) = list(&schema["oneOf"]).first().or(list(&schema["anyOf"]).first()) {
        return example(document, first, depth + 1);
    }
    if let Some(properties) = schema["properties"].as_object() {
        // Fields that may be left out are, unless they say what they could be.
        let is_needed = |name: &String| list(&schema["required"]).iter().any(|it| it == name);
        let says = |field: &Value| !field["example"].is_null();
        let shown = properties.iter().filter(|(name, field)| is_needed(name) || says(field));
        let value =
            |(name, field): (&String, &Value)| (name.clone(), example(document, field, depth + 1));
        return Value::Object(shown.map(value).collect());
    }
    match kind(schema).as_str() {
        "integer" | "number" => Value::from(0),
        "boolean" => Value::from(false),
        name if name.starts_with("list") => {
            Value::Array(vec![example(document, &schema["items"], depth + 1)])
        }
        _ => Value::from("…"),
    }
}

/// The schema behind a reference.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let pointer = schema["$ref"].as_str().and_then(|it| it.strip_prefix('#'));
    pointer.and_then(|pointer| document.pointer(pointer)).unwrap_or(schema)
}

/// The type of a schema in words.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str() {
        return name.rsplit('/').next().unwrap_or_default().to_owned();
    }
    let word = match &schema["type"] {
        Value::Array(all) => all.iter().find(|it| *it != "null").map_or(String::new(), text),
        other => text(other),
    };
    match word.as_str() {
        "array" => format!("list of {}", kind(&schema["items"])),
        "string" => "text".to_owned(),
        _ => word,
    }
}

fn content(of: &Value) -> Option<&Value> {
    object(&of["content"]).values().next()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], |it| it)
}

fn object(value: &Value) -> &Map<String, Value> {
    static EMPTY: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    value.as_object().unwrap_or(&EMPTY)
}
