//! Steps as a Parquet table, one row each: what `calibrate kernels -o` writes and `calibrate fit` reads.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use polars::prelude::{Column, DataFrame, DataType, NamedFrom, ParquetReader, ParquetWriter, SerReader, Series};

use super::annotation::{Composition, Contexts};
use super::class::{CLASSES, Class, PerClass};
use super::report::{KernelReport, us};
use super::steps::Step;
use crate::CalibrateError;

/// Steps of one or several ranks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepKernels {
    /// By rank, then in time order.
    pub rows: Vec<StepRow>,
}

/// One step of one rank. Times in microseconds, as [`Step`] defines them.
#[derive(Clone, Debug, PartialEq)]
pub struct StepRow {
    /// The rank.
    pub rank: u32,
    /// Its place among the rank's steps, from 0.
    pub step: u32,
    /// Whether times are of a GPU's kernels; else of operators on a CPU.
    pub on_gpu: bool,
    /// Its beginning, from that of the rank's first step [us].
    pub start_us: f64,
    /// What it computed, if the server says it.
    pub composition: Option<Composition>,
    /// Over what context, if the server says it.
    pub contexts: Option<Contexts>,
    /// From its beginning to that of the next step [us].
    pub wall_us: Option<f64>,
    /// At least one kernel or copy runs [us].
    pub busy_us: f64,
    /// None runs between the step's first and last one [us].
    pub launch_gap_us: f64,
    /// None runs between the step's last one and the next step [us].
    pub gap_us: Option<f64>,
    /// Of the exchanges between ranks, what others needed to arrive [us].
    pub waiting_us: Option<f64>,
    /// Number of kernels and copies, or of operators.
    pub kernels: u32,
    /// Sum of the durations by class [us].
    pub classes_us: PerClass<f64>,
}

impl StepRow {
    fn of(rank: u32, place: usize, on_gpu: bool, first: u64, step: &Step) -> StepRow {
        StepRow {
            rank,
            step: place as u32,
            on_gpu,
            start_us: us(step.start - first),
            composition: step.composition,
            contexts: step.contexts,
            wall_us: step.wall.map(us),
            busy_us: us(step.busy),
            launch_gap_us: us(step.launch_gap),
            gap_us: step.gap.map(us),
            waiting_us: step.waiting.map(us),
            kernels: step.kernels,
            classes_us: step.classes.map(us),
        }
    }
}

impl StepKernels {
    /// The steps of a report.
    pub fn of(report: &KernelReport) -> StepKernels {
        let mut rows = Vec::new();
        for rank in &report.ranks {
            let steps = &rank.detail.steps;
            let first = steps.first().map_or(0, |step| step.start);
            rows.extend(steps.iter().enumerate().map(|(at, step)| StepRow::of(rank.rank, at, rank.detail.on_gpu, first, step)));
        }
        StepKernels { rows }
    }

    /// Writes the table.
    ///
    /// # Errors
    ///
    /// [`CalibrateError`] if it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), CalibrateError> {
        let shown = || path.display().to_string();
        let bad = |error: polars::prelude::PolarsError| CalibrateError::Value { path: shown(), message: error.to_string() };
        let mut frame = DataFrame::new_infer_height(self.columns()).map_err(bad)?;
        let file = File::create(path).map_err(|source| CalibrateError::Open { path: shown(), source })?;
        ParquetWriter::new(file).finish(&mut frame).map_err(bad)?;
        Ok(())
    }

    fn columns(&self) -> Vec<Column> {
        let rows = &self.rows;
        let whole = |name: &str, value: &dyn Fn(&StepRow) -> Option<u64>| -> Column {
            Series::new(name.into(), rows.iter().map(value).collect::<Vec<_>>()).into()
        };
        let real = |name: &str, value: &dyn Fn(&StepRow) -> Option<f64>| -> Column {
            Series::new(name.into(), rows.iter().map(value).collect::<Vec<_>>()).into()
        };
        let composed = |name: &str, value: fn(&Composition) -> u32| {
            whole(name, &|row| row.composition.as_ref().map(|composition| u64::from(value(composition))))
        };
        let context = |name: &str, value: fn(&Contexts) -> u64| whole(name, &|row| row.contexts.as_ref().map(value));
        let mut columns = vec![
            whole("rank", &|row| Some(u64::from(row.rank))),
            whole("step", &|row| Some(u64::from(row.step))),
            Series::new("on_gpu".into(), rows.iter().map(|row| row.on_gpu).collect::<Vec<_>>()).into(),
            real("start_us", &|row| Some(row.start_us)),
            composed("prefill_requests", |c| c.prefill_requests),
            composed("prefill_tokens", |c| c.prefill_tokens),
            composed("decodes", |c| c.decodes),
            composed("decode_tokens", |c| c.decode_tokens),
            context("prefill_context", |c| c.prefill_context),
            context("prefill_pairs", |c| c.prefill_pairs),
            context("decode_context", |c| c.decode_context),
            real("wall_us", &|row| row.wall_us),
            real("busy_us", &|row| Some(row.busy_us)),
            real("gap_us", &|row| row.gap_us),
            real("launch_gap_us", &|row| Some(row.launch_gap_us)),
            real("waiting_us", &|row| row.waiting_us),
            whole("kernels", &|row| Some(u64::from(row.kernels))),
        ];
        columns.extend(Class::ALL.map(|class| real(&class_column(class), &|row| Some(row.classes_us[class as usize]))));
        columns
    }

    /// Reads what [`StepKernels::write`] has written.
    ///
    /// # Errors
    ///
    /// [`CalibrateError`] if the file cannot be read, lacks a column, or has a value that cannot be, with its row.
    pub fn read(path: &Path) -> Result<StepKernels, CalibrateError> {
        let shown = || path.display().to_string();
        let bad = |message: String| CalibrateError::Value { path: shown(), message };
        let file = File::open(path).map_err(|source| CalibrateError::Open { path: shown(), source })?;
        let frame = ParquetReader::new(file).finish().map_err(|e| bad(format!("is no Parquet file that can be read: {e}")))?;
        let cells = Cells::of(&frame).map_err(&bad)?;
        let rows = (0..frame.height()).map(|at| cells.row(at).map_err(|message| bad(format!("row {}: {message}", at + 1))));
        Ok(StepKernels { rows: rows.collect::<Result<_, _>>()? })
    }
}

/// Column of a class's time.
fn class_column(class: Class) -> String {
    format!("{}_us", class.name())
}

/// Columns of numbers with holes, by name.
struct Cells(BTreeMap<String, Vec<Option<f64>>>);

impl Cells {
    fn of(frame: &DataFrame) -> Result<Cells, String> {
        let numbers = |column: &Column| {
            let wrong = |error: polars::prelude::PolarsError| format!("column {}: {error}", column.name());
            let cast = column.cast(&DataType::Float64).map_err(wrong)?;
            Ok((column.name().to_string(), cast.f64().map_err(wrong)?.iter().collect()))
        };
        frame.columns().iter().map(numbers).collect::<Result<_, String>>().map(Cells)
    }

    /// A number, or none where the cell is empty.
    fn number(&self, column: &str, row: usize) -> Result<Option<f64>, String> {
        let cells = self.0.get(column).ok_or_else(|| format!("there is no column {column}"))?;
        match cells[row] {
            Some(value) if !(value >= 0.0 && value.is_finite()) => Err(format!("{column} is {value}, expected 0 or more")),
            value => Ok(value),
        }
    }

    fn needed(&self, column: &str, row: usize) -> Result<f64, String> {
        self.number(column, row)?.ok_or_else(|| format!("{column} is empty"))
    }

    fn row(&self, row: usize) -> Result<StepRow, String> {
        let count = |column: &str| Ok::<_, String>(self.number(column, row)?.map(|value| value as u64));
        let small = |column: &str| Ok::<_, String>(self.needed(column, row)? as u32);
        let composition = match count("prefill_requests")? {
            None => None,
            Some(_) => Some(Composition {
                prefill_requests: small("prefill_requests")?,
                prefill_tokens: small("prefill_tokens")?,
                decodes: small("decodes")?,
                decode_tokens: small("decode_tokens")?,
            }),
        };
        let contexts = match (count("prefill_context")?, count("prefill_pairs")?, count("decode_context")?) {
            (Some(prefill_context), Some(prefill_pairs), Some(decode_context)) => {
                Some(Contexts { prefill_context, prefill_pairs, decode_context })
            }
            _ => None,
        };
        let mut classes_us = [0.0; CLASSES];
        for class in Class::ALL {
            classes_us[class as usize] = self.needed(&class_column(class), row)?;
        }
        Ok(StepRow {
            rank: small("rank")?,
            step: small("step")?,
            on_gpu: self.needed("on_gpu", row)? != 0.0,
            start_us: self.needed("start_us", row)?,
            composition,
            contexts,
            wall_us: self.number("wall_us", row)?,
            busy_us: self.needed("busy_us", row)?,
            launch_gap_us: self.needed("launch_gap_us", row)?,
            gap_us: self.number("gap_us", row)?,
            waiting_us: self.number("waiting_us", row)?,
            kernels: small("kernels")?,
            classes_us,
        })
    }
}
