//! One event of a Chrome trace, read without keeping it.
//!
//! Kineto writes one JSON object per event. Of complete events (`ph` is `X`) it takes `name`, `cat`, thread `tid`, `ts` and `dur`
//! [us], and in `args` the `stream` and the `correlation` that a launch and its kernels share. All else is skipped. Format:
//! PyTorch's Kineto, as written by `torch.profiler`.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

/// What an event records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// A kernel on the GPU.
    Kernel,
    /// A copy or fill on the GPU.
    Copy,
    /// A call of the CUDA runtime or driver.
    Call,
    /// An operator on the CPU.
    Operator,
    /// A span that the server named.
    Annotation,
    /// The same, from the first to the last kernel launched in it.
    GpuAnnotation,
    /// Python frames, flows, counters and names: not needed.
    #[default]
    Unneeded,
}

impl Kind {
    fn of_category(category: &str) -> Kind {
        match category {
            "kernel" => Kind::Kernel,
            "gpu_memcpy" | "gpu_memset" => Kind::Copy,
            "cuda_runtime" | "cuda_driver" => Kind::Call,
            "cpu_op" => Kind::Operator,
            "user_annotation" => Kind::Annotation,
            "gpu_user_annotation" => Kind::GpuAnnotation,
            _ => Kind::Unneeded,
        }
    }
}

/// What is kept of an event while it is read. One is used for all events, so that a name costs no allocation.
#[derive(Debug, Default)]
pub struct Event {
    /// What it records.
    pub kind: Kind,
    /// Whether it has a beginning and a duration.
    pub complete: bool,
    /// Its name.
    pub name: String,
    /// Thread, or a hash of its name.
    pub thread: u64,
    /// Beginning [us].
    pub start: Option<f64>,
    /// Duration [us].
    pub duration: Option<f64>,
    /// Stream.
    pub stream: Option<u64>,
    /// What a launch and its kernels share.
    pub correlation: Option<u64>,
    category_seen: bool,
}

impl Event {
    fn clear(&mut self) {
        let mut name = std::mem::take(&mut self.name);
        name.clear();
        *self = Event { name, ..Event::default() };
    }

    fn needed(&self) -> bool {
        !self.category_seen || self.kind != Kind::Unneeded
    }
}

/// Fills an event from the next JSON object.
impl<'de> DeserializeSeed<'de> for &mut Event {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.clear();
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &mut Event {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event (a JSON object)")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(KeySeed)? {
            match key {
                Key::Phase => map.next_value_seed(Text(&mut |text: &str| self.complete = text == "X"))?,
                Key::Category => {
                    map.next_value_seed(Text(&mut |text: &str| self.kind = Kind::of_category(text)))?;
                    self.category_seen = true;
                }
                Key::Name if self.needed() => map.next_value_seed(Text(&mut |text: &str| self.name.push_str(text)))?,
                Key::Thread => self.thread = map.next_value_seed(Number)?.unwrap_or(0),
                Key::Start => self.start = Some(time(map.next_value()?, "ts", START_MAX)?),
                Key::Duration => self.duration = Some(time(map.next_value()?, "dur", DURATION_MAX)?),
                Key::Arguments if self.needed() => map.next_value_seed(Arguments(self))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// 2^63 ns are 292 years [us].
const START_MAX: f64 = 9.2e15;

/// No event lasts three hours; so limited, durations can be summed up [us].
const DURATION_MAX: f64 = 1e10;

/// A time that can be [us].
fn time<E: Error>(value: f64, key: &str, max: f64) -> Result<f64, E> {
    if (0.0..max).contains(&value) { Ok(value) } else { Err(E::custom(format!("{key} is {value}, expected microseconds"))) }
}

enum Key {
    Phase,
    Category,
    Name,
    Thread,
    Start,
    Duration,
    Arguments,
    Stream,
    Correlation,
    Unneeded,
}

struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for KeySeed {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Key, E> {
        Ok(match key {
            "ph" => Key::Phase,
            "cat" => Key::Category,
            "name" => Key::Name,
            "tid" => Key::Thread,
            "ts" => Key::Start,
            "dur" => Key::Duration,
            "args" => Key::Arguments,
            "stream" => Key::Stream,
            "correlation" => Key::Correlation,
            _ => Key::Unneeded,
        })
    }
}

/// Hands a string on without keeping it; anything else counts as empty.
struct Text<'a>(&'a mut dyn FnMut(&str));

impl<'de> DeserializeSeed<'de> for Text<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Text<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        (self.0)(text);
        Ok(())
    }
}

/// A whole number, or the hash of a text that stands for one (Kineto names some threads).
struct Number;

impl<'de> DeserializeSeed<'de> for Number {
    type Value = Option<u64>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<u64>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Number {
    type Value = Option<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Option<u64>, E> {
        Ok(Some(value))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Option<u64>, E> {
        Ok(None)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Option<u64>, E> {
        Ok(Some(value as u64))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Option<u64>, E> {
        // FNV-1a: threads of one name are one thread, others differ.
        Ok(Some(text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, b| (hash ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))))
    }

    fn visit_unit<E: Error>(self) -> Result<Option<u64>, E> {
        Ok(None)
    }
}

/// The `args` of an event.
struct Arguments<'a>(&'a mut Event);

impl<'de> DeserializeSeed<'de> for Arguments<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Arguments<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the arguments of an event (a JSON object)")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(KeySeed)? {
            match key {
                Key::Stream => self.0.stream = map.next_value_seed(Number)?,
                Key::Correlation => self.0.correlation = map.next_value_seed(Number)?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
}
