//! Values that may be a scalar or a table. serde's untagged enums would lose the place of an error inside the table.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, IntoDeserializer, MapAccess, Visitor};

/// One of the two.
pub(super) enum Either<S, T> {
    /// A number, text or boolean.
    Scalar(S),
    /// A table.
    Table(T),
}

/// Reads a scalar as `S`, a table as `T`.
pub(super) fn scalar_or_table<'de, D, S, T>(deserializer: D, expecting: &'static str) -> Result<Either<S, T>, D::Error>
where
    D: Deserializer<'de>,
    S: Deserialize<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_any(UnionVisitor { expecting, types: PhantomData })
}

/// See [`scalar_or_table`].
struct UnionVisitor<S, T> {
    expecting: &'static str,
    types: PhantomData<(S, T)>,
}

impl<'de, S: Deserialize<'de>, T: Deserialize<'de>> Visitor<'de> for UnionVisitor<S, T> {
    type Value = Either<S, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        S::deserialize(value.into_deserializer()).map(Either::Scalar)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        S::deserialize(value.into_deserializer()).map(Either::Scalar)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        S::deserialize(value.into_deserializer()).map(Either::Scalar)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        S::deserialize(value.into_deserializer()).map(Either::Scalar)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Either::Table)
    }
}
