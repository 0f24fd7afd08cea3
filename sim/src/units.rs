//! Numbers in files that people write. The name of a field tells its unit. In recordings, times are
//! exact.

use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Seconds, with a fraction.
pub(crate) mod seconds {
    use super::{Deserializer, Duration, Serializer, read, write};

    pub(crate) fn serialize<S: Serializer>(
        time: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        write(*time, 1.0, serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        read(1.0, deserializer)
    }
}

/// Milliseconds, with a fraction.
pub(crate) mod milliseconds {
    use super::{Deserializer, Duration, Serializer, read, write};

    pub(crate) fn serialize<S: Serializer>(
        time: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        write(*time, 1000.0, serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        read(1000.0, deserializer)
    }
}

/// Numbers from 0 to 1.
pub(crate) mod probability {
    use super::{Deserialize, Deserializer, Error, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
    pub(crate) fn serialize<S: Serializer>(
        probability: &f64,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(*probability)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        let number = f64::deserialize(deserializer)?;
        if (0.0..=1.0).contains(&number) {
            Ok(number)
        } else {
            Err(D::Error::custom("expected a probability from 0 to 1"))
        }
    }
}

fn write<S: Serializer>(time: Duration, per_second: f64, serializer: S) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        serializer.serialize_f64(time.as_secs_f64() * per_second)
    } else {
        time.serialize(serializer)
    }
}

fn read<'de, D: Deserializer<'de>>(per_second: f64, deserializer: D) -> Result<Duration, D::Error> {
    if !deserializer.is_human_readable() {
        return Duration::deserialize(deserializer);
    }
    let number = f64::deserialize(deserializer)?;
    let time = Duration::try_from_secs_f64(number / per_second);
    time.map_err(|_| D::Error::custom("expected a time, which is not negative"))
}
