//! An HTTP request that a command makes, to a host that the configuration names.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Method};

use tidegate_model::excerpt::line;
use tidegate_model::{HttpMethod, HttpRequest};

/// How long a connection may take. The whole request has the actuator's timeout.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How much of an answer is read, in bytes: its first line is told.
const ANSWER_BYTES_MAX: usize = 4 * 1024;

/// Why a request did not do it.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// There was no answer, or TLS cannot be set up.
    #[error("{0}")]
    Request(#[from] reqwest::Error),
    /// The answer says that it was not done.
    #[error("the host answered {status}: {said}")]
    Status {
        /// The status.
        status: u16,
        /// The first line of the answer.
        said: String,
    },
}

pub(super) fn client() -> Result<Client, HttpError> {
    let builder = Client::builder().redirect(Policy::none()).no_proxy();
    Ok(builder.connect_timeout(CONNECT_TIMEOUT).build()?)
}

/// Makes a request. Returns the first line of the answer.
///
/// # Errors
/// When there is no answer, or another one than 2xx.
pub(super) async fn send(client: &Client, request: HttpRequest) -> Result<String, HttpError> {
    let method = match request.method {
        HttpMethod::Get => Method::GET,
        HttpMethod::Post => Method::POST,
        HttpMethod::Put => Method::PUT,
    };
    let mut sending = client.request(method, request.url);
    if let Some((media_type, body)) = request.body {
        sending = sending.header(reqwest::header::CONTENT_TYPE, media_type).body(body);
    }
    // The URL is the owner's business, and may hold more than a report should.
    let mut response = sending.send().await.map_err(reqwest::Error::without_url)?;
    let status = response.status();
    let mut answer = Vec::new();
    while answer.len() < ANSWER_BYTES_MAX {
        let Some(chunk) = response.chunk().await? else { break };
        answer.extend_from_slice(&chunk);
    }
    let said = line(&answer);
    if status.is_success() {
        Ok(said)
    } else {
        Err(HttpError::Status { status: status.as_u16(), said })
    }
}
