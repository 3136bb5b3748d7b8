//! What each kind of bus provides: its table, its topics and the resources that it needs alone.

use crate::check::Check;
use tidegate_model::{DeviceId, Name};

/// The settings of one kind of bus, resolved from its table.
pub(crate) trait Settings: Sized {
    /// The table as it is written.
    type Raw;

    /// Whether the messages of this kind have topics.
    const TOPICS: Topics;

    /// Resolves a table. Returns settings also where there are problems, so that the sensors of the
    /// bus are not reported, too.
    fn resolve(table: &Table<'_>, raw: Self::Raw, check: &mut Check<'_>) -> Self;

    /// Returns whether the messages of this bus have topics.
    fn topics(&self) -> Topics {
        Self::TOPICS
    }

    /// Returns the resources that no other bus may use.
    fn exclusive(&self) -> Vec<Exclusive> {
        Vec::new()
    }
}

/// The table `[bus.KIND.NAME]` that is resolved.
pub(crate) struct Table<'a> {
    /// Its key.
    pub(crate) key: &'a str,
    /// The name of the bus.
    pub(crate) name: &'a Name,
    /// The Losant device of the gateway, if it is valid.
    pub(crate) gateway: Option<DeviceId>,
}

/// A resource that only one bus can use: two users would interrupt each other, or one would wait
/// forever.
#[derive(Debug)]
pub(crate) struct Exclusive {
    /// The option that names the resource.
    pub(crate) option: &'static str,
    /// The resource in words; equal words are the same resource.
    pub(crate) resource: String,
    /// How to fix a conflict.
    pub(crate) fix: &'static str,
}

/// Whether a sensor of a bus has a `topic`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topics {
    /// Messages have no topics.
    None,
    /// A sensor may select messages by topic.
    Optional,
    /// A sensor must name the topics to subscribe to.
    Required,
}
