//! Which path is whose.

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

/// What a route is asked.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// What came after the `?`; empty without one.
    pub query: String,
    /// The body, at most 512 KiB.
    pub body: Bytes,
}

impl Request {
    /// The query as a struct whose fields are its keys.
    ///
    /// # Errors
    /// An answer, 400, that says what is wrong with it.
    pub fn query<T: DeserializeOwned>(&self) -> Result<T, Answer> {
        serde_urlencoded::from_str(&self.query).map_err(|error| Answer::refusal(&error))
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// An answer, 400, that says what is wrong with it.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Answer> {
        serde_json::from_slice(&self.body).map_err(|error| Answer::refusal(&error))
    }
}

/// What leaves with an answer.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What a route answers.
#[derive(Debug)]
pub struct Answer {
    /// The status of HTTP.
    pub status: StatusCode,
    /// The kind of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: Body,
}

impl Answer {
    /// 200 and a JSON document, with a line end for terminals.
    pub fn json(document: &impl Serialize) -> Self {
        Self::json_with(StatusCode::OK, document)
    }

    /// A JSON document with a status of its own.
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

    /// An error in words, as `{"error": "…"}`.
    pub fn error(status: StatusCode, error: &impl fmt::Display) -> Self {
        Self::json_with(status, &serde_json::json!({ "error": error.to_string() }))
    }

    /// Text of this kind.
    pub fn text(content_type: &'static str, text: String) -> Self {
        let body = Full::new(Bytes::from(text)).boxed_unsync();
        Self { status: StatusCode::OK, content_type, body }
    }

    /// 200 and what the stream yields, as it comes. It has to end while the connection may last: one minute.
    pub fn stream(
        content_type: &'static str,
        parts: impl Stream<Item = Bytes> + Send + 'static,
    ) -> Self {
        let frames = parts.map(|part| Ok(Frame::data(part)));
        let body = StreamBody::new(frames).boxed_unsync();
        Self { status: StatusCode::OK, content_type, body }
    }

    /// 400: the client asked for what cannot be meant.
    fn refusal(error: &impl fmt::Display) -> Self {
        Self::error(StatusCode::BAD_REQUEST, error)
    }
}

type Answering = Pin<Box<dyn Future<Output = Answer> + Send>>;
pub(super) type Handler = Box<dyn Fn(Request) -> Answering + Send + Sync>;

/// Paths with what is behind them.
#[derive(Default)]
pub struct Routes {
    paths: BTreeMap<&'static str, Vec<(Method, Handler)>>,
    /// What anybody may look at.
    open: BTreeSet<&'static str>,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    /// One whom the socket's permissions let in.
    Trusted,
    /// Anybody who can reach the port.
    Anyone,
}

/// Why a request has no route.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stray {
    /// Nothing is at this path.
    NotFound,
    /// The path wants one of these methods.
    WrongMethod(String),
}

impl Routes {
    /// Puts a handler at a path. It runs on the task of the door, so what blocks goes to `spawn_blocking`.
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

    /// Lets anybody who can reach the port look at a path. Without this only the socket has it.
    pub fn open_to_all(&mut self, path: &'static str) {
        self.open.insert(path);
    }

    /// What is at this path for this audience: what one may not ask is not there. Who may GET may ask for the HEAD of it.
    pub(super) fn find(
        &self,
        audience: Audience,
        method: &Method,
        path: &str,
    ) -> Result<&Handler, Stray> {
        let is_open = audience == Audience::Trusted || self.open.contains(path);
        let routes = self.paths.get(path).filter(|_| is_open).ok_or(Stray::NotFound)?;
        let method = if method == Method::HEAD { &Method::GET } else { method };
        let found = routes.iter().find(|(meant, _)| meant == method);
        found.map(|(_, handler)| handler).ok_or_else(|| {
            let methods: Vec<_> = routes.iter().map(|(method, _)| method.as_str()).collect();
            Stray::WrongMethod(methods.join(", "))
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
    fn a_path_is_asked_by_its_methods_only() {
        let mut routes = Routes::default();
        let ok = |_| async { Answer::json(&"ok") };
        routes.put(Method::GET, "/outbox", ok);
        routes.put(Method::DELETE, "/outbox", ok);
        routes.put(Method::POST, "/reload", ok);
        let found = |method, path| routes.find(Audience::Trusted, &method, path).map(drop);
        assert_eq!(found(Method::HEAD, "/outbox"), Ok(()));
        assert_eq!(found(Method::DELETE, "/outbox"), Ok(()));
        let wrong = |methods: &str| Err(Stray::WrongMethod(methods.to_owned()));
        assert_eq!(found(Method::POST, "/outbox"), wrong("GET, DELETE"));
        assert_eq!(found(Method::GET, "/reload"), wrong("POST"));
        assert_eq!(found(Method::GET, "/"), Err(Stray::NotFound));
        assert_eq!(found(Method::GET, "/outbox/"), Err(Stray::NotFound));
    }

    #[test]
    fn the_port_has_only_what_is_open_to_all() {
        let mut routes = Routes::default();
        let ok = |_| async { Answer::json(&"ok") };
        routes.put(Method::GET, "/status", ok);
        routes.put(Method::GET, "/metrics", ok);
        routes.open_to_all("/metrics");
        let found = |path| routes.find(Audience::Anyone, &Method::GET, path).map(drop);
        assert_eq!(found("/metrics"), Ok(()));
        assert_eq!(found("/status"), Err(Stray::NotFound));
    }

    #[test]
    fn a_query_that_cannot_be_meant_is_answered_with_what_is_wrong() {
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
