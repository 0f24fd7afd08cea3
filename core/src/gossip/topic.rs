//! Topics: names that agents agree on.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

use super::limits::TOPIC_BYTES_MAX;
use crate::crypto::hash::Blake3;
use crate::overlay::TopicId;

/// Why a text is not the name of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum TopicError {
    /// It is empty.
    #[error("topic must not be empty")]
    Empty,
    /// It is too long.
    #[error("the name of the topic has {size} bytes, more than {TOPIC_BYTES_MAX}")]
    TooLong {
        /// How many bytes it has.
        size: usize,
    },
}

/// The name of a topic. Clones share one text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Topic(Arc<str>);

impl Topic {
    /// Takes a name.
    ///
    /// # Errors
    ///
    /// If it is empty or too long.
    pub fn new(name: &str) -> Result<Self, TopicError> {
        match name.len() {
            0 => Err(TopicError::Empty),
            size if size > TOPIC_BYTES_MAX => Err(TopicError::TooLong { size }),
            _ => Ok(Self(name.into())),
        }
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns what stands for the topic on the wire, so that only those who know the name know
    /// what is meant.
    pub fn id(&self) -> TopicId {
        let mut hash = Blake3::new();
        hash.update(b"x0x topic\0");
        hash.update(self.0.as_bytes());
        TopicId(hash.finish())
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Topic {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = <&str>::deserialize(deserializer)?;
        Self::new(name).map_err(serde::de::Error::custom)
    }
}
