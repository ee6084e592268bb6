//! A body of text fields as the service A read them: JSON or a form. What is missing is said field by
//! field.

use crate::error::{ApiError, ApiResult, FieldError};
use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::{StatusCode, header},
};
use serde_json::{Map, Value};

/// The fields of a body.
pub struct Fields(Map<String, Value>);

impl Fields {
    /// The texts of these fields; every one that is missing is named.
    pub fn texts<const N: usize>(&self, names: [&str; N]) -> ApiResult<[String; N]> {
        let mut errors = Vec::new();
        let texts = names.map(|name| {
            let (text, wrong) = match self.0.get(name) {
                None => ("", "This field is required."),
                Some(Value::Null) => ("", "This field may not be null."),
                Some(Value::String(text)) if text.trim().is_empty() => ("", "This field may not be blank."),
                Some(Value::String(text)) if text.contains('\0') => ("", "Null characters are not allowed."),
                Some(Value::String(text)) => (text.as_str(), ""),
                Some(_) => ("", "Not a valid string."),
            };
            if !wrong.is_empty() {
                errors.push(FieldError { field: name.to_owned(), detail: wrong.to_owned() });
            }
            text.to_owned()
        });
        if errors.is_empty() { Ok(texts) } else { Err(ApiError::bad_fields(errors)) }
    }
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> ApiResult<Self> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let bytes = Bytes::from_request(request, state).await.map_err(|error| match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => ApiError::too_large("The body is larger than is accepted here."),
            _ => ApiError::bad_request(error.body_text()),
        })?;
        match kind.as_str() {
            "application/json" => match serde_json::from_slice(&bytes) {
                Ok(Value::Object(fields)) => Ok(Self(fields)),
                Ok(_) => Err(ApiError::bad_request("Invalid data. Expected a dictionary.")),
                Err(error) => Err(ApiError::bad_request(format!("JSON parse error - {error}"))),
            },
            "application/x-www-form-urlencoded" => {
                let pairs = url::form_urlencoded::parse(&bytes).into_owned();
                Ok(Self(pairs.map(|(name, value)| (name, Value::String(value))).collect()))
            }
            // No body at all is a body without fields.
            "" if bytes.is_empty() => Ok(Self(Map::new())),
            other => {
                let detail = format!("Unsupported media type {other:?} in request.");
                let (status, word) = (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type");
                Err(ApiError::new(status, word, "Unsupported media type", detail))
            }
        }
    }
}
