//! The OpenAPI document of a running server, and whether an answer is one that it describes.

use reqwest::{Method, StatusCode};
use serde_json::Value;
use tests::Stage;

/// The document.
pub(crate) struct Contract(Value);

impl Contract {
    pub(crate) async fn of(stage: &Stage) -> Self {
        let answer = reqwest::get(stage.url("/api/v1/openapi.json")).await.expect("HTTP answers");
        Self(answer.json().await.expect("JSON"))
    }

    /// Every method and path, as `GET /api/v1/channels/{channel}`.
    pub(crate) fn operations(&self) -> Vec<String> {
        let paths = self.0["paths"].as_object().expect("paths").iter();
        let of_path = |(path, methods): (&String, &Value)| -> Vec<String> {
            let methods = methods.as_object().expect("methods").keys();
            methods.map(|method| format!("{} {path}", method.to_uppercase())).collect()
        };
        paths.flat_map(of_path).collect()
    }

    /// The ids of all operations.
    pub(crate) fn ids(&self) -> Vec<String> {
        let methods = self.0["paths"].as_object().expect("paths").values().filter_map(Value::as_object);
        let ids = methods.flat_map(|methods| methods.values()).map(|operation| &operation["operationId"]);
        ids.map(|id| id.as_str().expect("an id").to_owned()).collect()
    }

    /// The operation that a request is of.
    pub(crate) fn operation(&self, method: &Method, url: &str) -> Option<String> {
        let path: Vec<&str> = url.split('?').next().expect("a path").split('/').collect();
        let fits = |operation: &String| {
            let (verb, template) = operation.split_once(' ').expect("a method and a path");
            let template: Vec<&str> = template.split('/').collect();
            verb == method.as_str()
                && template.len() == path.len()
                && template.iter().zip(&path).all(|(it, part)| it == part || it.starts_with('{'))
        };
        // Where two fit, the one with fewer variable parts.
        self.operations().into_iter().filter(fits).min_by_key(|it| it.matches('{').count())
    }

    /// Panics unless the document says that this request may have this answer, with this body and nothing besides.
    pub(crate) async fn check(&self, method: &Method, url: &str, answer: reqwest::Response) {
        let operation =
            self.operation(method, url).unwrap_or_else(|| panic!("{method} {url} is in no document"));
        let (verb, path) = operation.split_once(' ').expect("a method and a path");
        let status = answer.status();
        let described = &self.0["paths"][path][verb.to_lowercase()]["responses"][status.as_str()];
        assert!(described.is_object(), "{operation}: {status} is not described");
        let header =
            |name: &str| answer.headers().get(name).map(|value| value.to_str().expect("ASCII").to_owned());
        let (kind, again) = (header("content-type"), header("retry-after"));
        let Some(content) = described["content"].as_object() else {
            let body = answer.bytes().await.expect("all of it");
            return assert!(body.is_empty(), "{operation}: {status} has no body in the document");
        };
        let kind = kind.unwrap_or_else(|| panic!("{operation}: {status} without a content type"));
        let schema = content.get(&kind).unwrap_or_else(|| panic!("{operation}: {status} as {kind}"));
        let body: Value = answer.json().await.expect("JSON");
        if let Err(why) = self.fits(&schema["schema"], &body, "body") {
            panic!("{operation}: {status}: {why} in {body:#}");
        }
        if status.is_client_error() || status.is_server_error() {
            assert_eq!(kind, "application/problem+json", "{operation}");
            assert_eq!(body["status"], status.as_u16(), "{operation}: {body}");
            let name = body["type"].as_str().expect("text");
            assert!(name.starts_with("urn:swiftwater:problem:"), "{operation}: {body}");
            assert!(body["detail"].as_str().is_some_and(|text| text.len() > 10), "{operation}: {body}");
        }
        // What may pass says when.
        if status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::TOO_MANY_REQUESTS {
            assert!(again.is_some(), "{operation}: {status} without Retry-After");
        }
    }

    fn fits(&self, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
        if let Some(name) = schema["$ref"].as_str() {
            let name = name.strip_prefix("#/components/schemas/").expect("a schema of the document");
            let named = &self.0["components"]["schemas"][name];
            assert!(named.is_object(), "the document has no schema {name}");
            return self.fits(named, value, at);
        }
        if let Some(choices) = schema["oneOf"].as_array() {
            let tried: Vec<_> = choices.iter().map(|choice| self.fits(choice, value, at)).collect();
            let fits = tried.iter().any(Result::is_ok);
            return if fits { Ok(()) } else { Err(format!("{at} is nothing of {tried:?}")) };
        }
        let kinds: Vec<&str> = match &schema["type"] {
            Value::String(kind) => vec![kind],
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            other => panic!("{at}: a schema of no type: {other}"),
        };
        if !kinds.iter().any(|kind| is(value, kind)) {
            return Err(format!("{at} is {value}, not {kinds:?}"));
        }
        match value {
            Value::Array(items) => {
                items.iter().try_for_each(|item| self.fits(&schema["items"], item, &format!("{at}[]")))
            }
            Value::Object(fields) => self.fields_fit(schema, fields, at),
            _ => Ok(()),
        }
    }

    fn fields_fit(
        &self,
        schema: &Value,
        fields: &serde_json::Map<String, Value>,
        at: &str,
    ) -> Result<(), String> {
        // An object of which nothing is said may have anything.
        let Some(known) = schema["properties"].as_object() else { return Ok(()) };
        let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        for name in required {
            if !fields.contains_key(name) {
                return Err(format!("{at} has no {name}"));
            }
        }
        for (name, value) in fields {
            let Some(schema) = known.get(name) else {
                return Err(format!("{at}.{name} is not in the document"));
            };
            self.fits(schema, value, &format!("{at}.{name}"))?;
        }
        Ok(())
    }
}

fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "null" => value.is_null(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("JSON has no {other}"),
    }
}
