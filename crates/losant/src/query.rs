//! The query parameters of the actions. Unset parameters are not sent.

use std::num::NonZeroU32;
use std::time::Duration;

use super::body::{CallbackUrl, Email};
use super::when::When;
use tidegate_model::{AttributeName, WallTime};

/// The names and values of a query.
pub(super) type Pairs = Vec<(&'static str, String)>;

/// Collects the parameters that are set.
#[derive(Default)]
pub(super) struct Query(Pairs);

impl Query {
    pub(super) fn with(mut self, name: &'static str, value: Option<impl ToString>) -> Self {
        self.0.extend(value.map(|value| (name, value.to_string())));
        self
    }

    /// Adds a switch if it is on. Losant documents switches as "if set".
    pub(super) fn switch(self, name: &'static str, is_on: bool) -> Self {
        self.with(name, is_on.then_some(true))
    }

    pub(super) fn pairs(self) -> Pairs {
        self.0
    }
}

/// The entries that `getState`, `getCommand` and `getLogEntries` return; by default the newest one.
///
/// Losant documents neither the largest limit nor whether the ends belong to the window. To read
/// all entries, request overlapping windows of at most 100 and expect duplicates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// The most entries; default 1.
    pub limit: Option<NonZeroU32>,
    /// The order of the entries; default newest first.
    pub sort_direction: Option<SortDirection>,
    /// The length of the window.
    pub duration: Option<Duration>,
    /// The begin of the window.
    pub start: Option<WallTime>,
    /// The end of the window.
    pub end: Option<WallTime>,
    /// The deprecated name of `start`.
    pub since: Option<WallTime>,
}

/// The order of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum SortDirection {
    /// Oldest first.
    Asc,
    /// Newest first.
    Desc,
}

impl History {
    pub(super) fn query(&self) -> Query {
        let sort_direction = self.sort_direction.map(|direction| match direction {
            SortDirection::Asc => "asc",
            SortDirection::Desc => "desc",
        });
        Query::default()
            .with("limit", self.limit)
            .with("since", self.since.map(WallTime::as_millis))
            .with("sortDirection", sort_direction)
            .with("duration", self.duration.map(|duration| duration.as_millis()))
            .with("start", self.start.map(WallTime::as_millis))
            .with("end", self.end.map(WallTime::as_millis))
    }
}

/// From when to when; Losant's default is everything up to now, or 30 days for the payload counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Period {
    /// Where it begins.
    pub start: Option<When>,
    /// Where it ends.
    pub end: Option<When>,
}

impl Period {
    pub(super) fn query(self) -> Query {
        Query::default()
            .with("start", self.start.map(When::as_period_millis))
            .with("end", self.end.map(When::as_period_millis))
    }
}

/// What `getCompositeState` looks at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Composite {
    /// The states that count.
    pub period: Period,
    /// The attributes that are wanted; all if empty.
    pub attributes: Vec<AttributeName>,
}

impl Composite {
    pub(super) fn query(&self) -> Query {
        let names = self.attributes.join(",");
        self.period.query().with("attributes", (!names.is_empty()).then_some(names))
    }
}

/// How `get` and `patch` write a device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shape {
    /// Tags as an object of lists.
    pub tags_as_object: bool,
    /// Attributes as an object of objects.
    pub attributes_as_object: bool,
    /// Without `connectionInfo`; only for `get`.
    pub exclude_connection_info: bool,
}

impl Shape {
    pub(super) fn query(self) -> Query {
        Query::default()
            .switch("tagsAsObject", self.tags_as_object)
            .switch("attributesAsObject", self.attributes_as_object)
    }
}

/// What `export` takes in its query; a body overrides it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Export {
    /// What to export.
    pub period: Period,
    /// Who is sent the export; the owner of the token if not given.
    pub email: Option<Email>,
    /// What is called with the export.
    pub callback_url: Option<CallbackUrl>,
    /// Blobs in base64, not as links that expire.
    pub include_blob_data: bool,
}

impl Export {
    pub(super) fn query(&self) -> Query {
        self.period
            .query()
            .with("email", self.email.as_ref())
            .with("callbackUrl", self.callback_url.as_ref())
            .switch("includeBlobData", self.include_blob_data)
    }
}

/// The steps of `payloadCountsBreakdown`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Resolution {
    /// 86,400,000 ms.
    Day,
    /// 3,600,000 ms.
    Hour,
}

impl Resolution {
    pub(super) fn as_millis(self) -> u32 {
        match self {
            Self::Day => 86_400_000,
            Self::Hour => 3_600_000,
        }
    }
}
