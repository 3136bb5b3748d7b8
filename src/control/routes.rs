//! Routes: paths and their handlers.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::StreamExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use hyper::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A request to a route.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The text after `?`; empty without one.
    pub query: String,
    /// The body, at most 512 KiB.
    pub body: Bytes,
}

impl Request {
    /// Parses the query into a struct with its keys as fields.
    ///
    /// # Errors
    /// An answer with status 400 and the cause.
    pub fn query<T: DeserializeOwned>(&self) -> Result<T, Answer> {
        serde_urlencoded::from_str(&self.query).map_err(|error| Answer::bad_request(&error))
    }

    /// Parses the body as JSON.
    ///
    /// # Errors
    /// An answer with status 400 and the cause.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Answer> {
        serde_json::from_slice(&self.body).map_err(|error| Answer::bad_request(&error))
    }
}

/// The body of an answer.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The answer of a route.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The media type of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: Body,
}

impl Answer {
    /// Answers 200 with a JSON document and a final newline.
    pub fn json(document: &impl Serialize) -> Self {
        Self::json_with(StatusCode::OK, document)
    }

    /// Answers with a status and a JSON document.
    pub fn json_with(status: StatusCode, document: &impl Serialize) -> Self {
        match serde_json::to_vec(document) {
            Ok(mut json) => {
                json.push(b'\n');
                let body = Full::new(Bytes::from(json)).boxed_unsync();
                Self { status, content_type: "application/json", body }
            }
            Err(error) => Self::error(StatusCode::INTERNAL_SERVER_ERROR, &error),
        }
    }

    /// Answers with a status and `{"error": "…"}`.
    pub fn error(status: StatusCode, error: &impl fmt::Display) -> Self {
        Self::json_with(status, &serde_json::json!({ "error": error.to_string() }))
    }

    /// Answers 200 with a text.
    pub fn text(content_type: &'static str, text: String) -> Self {
        let body = Full::new(Bytes::from(text)).boxed_unsync();
        Self { status: StatusCode::OK, content_type, body }
    }

    /// Answers 200 with the chunks of a stream. The stream must end within a minute, the limit of a
    /// connection.
    pub fn stream(
        content_type: &'static str,
        chunks: impl Stream<Item = Bytes> + Send + 'static,
    ) -> Self {
        let frames = chunks.map(|chunk| Ok(Frame::data(chunk)));
        let body = StreamBody::new(frames).boxed_unsync();
        Self { status: StatusCode::OK, content_type, body }
    }

    /// Answers 400.
    fn bad_request(error: &impl fmt::Display) -> Self {
        Self::error(StatusCode::BAD_REQUEST, error)
    }
}

type Answering = Pin<Box<dyn Future<Output = Answer> + Send>>;
pub(super) type Handler = Box<dyn Fn(Request) -> Answering + Send + Sync>;

/// Paths and their handlers.
#[derive(Default)]
pub struct Routes {
    paths: BTreeMap<&'static str, Vec<(Method, Handler)>>,
    /// The paths that the TCP port serves, too.
    public: BTreeSet<&'static str>,
}

/// The sender of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    /// A user whom the permissions of the socket admit.
    Trusted,
    /// Any user who can reach the port.
    Anyone,
}

/// Why a request has no route.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RouteError {
    /// The path is unknown.
    NotFound,
    /// The path accepts only these methods.
    WrongMethod(String),
}

impl Routes {
    /// Adds a handler for a path. It runs in the task of the server and must not block.
    pub fn put<F>(
        &mut self,
        method: Method,
        path: &'static str,
        handler: impl Fn(Request) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = Answer> + Send + 'static,
    {
        let handler: Handler = Box::new(move |request| Box::pin(handler(request)));
        self.paths.entry(path).or_default().push((method, handler));
    }

    /// Makes a path public: the TCP port serves it, too.
    pub fn make_public(&mut self, path: &'static str) {
        self.public.insert(path);
    }

    /// Finds the handler of a path. A path that is not for this audience counts as unknown. GET
    /// covers HEAD.
    pub(super) fn find(
        &self,
        audience: Audience,
        method: &Method,
        path: &str,
    ) -> Result<&Handler, RouteError> {
        let is_visible = audience == Audience::Trusted || self.public.contains(path);
        let routes = self.paths.get(path).filter(|_| is_visible).ok_or(RouteError::NotFound)?;
        let method = if method == Method::HEAD { &Method::GET } else { method };
        let found = routes.iter().find(|(other, _)| other == method);
        found.map(|(_, handler)| handler).ok_or_else(|| {
            let methods: Vec<_> = routes.iter().map(|(method, _)| method.as_str()).collect();
            RouteError::WrongMethod(methods.join(", "))
        })
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.paths.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_accepts_only_its_methods() {
        let mut routes = Routes::default();
        let ok = |_| async { Answer::json(&"ok") };
        routes.put(Method::GET, "/outbox", ok);
        routes.put(Method::DELETE, "/outbox", ok);
        routes.put(Method::POST, "/reload", ok);
        let found = |method, path| routes.find(Audience::Trusted, &method, path).map(drop);
        assert_eq!(found(Method::HEAD, "/outbox"), Ok(()));
        assert_eq!(found(Method::DELETE, "/outbox"), Ok(()));
        let wrong = |methods: &str| Err(RouteError::WrongMethod(methods.to_owned()));
        assert_eq!(found(Method::POST, "/outbox"), wrong("GET, DELETE"));
        assert_eq!(found(Method::GET, "/reload"), wrong("POST"));
        assert_eq!(found(Method::GET, "/"), Err(RouteError::NotFound));
        assert_eq!(found(Method::GET, "/outbox/"), Err(RouteError::NotFound));
    }

    #[test]
    fn port_serves_only_public_paths() {
        let mut routes = Routes::default();
        let ok = |_| async { Answer::json(&"ok") };
        routes.put(Method::GET, "/status", ok);
        routes.put(Method::GET, "/metrics", ok);
        routes.make_public("/metrics");
        let found = |path| routes.find(Audience::Anyone, &Method::GET, path).map(drop);
        assert_eq!(found("/metrics"), Ok(()));
        assert_eq!(found("/status"), Err(RouteError::NotFound));
    }

    #[test]
    fn invalid_query_is_a_bad_request() {
        #[derive(Debug, serde::Deserialize)]
        struct Page {
            limit: u32,
        }
        let request = |query: &str| Request { query: query.to_owned(), body: Bytes::new() };
        assert_eq!(request("limit=7").query::<Page>().unwrap().limit, 7);
        let answer = request("limit=many").query::<Page>().unwrap_err();
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    }
}
