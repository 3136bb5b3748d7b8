//! A call from request to answer.

use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::cloud::Cloud;
use crate::connection::Caller;

/// Answers any request.
pub(crate) async fn answer(
    State(_cloud): State<Arc<Cloud>>,
    ConnectInfo(_caller): ConnectInfo<Caller>,
    _request: Request,
) -> Response {
    StatusCode::NOT_IMPLEMENTED.into_response()
}
