//! Where operator tables lie: one GPU's folder in AIConfigurator's own layout, or the filtered files of several GPUs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::perf_tables::rows::Rows;
use crate::{CalibrateError, Frame};

/// An operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Gemm,
    ContextAttention,
    GenerationAttention,
    Experts,
    AllReduce,
    Nccl,
}

impl Operator {
    /// Folder, engine and file in AIConfigurator's layout.
    fn original(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Operator::Gemm => ("gemm", "vllm", "gemm_perf"),
            Operator::ContextAttention => ("attention", "vllm", "context_attention_perf"),
            Operator::GenerationAttention => ("attention", "vllm", "generation_attention_perf"),
            Operator::Experts => ("moe", "vllm", "moe_perf"),
            Operator::AllReduce => ("comm", "vllm", "custom_allreduce_perf"),
            Operator::Nccl => ("comm", "nccl", "nccl_perf"),
        }
    }

    /// Filtered file, a column and its value that tell the operator in it, and the engine; none if the filtered files lack it.
    fn filtered(self) -> Option<[&'static str; 4]> {
        match self {
            Operator::Gemm => Some(["ops_gemm_dense_vllm.parquet", "backend", "vllm", "vllm"]),
            Operator::ContextAttention => Some(["ops_attention_hd128_vllm.parquet", "phase", "context", "vllm"]),
            Operator::GenerationAttention => Some(["ops_attention_hd128_vllm.parquet", "phase", "generation", "vllm"]),
            Operator::AllReduce => Some(["ops_collectives_all.parquet", "table", "custom_allreduce", "vllm"]),
            Operator::Nccl => Some(["ops_collectives_all.parquet", "table", "nccl", "nccl"]),
            Operator::Experts => None,
        }
    }
}

/// A folder of operator tables. Files are read once.
#[derive(Debug)]
pub struct PerfFolder {
    path: PathBuf,
    filtered: bool,
    read: Mutex<BTreeMap<PathBuf, Arc<Frame>>>,
}

/// A table and the engine's version in which it was measured.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub rows: Rows,
    pub version: String,
}

impl PerfFolder {
    /// A folder that has `gemm/vllm/<version>/gemm_perf.parquet`, or `ops_gemm_dense_vllm.parquet`.
    ///
    /// # Errors
    ///
    /// [`CalibrateError::Value`] if it has neither.
    pub fn open(path: &Path) -> Result<PerfFolder, CalibrateError> {
        let filtered = path.join("ops_gemm_dense_vllm.parquet").is_file();
        if !filtered && !path.join("gemm/vllm").is_dir() {
            let message = "has neither gemm/vllm/<version>/gemm_perf.parquet nor ops_gemm_dense_vllm.parquet".into();
            return Err(CalibrateError::Value { path: path.display().to_string(), message });
        }
        Ok(PerfFolder { path: path.to_owned(), filtered, read: Mutex::default() })
    }

    /// The table of an operator for a GPU, in the version asked for, else in the newest.
    ///
    /// `label` is the GPU's name in AIConfigurator, such as `h100_sxm`; `bandwidth` its memory bandwidth [bytes/s].
    ///
    /// # Errors
    ///
    /// [`CalibrateError`] if there is no such table, version or GPU, if the folder's system file is of another GPU, or if the
    /// collection is said not to be complete.
    pub(super) fn table(
        &self,
        operator: Operator,
        label: &str,
        bandwidth: f64,
        version: Option<&str>,
    ) -> Result<Table, CalibrateError> {
        if self.filtered {
            return self.filtered_table(operator, label, version);
        }
        check_system(&self.path.join(format!("{label}.yaml")), bandwidth)?;
        let (folder, engine, file) = operator.original();
        let folder = self.path.join(folder).join(engine);
        let mut versions: Vec<String> = std::fs::read_dir(&folder)
            .map_err(|source| CalibrateError::Open { path: folder.display().to_string(), source })?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|version| folder.join(version).join(format!("{file}.parquet")).is_file())
            .collect();
        versions.sort_by_key(|version| numbers(version));
        let version = choose(&versions, version).ok_or_else(|| absent(&folder, version, &versions))?;
        let folder = folder.join(&version);
        check_complete(&folder.join("collection_meta.yaml"), file)?;
        let frame = self.frame(&folder.join(format!("{file}.parquet")))?;
        check_device(&frame, label)?;
        Ok(Table { rows: Rows::new(frame)?, version })
    }

    fn filtered_table(&self, operator: Operator, label: &str, version: Option<&str>) -> Result<Table, CalibrateError> {
        let Some([file, column, value, engine]) = operator.filtered() else {
            let message =
                format!("the filtered files have no {}: use a GPU's folder in AIConfigurator's layout", operator.original().2);
            return Err(CalibrateError::Value { path: self.path.display().to_string(), message });
        };
        let path = self.path.join(file);
        let rows = Rows::new(self.frame(&path)?)?.texts("gpu", |gpu| gpu == label)?;
        let rows = rows.texts("backend", |found| found == engine)?.texts(column, |found| found == value)?;
        let mut versions: Vec<String> = rows.different("backend_version")?.into_iter().collect();
        versions.sort_by_key(|version| numbers(version));
        let version = choose(&versions, version).ok_or_else(|| absent(&path, version, &versions))?;
        Ok(Table { rows: rows.texts("backend_version", |v| v == version)?, version })
    }

    fn frame(&self, path: &Path) -> Result<Arc<Frame>, CalibrateError> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(frame) = read.get(path) {
            return Ok(Arc::clone(frame));
        }
        let frame = Arc::new(Frame::read(path)?);
        read.insert(path.to_owned(), Arc::clone(&frame));
        Ok(frame)
    }
}

/// The version asked for, else the last.
fn choose(versions: &[String], asked: Option<&str>) -> Option<String> {
    match asked {
        Some(asked) => versions.iter().find(|version| *version == asked).cloned(),
        None => versions.last().cloned(),
    }
}

fn absent(path: &Path, asked: Option<&str>, versions: &[String]) -> CalibrateError {
    let asked = asked.map_or("of this GPU".to_owned(), |version| format!("of version {version}"));
    let known = if versions.is_empty() { "none".to_owned() } else { versions.join(", ") };
    CalibrateError::Value { path: path.display().to_string(), message: format!("has no rows {asked}; versions there are: {known}") }
}

/// The numbers in a version, for its order: `0.9.1` comes before `0.24.0`.
fn numbers(version: &str) -> Vec<u64> {
    version.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

/// The value of the first `key: value` line, its comment cut off.
fn yaml_value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let value = text.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(':'))?;
    Some(value.split('#').next().unwrap_or(value).trim())
}

/// Share by which two sources may differ in a memory bandwidth.
const BANDWIDTH_TOLERANCE: f64 = 0.05;

/// The device that rows name, where they do, must be the GPU of `label`, such as `a100_sxm`.
fn check_device(frame: &Frame, label: &str) -> Result<(), CalibrateError> {
    if !frame.has("device") {
        return Ok(());
    }
    let generation = label.split('_').next().unwrap_or(label).to_ascii_lowercase();
    let devices = frame.texts("device")?;
    match devices.iter().position(|device| !device.to_ascii_lowercase().contains(&generation)) {
        None => Ok(()),
        Some(row) => Err(frame.bad_row(row, format!("device is `{}`, another GPU than {label}", devices[row]))),
    }
}

/// The system file, where there is one, must be of a GPU with this memory bandwidth.
fn check_system(path: &Path, bandwidth: f64) -> Result<(), CalibrateError> {
    let shown = path.display().to_string();
    let beside = path.parent().and_then(|folder| std::fs::read_dir(folder).ok());
    let mut systems =
        beside.into_iter().flatten().filter_map(|e| e.ok()).filter(|e| e.path().extension().is_some_and(|x| x == "yaml"));
    let Ok(text) = std::fs::read_to_string(path) else {
        return match systems.next() {
            None => Ok(()),
            Some(other) => Err(CalibrateError::Value {
                path: other.path().display().to_string(),
                message: format!("the folder is of another GPU than {}", path.file_stem().unwrap_or_default().display()),
            }),
        };
    };
    match yaml_value(&text, "mem_bw").and_then(|value| value.parse::<f64>().ok()) {
        Some(found) if (found / bandwidth - 1.0).abs() > BANDWIDTH_TOLERANCE => Err(CalibrateError::Value {
            path: shown,
            message: format!("mem_bw is {found:e} bytes/s, that of the GPU asked for {bandwidth:e}"),
        }),
        _ => Ok(()),
    }
}

/// The collection's own description, where there is one, must call the table complete.
fn check_complete(path: &Path, table: &str) -> Result<(), CalibrateError> {
    let Ok(text) = std::fs::read_to_string(path) else { return Ok(()) };
    let after = text.split_once(&format!("{table}:")).map_or("", |(_, after)| after);
    match yaml_value(after, "status") {
        Some(status) if status != "complete" => {
            let message = format!("the status of {table} is `{status}`, not `complete`");
            Err(CalibrateError::Value { path: path.display().to_string(), message })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_number() {
        let mut versions = ["0.24.0", "0.9.1", "0.14.0rc2"].map(str::to_owned);
        versions.sort_by_key(|version| numbers(version));
        assert_eq!(versions, ["0.9.1", "0.14.0rc2", "0.24.0"]);
        assert_eq!(choose(&versions, None).unwrap(), "0.24.0");
        assert_eq!(choose(&versions, Some("0.9.1")).unwrap(), "0.9.1");
        assert!(choose(&versions, Some("0.9")).is_none());
    }

    #[test]
    fn values_are_read_without_their_comments() {
        let text = "gpu:\n  mem_bw: 2039000000000 # 2.039TB/s\n  mem_bw_empirical_scaling_factor: 0.8\n";
        assert_eq!(yaml_value(text, "mem_bw"), Some("2039000000000"));
        assert_eq!(yaml_value(text, "power"), None);
    }
}
