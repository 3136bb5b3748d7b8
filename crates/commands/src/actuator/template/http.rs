//! HTTP requests.

use super::checks::{check_control_characters, check_levels, message, text};
use super::{Render, Variables, WriteError};
use tidegate_model::excerpt::excerpt;
use tidegate_model::{Command, HttpMethod, HttpRequest, Write};
use tidegate_template::Template;

/// The template of an HTTP request.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpTemplate {
    /// The method.
    pub method: HttpMethod,
    /// Scheme, host and port, with which each rendered URL must begin; not a template.
    pub origin: String,
    /// The URL.
    pub url: Template,
    /// The body.
    pub body: Option<HttpBodyTemplate>,
}

/// The template of the body of an HTTP request.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpBodyTemplate {
    /// The media type.
    pub media_type: String,
    /// The content.
    pub content: Template,
}

impl Render for HttpTemplate {
    fn render(&self, command: &Command, variables: &Variables<'_>) -> Result<Write, WriteError> {
        check_control_characters(command)?;
        let url = text(&self.url, variables)?;
        check_levels(&self.url, &url)?;
        check_origin(&self.origin, &url)?;
        let body = match &self.body {
            Some(HttpBodyTemplate { media_type, content }) => {
                Some((media_type.clone(), message(content, variables)?.into()))
            }
            None => None,
        };
        Ok(Write::Http(HttpRequest { method: self.method, url, body }))
    }
}

/// Rejects a URL on another host, with `..`, or with characters that end the path early.
fn check_origin(origin: &str, url: &str) -> Result<(), WriteError> {
    let error = || WriteError::Place { url: excerpt(url.as_bytes()), origin: origin.to_owned() };
    let path = url.strip_prefix(origin).ok_or_else(error)?;
    let is_below = path.is_empty() || path.starts_with(['/', '?']);
    let lower = path.to_ascii_lowercase();
    let climbs = lower.replace("%2e", ".").contains("..") || lower.contains("%2f");
    if is_below && !climbs && !path.contains([' ', '\\', '#']) { Ok(()) } else { Err(error()) }
}
