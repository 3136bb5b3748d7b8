//! Sends the HTTP request of a command to a host from the configuration.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Method};

use super::{Driver, DriverContext, DriverError, Execution};
use tidegate_commands::actuator::{Actuator, WriteTemplate};
use tidegate_model::excerpt::line;
use tidegate_model::{HttpMethod, HttpRequest, Write};

/// The timeout of the connection. The timeout of the actuator applies to the whole request.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How much of an answer is read, in bytes. Its first line is reported.
const ANSWER_BYTES_MAX: usize = 4 * 1024;

/// The driver of an actuator that sends HTTP requests.
struct RequestSender(Client);

/// Returns the driver of an actuator that sends HTTP requests.
pub(super) fn driver(actuator: &Actuator, context: &DriverContext) -> Option<Box<dyn Driver>> {
    matches!(actuator.write, WriteTemplate::Http(_))
        .then(|| Box::new(RequestSender(context.http.clone())) as _)
}

impl Driver for RequestSender {
    fn execute(&self, write: Write) -> Execution<'_> {
        Box::pin(async move {
            let Write::Http(request) = write else { return Err(DriverError::WrongKind) };
            Ok(send(&self.0, request).await?)
        })
    }
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// There was no answer, or TLS cannot be set up.
    #[error("{}", tidegate_losant::describe(.0))]
    Request(#[from] reqwest::Error),
    /// The answer has another status than 2xx.
    #[error("the host answered {status}: {answer}")]
    Status {
        /// The status.
        status: u16,
        /// The first line of the answer.
        answer: String,
    },
}

/// Creates a client without proxy and redirects: a request must reach only the configured host.
///
/// # Errors
/// Fails if TLS cannot be set up.
pub fn client() -> Result<Client, HttpError> {
    let builder = Client::builder().redirect(Policy::none()).no_proxy();
    Ok(builder.connect_timeout(CONNECT_TIMEOUT).build()?)
}

/// Sends a request and returns the first line of the answer.
///
/// # Errors
/// Fails if there is no answer, or if its status is not 2xx.
async fn send(client: &Client, request: HttpRequest) -> Result<String, HttpError> {
    let method = match request.method {
        HttpMethod::Get => Method::GET,
        HttpMethod::Post => Method::POST,
        HttpMethod::Put => Method::PUT,
    };
    let mut sending = client.request(method, request.url);
    if let Some((media_type, body)) = request.body {
        sending = sending.header(reqwest::header::CONTENT_TYPE, media_type).body(body);
    }
    // The URL may contain a secret, so it must not appear in a report.
    let mut response = sending.send().await.map_err(reqwest::Error::without_url)?;
    let status = response.status();
    let mut answer = Vec::new();
    while answer.len() < ANSWER_BYTES_MAX {
        let Some(chunk) = response.chunk().await? else { break };
        answer.extend_from_slice(&chunk);
    }
    let answer = line(&answer);
    if status.is_success() {
        Ok(answer)
    } else {
        Err(HttpError::Status { status: status.as_u16(), answer })
    }
}
