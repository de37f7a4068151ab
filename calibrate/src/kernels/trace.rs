//! What is kept of a trace: a few bytes per kernel, each name once.

use std::collections::HashMap;

use super::event::{Event, Kind};

/// A kernel, or a copy or fill of the GPU. Times are those of the trace, in whole nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Beginning [ns].
    pub start: u64,
    /// Duration [ns].
    pub duration: u64,
    /// What it shares with its launch; 0 if nothing.
    pub correlation: u64,
    /// Its name, by [`Names`].
    pub name: u32,
    /// Its stream.
    pub stream: u32,
}

impl Kernel {
    /// When it ended [ns].
    pub fn end(&self) -> u64 {
        self.start + self.duration
    }
}

/// An operator on a thread of the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operator {
    /// Beginning [ns].
    pub start: u64,
    /// Duration [ns].
    pub duration: u64,
    /// Thread.
    pub thread: u64,
    /// Its name, by [`Names`].
    pub name: u32,
}

/// A span that the server named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Beginning [ns].
    pub start: u64,
    /// End [ns].
    pub end: u64,
    /// Its name, by [`Names`].
    pub name: u32,
}

/// Each name once.
#[derive(Clone, Debug, Default)]
pub struct Names {
    ids: HashMap<Box<str>, u32>,
    names: Vec<Box<str>>,
    /// Whether it is a copy or fill of the GPU.
    copies: Vec<bool>,
}

impl Names {
    /// The number of `name`, a new one if it is new.
    pub fn id(&mut self, name: &str) -> u32 {
        if let Some(&id) = self.ids.get(name) {
            return id;
        }
        let id = u32::try_from(self.names.len()).expect("fewer than 2^32 names");
        self.ids.insert(name.into(), id);
        self.names.push(name.into());
        self.copies.push(false);
        id
    }

    /// The name of that number.
    pub fn name(&self, id: u32) -> &str {
        &self.names[id as usize]
    }

    /// All names with their numbers, in order.
    pub fn all(&self) -> impl Iterator<Item = (u32, &str)> {
        (0..).zip(self.names.iter().map(|name| &**name))
    }

    /// Whether the name is that of a copy or fill of the GPU.
    pub fn is_copy(&self, id: u32) -> bool {
        self.copies[id as usize]
    }
}

/// What is kept of a trace.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// Kernels, copies and fills, in order of the file.
    pub kernels: Vec<Kernel>,
    /// Operators, in order of the file; none if there are kernels.
    pub operators: Vec<Operator>,
    /// Correlation and beginning [ns] of calls that launch.
    pub launches: Vec<(u64, u64)>,
    /// Spans named on the CPU.
    pub spans: Vec<Span>,
    /// Spans named on the CPU, as the GPU ran them.
    pub gpu_spans: Vec<Span>,
    /// All names of these.
    pub names: Names,
    /// Name of the GPU.
    pub gpu: Option<String>,
    /// Rank that the server gave itself.
    pub rank: Option<u32>,
    /// Events read.
    pub events: u64,
    /// Why the rest of the file could not be read.
    pub truncated: Option<String>,
}

/// Whether a call of the runtime or driver has something run on the GPU, of CUDA or HIP.
fn launches(call: &str) -> bool {
    ["Launch", "Memcpy", "Memset", "GraphExec"].iter().any(|part| call.contains(part))
}

impl Trace {
    /// Keeps what is needed of an event.
    ///
    /// # Errors
    ///
    /// What a needed event lacks.
    pub fn take(&mut self, event: &Event) -> Result<(), String> {
        self.events += 1;
        if !event.complete || event.kind == Kind::Unneeded {
            return Ok(());
        }
        let start = nanoseconds(event.start.ok_or_else(|| format!("`{}` has no ts", event.name))?);
        if event.kind == Kind::Call {
            if let Some(correlation) = event.correlation.filter(|_| launches(&event.name)) {
                self.launches.push((correlation, start));
            }
            return Ok(());
        }
        let duration = nanoseconds(event.duration.ok_or_else(|| format!("`{}` has no dur", event.name))?);
        match event.kind {
            Kind::Kernel | Kind::Copy => {
                let name = self.names.id(&event.name);
                self.names.copies[name as usize] |= event.kind == Kind::Copy;
                let stream = event.stream.unwrap_or(event.thread) as u32;
                self.kernels.push(Kernel { start, duration, correlation: event.correlation.unwrap_or(0), name, stream });
                // Operators are of interest where there is nothing better, and are as many as kernels.
                self.operators = Vec::new();
            }
            Kind::Operator if self.kernels.is_empty() => {
                self.operators.push(Operator { start, duration, thread: event.thread, name: self.names.id(&event.name) });
            }
            Kind::Annotation | Kind::GpuAnnotation => {
                let span = Span { start, end: start + duration, name: self.names.id(&event.name) };
                if event.kind == Kind::Annotation { self.spans.push(span) } else { self.gpu_spans.push(span) }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Whole nanoseconds of a time that [`Event`] has checked [us].
fn nanoseconds(us: f64) -> u64 {
    (us * 1000.0).round() as u64
}
