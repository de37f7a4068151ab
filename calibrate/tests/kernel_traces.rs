//! Traces made by hand, whose sums are known: graphs, streams, ranks, nested operators, and what can be wrong with a file.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use flate2::Compression;
use flate2::write::GzEncoder;
use tokentide_calibrate::kernels::annotation::{Composition, Contexts, Marker};
use tokentide_calibrate::kernels::steps::{Step, Total};
use tokentide_calibrate::kernels::{Class, KernelReport, Rules, StepKernels, analyse};

const GEMM: &str = "nvjet_tst_128x64_64x8_2x1_v_bz_TNT";
const ATTENTION: &str = "void cutlass::device_kernel<flash::FlashAttnFwdSm90<int> >";
const NORM: &str = "void vllm::rms_norm_kernel<c10::BFloat16>(int)";
const REDUCE: &str = "ncclDevKernel_AllReduce_Sum_bf16_RING_LL(int)";
const ARGMAX: &str = "void at::native::reduce_kernel<512, 1, at::native::ArgMaxOps<float> >";

/// Events of a trace. Times in microseconds.
#[derive(Clone, Default)]
struct Made(Vec<String>);

impl Made {
    fn event(mut self, category: &str, name: &str, (ts, dur): (f64, f64), more: &str) -> Made {
        let head = format!(r#"{{"ph": "X", "cat": "{category}", "name": "{name}", "pid": 1, "ts": {ts}, "dur": {dur}"#);
        self.0.push(format!("{head}, {more}}}"));
        self
    }

    fn span(self, name: &str, ts: f64, dur: f64) -> Made {
        self.event("user_annotation", name, (ts, dur), r#""tid": 9, "args": {"External id": 1}"#)
    }

    fn launch(self, call: &str, ts: f64, correlation: u32) -> Made {
        self.event("cuda_runtime", call, (ts, 1.0), &format!(r#""tid": 9, "args": {{"cbid": 1, "correlation": {correlation}}}"#))
    }

    fn kernel(self, name: &str, ts: f64, dur: f64, stream: u32, correlation: u32) -> Made {
        let more = format!(r#""tid": {stream}, "args": {{"grid": [1, 2], "stream": {stream}, "correlation": {correlation}}}"#);
        self.event(if name.starts_with("Memcpy") { "gpu_memcpy" } else { "kernel" }, name, (ts, dur), &more)
    }

    fn operator(self, name: &str, ts: f64, dur: f64) -> Made {
        self.event("cpu_op", name, (ts, dur), r#""tid": 9, "args": {"Input Dims": [[8, 512], []]}"#)
    }

    fn json(&self, rank: u32) -> String {
        let head =
            format!(r#"{{"schemaVersion": 1, "distributedInfo": {{"rank": {rank}}}, "deviceProperties": [{{"name": "H100"}}]"#);
        format!("{head}, \"traceEvents\": [\n{}\n], \"traceName\": \"a\"}}", self.0.join(",\n"))
    }
}

struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("tokentide-kernels-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn zipped(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn read(files: &[PathBuf]) -> KernelReport {
    analyse(files, &Rules::new(None).unwrap()).unwrap()
}

fn of(made: &Made) -> KernelReport {
    let folder = Folder::new();
    read(&[folder.file("a.json", made.json(0))])
}

fn refusal(path: &Path) -> String {
    analyse(&[path.to_owned()], &Rules::new(None).unwrap()).unwrap_err().to_string()
}

/// Two decodes by one graph each, sampled after their span; a copy of inputs ahead of each; then an idle step and a prompt.
fn graphs() -> Made {
    let decode = |made: Made, at: f64, correlation: u32| {
        made.span("execute_context_0(0)_generation_4(4)", at, 40.0)
            .launch("cudaMemcpyAsync", at + 2.0, correlation)
            .launch("cudaGraphLaunch", at + 10.0, correlation + 1)
            .launch("cudaLaunchKernel", at + 60.0, correlation + 2)
            .kernel("Memcpy HtoD (Pinned -> Device)", at + 5.0, 2.0, 7, correlation)
            .kernel(GEMM, at + 20.0, 30.0, 7, correlation + 1)
            .kernel(ATTENTION, at + 52.0, 10.0, 7, correlation + 1)
            .kernel(ARGMAX, at + 70.0, 5.0, 7, correlation + 2)
    };
    decode(decode(Made::default(), 1000.0, 1), 1100.0, 11)
        .span("execute_context_0(0)_generation_0(0)", 1200.0, 3.0)
        .span("execute_context_1(96)_generation_3(3)", 1300.0, 50.0)
        .launch("cuLaunchKernelEx", 1310.0, 21)
        .kernel(GEMM, 1320.0, 100.0, 7, 21)
}

fn ns(us: f64) -> u64 {
    (us * 1000.0) as u64
}

#[test]
fn kernels_of_a_graph_belong_to_the_step_that_launched_it() {
    let report = of(&graphs());
    let rank = &report.ranks[0];
    assert_eq!((rank.marker, rank.device, rank.gpu.as_deref(), rank.steps), (Marker::Vllm, "gpu", Some("H100"), 3));
    assert!(rank.warnings.is_empty() && rank.unclassified.is_empty() && rank.outside_us == 0.0, "{rank:?}");
    let [first, second, prompt] = &rank.detail.steps[..] else { panic!("three steps") };
    let decodes = Composition { decodes: 4, decode_tokens: 4, ..Composition::default() };
    assert_eq!((first.composition, first.kernels, second.composition), (Some(decodes), 4, Some(decodes)));
    // From GEMM to GEMM, with the copy of the second step's inputs in the first one's gap.
    assert_eq!((first.wall, first.busy), (Some(ns(100.0)), ns(30.0 + 10.0 + 5.0 + 2.0)));
    assert_eq!((first.launch_gap, first.gap), (ns(2.0 + 8.0), Some(ns(45.0 - 2.0))));
    assert_eq!(first.wall.unwrap(), first.busy + first.launch_gap + first.gap.unwrap());
    assert_eq!((first.classes[Class::Gemm as usize], first.classes[Class::Sampling as usize]), (ns(30.0), ns(5.0)));
    assert_eq!((first.classes[Class::Attention as usize], first.classes[Class::Copy as usize]), (ns(10.0), ns(2.0)));
    // Before an idle step nothing is known of the wall, nor after the last one.
    assert_eq!((second.wall, second.gap, second.busy), (None, None, ns(45.0)));
    assert_eq!((prompt.wall, prompt.busy, prompt.launch_gap), (None, ns(100.0), 0));
    assert_eq!(prompt.composition.unwrap(), Composition { prefill_requests: 1, prefill_tokens: 96, decodes: 3, decode_tokens: 3 });
    assert_eq!(rank.detail.classes[Class::Gemm as usize], Total { time: ns(160.0), calls: 3 });
    let rows = &rank.compositions;
    assert_eq!((rows.len(), rows[0].steps, rows[0].busy_us, rows[0].wall_us), (2, 2, 46.0, Some(100.0)));
}

#[test]
fn streams_that_overlap_are_busy_once_and_cost_twice() {
    let made = Made::default()
        .span("execute_context_0(0)_generation_1(1)", 0.0, 10.0)
        .launch("cudaLaunchKernel", 1.0, 1)
        .launch("cudaLaunchKernel", 2.0, 2)
        .kernel(GEMM, 10.0, 20.0, 7, 1)
        .kernel(NORM, 15.0, 25.0, 20, 2)
        .span("execute_context_0(0)_generation_1(1)", 30.0, 10.0)
        .launch("cudaLaunchKernel", 31.0, 3)
        .kernel(GEMM, 50.0, 20.0, 7, 3);
    let report = of(&made);
    let step = &report.ranks[0].detail.steps[0];
    assert_eq!((step.busy, step.launch_gap, step.gap, step.wall), (ns(30.0), 0, Some(ns(10.0)), Some(ns(40.0))));
    assert_eq!(step.classes.iter().sum::<u64>(), ns(45.0));
}

#[test]
fn ranks_wait_for_the_one_that_comes_last() {
    let rank = |waits: [f64; 2]| {
        let mut made = Made::default();
        for (i, wait) in waits.into_iter().enumerate() {
            let (at, first) = (100.0 * i as f64, 10 * i as u32 + 1);
            made = made
                .span("execute_context_0(0)_generation_2(2)", at, 10.0)
                .launch("cudaGraphLaunch", at + 1.0, first)
                .kernel(GEMM, at + 20.0, 20.0, 7, first)
                .kernel(REDUCE, at + 40.0, 6.0 + wait, 7, first);
        }
        made
    };
    let folder = Folder::new();
    // A step that the first rank's profiler missed.
    let late = Made(rank([0.0, 1.0]).0.split_off(4));
    let files = [folder.file("x.json", rank([4.0, 3.5]).json(1)), folder.file("y.json", late.json(0))];
    let report = read(&files);
    assert_eq!(report.ranks.iter().map(|rank| rank.rank).collect::<Vec<_>>(), [0, 1]);
    let waiting = |rank: usize| report.ranks[rank].detail.steps.iter().map(|step| step.waiting).collect::<Vec<_>>();
    assert_eq!((waiting(0), waiting(1)), (vec![Some(0)], vec![None, Some(ns(2.5))]));
    assert_eq!((report.notes.len(), report.ranks[1].compositions[0].waiting_us), (0, Some(2.5)));
    let alone = read(&files[..1]);
    assert_eq!(alone.ranks[0].detail.steps[1].waiting, None);
    let other = Made::default().span("execute_context_0(0)_generation_9(9)", 0.0, 9.0).kernel(GEMM, 1.0, 2.0, 7, 0);
    let report = read(&[files[0].clone(), folder.file("z.json", other.json(1))]);
    assert!(report.notes[0].contains("same rank") && report.notes[1].contains("steps differ"), "{:?}", report.notes);
}

#[test]
fn kernels_without_a_launch_go_by_the_gpus_spans_else_by_time() {
    let name = "execute_context_0(0)_generation_1(1)";
    let spans = Made::default().span(name, 0.0, 5.0).span(name, 10.0, 5.0);
    let kernels = |made: Made| made.kernel(GEMM, 11.0, 4.0, 7, 0).kernel(NORM, 20.0, 4.0, 7, 0);
    let by_time = of(&kernels(spans.clone()));
    let steps = |report: &KernelReport| report.ranks[0].detail.steps.iter().map(|step| step.kernels).collect::<Vec<_>>();
    assert_eq!(steps(&by_time), [2]);
    assert!(by_time.ranks[0].warnings.iter().any(|warning| warning.contains("2 kernels have no launch")));
    assert!(by_time.ranks[0].warnings.iter().any(|warning| warning.contains("1 steps are named and none of their kernels")));
    // The GPU runs late: its spans say to which step each belongs.
    let gpu = |made: Made, ts, dur| made.event("gpu_user_annotation", name, (ts, dur), r#""tid": 7, "args": {}"#);
    assert_eq!(steps(&of(&kernels(gpu(gpu(spans, 11.0, 4.0), 20.0, 4.0)))), [1, 1]);
    assert_eq!(steps(&of(&kernels(gpu(gpu(Made::default(), 11.0, 4.0), 20.0, 4.0)))), [1, 1]);
}

#[test]
fn steps_that_nobody_named_are_told_by_repetition() {
    let mut made = Made::default();
    for step in 0..4 {
        let at = 100.0 * f64::from(step);
        made = made.kernel("embedding_kernel", at, 2.0, 7, 0);
        for layer in 0..3 {
            let at = at + 10.0 + 20.0 * f64::from(layer);
            made = made.kernel(GEMM, at, 10.0, 7, 0).kernel(NORM, at + 10.0, 5.0, 7, 0);
        }
    }
    let report = of(&made);
    let rank = &report.ranks[0];
    assert_eq!((rank.marker, rank.steps, rank.compositions[0].composition), (Marker::Repetition, 4, None));
    assert_eq!(rank.compositions[0].wall_us, Some(100.0));
    assert!(rank.warnings[0].contains("named no steps"), "{:?}", rank.warnings);
}

#[test]
fn the_servers_spans_are_preferred_to_the_profilers() {
    let made = |spans: &[&str]| {
        let mut made = Made::default();
        for step in 0..2 {
            let at = 100.0 * f64::from(step);
            for (depth, span) in (0..).zip(spans) {
                made = made.span(span, at + f64::from(depth), 50.0);
            }
            made = made.launch("cudaLaunchKernel", at + 10.0, step + 1).kernel(GEMM, at + 20.0, 10.0, 7, step + 1);
        }
        of(&made)
    };
    for (spans, marker, warned) in [
        (vec!["ProfilerStep#3", "scheduler.run_batch", "step[DECODE bs=4]"], Marker::Sglang, false),
        (vec!["ProfilerStep#3", "step[TARGET_VERIFY bs=4]"], Marker::Sglang, true),
        (vec!["ProfilerStep#3", "nccl:all_reduce"], Marker::ProfilerStep, true),
        (vec!["ProfilerStep#3", "execute_new_0_cached_4"], Marker::Vllm, true),
        (vec!["nccl:all_reduce"], Marker::Nothing, true),
    ] {
        let report = made(&spans);
        let rank = &report.ranks[0];
        assert_eq!((rank.marker, rank.warnings.len() == 1), (marker, warned), "{:?}", rank.warnings);
        assert_eq!(rank.steps, if marker == Marker::Nothing { 0 } else { 2 });
    }
}

#[test]
fn nested_operators_count_once() {
    let made = Made::default()
        .span("execute_context_0(0)_generation_8(8)", 0.0, 100.0)
        .operator("aten::linear", 10.0, 50.0)
        .operator("aten::addmm", 15.0, 40.0)
        .operator("aten::silu", 70.0, 10.0)
        .operator("aten::silu", 105.0, 10.0)
        .span("execute_context_0(0)_generation_8(8)", 120.0, 10.0);
    let report = of(&made);
    let rank = &report.ranks[0];
    let step: &Step = &rank.detail.steps[0];
    assert_eq!((rank.device, rank.steps, rank.detail.lost, step.kernels), ("cpu", 1, 1, 4));
    assert_eq!((step.classes[Class::Gemm as usize], step.classes[Class::Activation as usize]), (ns(50.0), ns(20.0)));
    assert_eq!((step.busy, step.launch_gap), (ns(60.0), ns(40.0)));
}

#[test]
fn a_table_is_read_back_as_it_was_written() {
    let folder = Folder::new();
    let detailed = "execute_131_context_1(sq128sk256sqsq16384sqsk32768)_generation_3(sq3sk300sqsq3sqsk300)";
    let made = graphs().span(detailed, 1500.0, 5.0).launch("cudaLaunchKernel", 1501.0, 31).kernel(GEMM, 1510.0, 7.25, 7, 31);
    let sgl = Made::default().span("step[MIXED bs=2]", 0.0, 5.0).launch("cudaLaunchKernel", 1.0, 1).kernel(REDUCE, 2.0, 2.0, 7, 1);
    for made in [made, sgl] {
        let table = StepKernels::of(&of(&made));
        let path = folder.0.join("kernels.parquet");
        table.write(&path).unwrap();
        assert_eq!(StepKernels::read(&path).unwrap(), table);
        let contexts = Contexts { prefill_context: 256, prefill_pairs: 32768, decode_context: 300 };
        assert!(table.rows.len() == 1 || table.rows[3].contexts == Some(contexts), "{table:?}");
    }
    let wrong = folder.file("kernels.parquet", "no table");
    assert!(StepKernels::read(&wrong).unwrap_err().to_string().contains("kernels.parquet: is no Parquet file"));
}

#[test]
fn a_zipped_file_and_a_bare_list_are_traces_too() {
    let folder = Folder::new();
    let plain = of(&graphs());
    let list = format!("[{}]", graphs().0.join(","));
    for file in [folder.file("rank0.pt.trace.json.gz", zipped(&graphs().json(0))), folder.file("list.json", list)] {
        assert_eq!(read(&[file]).ranks[0].detail.steps, plain.ranks[0].detail.steps);
    }
}

#[test]
fn a_truncated_file_gives_what_it_holds() {
    let folder = Folder::new();
    let whole = graphs().json(0);
    let cut = &whole[..whole.find("cuLaunchKernelEx").unwrap()];
    let file = folder.file("cut.json", cut);
    let report = read(std::slice::from_ref(&file));
    assert_eq!(report.ranks[0].steps, 2);
    let warning = format!("ends too early (byte {}, event 19:", cut.len());
    assert!(report.ranks[0].warnings[0].contains(&warning), "{:?}", report.ranks[0].warnings);
    // Stored, not packed, so that what is cut off is events.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
    encoder.write_all(graphs().json(0).as_bytes()).unwrap();
    let packed = encoder.finish().unwrap();
    let report = read(&[folder.file("cut.json.gz", &packed[..packed.len() - 700])]);
    assert!(report.ranks[0].warnings[0].contains("ends too early"), "{:?}", report.ranks[0].warnings);
}

#[test]
fn what_is_no_trace_is_told_with_its_place() {
    let folder = Folder::new();
    let many = |factor: f64| {
        let made = Made::default().span("execute_context_0(0)_generation_1(1)", 0.0, 1.0);
        (0..60).fold(made, |made, i| made.kernel(GEMM, f64::from(i) * 20.0 * factor, 3.0 * factor, 7, 0)).json(0)
    };
    let launches = Made::default().launch("cudaLaunchKernel", 1.0, 1).operator("aten::mm", 1.0, 2.0);
    let no_duration = graphs().json(0).replacen(", \"dur\": 30", "", 1);
    for (name, content, says) in [
        ("text.json", "Not a trace".to_owned(), "is no trace of the PyTorch profiler: byte 1, event 1: "),
        ("scenario.json", r#"{"model": {"name": "a"}}"#.to_owned(), "is no trace of the PyTorch profiler: it has no traceEvents"),
        ("empty.json", String::new(), "is no trace of the PyTorch profiler"),
        ("none.json", Made::default().json(0), "holds no event"),
        ("broken.json", graphs().json(0).replacen("\"ts\": 1020,", "\"ts\": ,", 1), "event 6: expected value"),
        ("string.json", graphs().json(0).replacen("\"ts\": 1020,", "\"ts\": \"1020\",", 1), "event 6: invalid type: string"),
        ("negative.json", graphs().json(0).replacen("\"ts\": 1020,", "\"ts\": -4,", 1), "event 6: ts is -4, expected microseconds"),
        ("duration.json", no_duration, "has no dur"),
        ("nanoseconds.json", many(1000.0), "the shortest of 60 kernels lasts 3000 us"),
        ("milliseconds.json", many(0.001), "half of the 60 kernels last 0.003 us or less"),
        ("launches.json", launches.json(0), "1 launches and no kernel: the profiler could not record the GPU"),
        ("flows.json", Made::default().event("ac2g", "ac2g", (1.0, 1.0), "\"id\": 1").json(0), "neither kernels nor operators"),
    ] {
        let message = refusal(&folder.file(name, content));
        assert!(message.contains(says) && message.contains(name), "{name}: {message}");
    }
    assert!(refusal(&folder.0.join("nowhere.json")).contains("nowhere.json"));
    // The right units are none of this.
    assert_eq!(read(&[folder.file("right.json", many(1.0))]).ranks[0].steps, 1);
}
