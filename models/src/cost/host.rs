//! Host time around the GPU's: scheduling, bookkeeping, launches, the front end.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::capture_sizes::CaptureSizes;
use crate::cost::{BatchShape, CostError, CostModel, DecodePiece, HostOverhead};
use crate::deployment::{Deployment, WeightDtype};
use crate::units::Duration;

/// What the host took before vLLM 0.14, over what it takes since.
const OLDER: f64 = 3.0;

impl HostOverhead {
    /// No host time: what a kernel table alone says.
    pub const NONE: HostOverhead = HostOverhead {
        step_us: 0.0,
        layer_us: 0.0,
        sync_us: 0.0,
        schedule_us: 0.0,
        schedule_sequence_us: 0.0,
        request_us: 0.0,
        arrival_us: 0.0,
        prompt_token_us: 0.0,
        token_us: 0.0,
    };

    /// Defaults for a server nobody has measured. They belong to a host and an engine version, so calibrate them where you can.
    ///
    /// Measured or published, and nothing of it on the closed-loop benchmarks of `docs/accuracy.md`:
    ///
    /// * step: 400 us, the middle of the 0.3 to 0.5 ms that fit vLLM 0.19 on one RTX PRO 6000 host.
    /// * schedule: 160 us and 15 us a sequence. 26,000 steps of vLLM 0.32 on a busy CPU host, 10th percentile: `schedule()`,
    ///   `update_from_output()` and the queues between.
    /// * layer: 70 us, and 32 with collectives: some ten kernels of 7 us each, two collectives of 16 us more
    ///   (blis-latency-kernel).
    /// * prompt token: 2.5 us. `tokenizers` 0.23 with the vocabulary of Llama 3 takes 2.1 to 2.8 us a token of benchmarks' prompts,
    ///   of consecutive or random ids, and 0.9 to 1.3 of prose, on one core of a shared EPYC (docs/calibration.md). Servers that
    ///   are given token ids have none of it.
    /// * arrival: none. A server whose front end shares the engine's cores has one (docs/calibration.md).
    /// * token: 46 us. Detokenisation per token, as BLIS assumes it.
    /// * sync: 200 us where data-parallel ranks run in lockstep, else 0. The all-reduce of their token counts, over the CPU with
    ///   asynchronous scheduling (vLLM pull request 29311): "100s of microseconds" (pull request 24105, which puts it at 10 ms
    ///   across nodes); it leaves a bubble on the GPU, 2.7 % of TPOT in pull request 30980.
    ///
    /// Fitted, one constant for each group of servers:
    ///
    /// * request, since vLLM 0.14: 16 ms, the client's part included. gpt-oss-120b on H100 and B200, of which each alone would take
    ///   14 to 20.
    /// * layer, of quantised mixtures: 1 ms. Prompts of 1,024 tokens take 0.98 to 1.4 ms a layer on minimax-m2.5 (H200, TP 4 and 8,
    ///   vLLM 0.16 and 0.18) and kimi-k2.5 (B300, TP 4 and 8, 0.17 and 0.19), whatever GPU and layout, which their kernels do not.
    ///   In mxfp4 experts are one kernel, and the answer is there before: gpt-oss-120b on B200.
    /// * before vLLM 0.14: three times the schedule above, and three times the 1.1 ms a request that vLLM 0.19 takes where there is
    ///   neither HTTP nor another process (the RTX PRO 6000 host, four requests). Qwen3-32B and Llama-3.1-70B on H100, vLLM 0.11
    ///   and 0.12, at TP 2 to 8.
    pub fn typical(deployment: &Deployment) -> HostOverhead {
        let quantised = !matches!(deployment.weights, WeightDtype::Bf16 | WeightDtype::Mxfp4);
        let layer_us = match &deployment.model.moe {
            Some(_) if quantised => 1000.0,
            _ if deployment.tensor_parallel > 1 => 102.0,
            _ => 70.0,
        };
        let newer = HostOverhead {
            step_us: 400.0,
            layer_us,
            sync_us: if deployment.lockstep() { 200.0 } else { 0.0 },
            schedule_us: 160.0,
            schedule_sequence_us: 15.0,
            request_us: 16_000.0,
            arrival_us: 0.0,
            prompt_token_us: 2.5,
            token_us: 46.0,
        };
        if deployment.engine_version.since(14) {
            return newer;
        }
        HostOverhead {
            schedule_us: OLDER * newer.schedule_us,
            schedule_sequence_us: OLDER * newer.schedule_sequence_us,
            request_us: OLDER * 1100.0,
            ..newer
        }
    }

    fn terms(&self) -> [(&'static str, f64); 9] {
        [
            ("step_us", self.step_us),
            ("layer_us", self.layer_us),
            ("sync_us", self.sync_us),
            ("schedule_us", self.schedule_us),
            ("schedule_sequence_us", self.schedule_sequence_us),
            ("request_us", self.request_us),
            ("arrival_us", self.arrival_us),
            ("prompt_token_us", self.prompt_token_us),
            ("token_us", self.token_us),
        ]
    }

    /// The first term that is negative, infinite or not a number.
    ///
    /// # Errors
    ///
    /// [`CostError::Deployment`] names the term.
    pub fn check(&self) -> Result<(), CostError> {
        match self.terms().into_iter().find(|(_, value)| !(0.0..=1e9).contains(value)) {
            None => Ok(()),
            Some((name, value)) => Err(CostError::Deployment(format!("host.{name} = {value} must be between 0 and 1e9"))),
        }
    }
}

/// Host terms that a user sets: what is absent keeps the default [us]. The fields are those of [`HostOverhead`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HostOverrides {
    /// See [`HostOverhead::step_us`].
    pub step_us: Option<f64>,
    /// See [`HostOverhead::layer_us`].
    pub layer_us: Option<f64>,
    /// See [`HostOverhead::sync_us`].
    pub sync_us: Option<f64>,
    /// See [`HostOverhead::schedule_us`].
    pub schedule_us: Option<f64>,
    /// See [`HostOverhead::schedule_sequence_us`].
    pub schedule_sequence_us: Option<f64>,
    /// See [`HostOverhead::request_us`].
    pub request_us: Option<f64>,
    /// See [`HostOverhead::arrival_us`].
    pub arrival_us: Option<f64>,
    /// See [`HostOverhead::prompt_token_us`].
    pub prompt_token_us: Option<f64>,
    /// See [`HostOverhead::token_us`].
    pub token_us: Option<f64>,
}

impl HostOverrides {
    /// `base` with the terms that are set here.
    pub fn over(&self, base: HostOverhead) -> HostOverhead {
        HostOverhead {
            step_us: self.step_us.unwrap_or(base.step_us),
            layer_us: self.layer_us.unwrap_or(base.layer_us),
            sync_us: self.sync_us.unwrap_or(base.sync_us),
            schedule_us: self.schedule_us.unwrap_or(base.schedule_us),
            schedule_sequence_us: self.schedule_sequence_us.unwrap_or(base.schedule_sequence_us),
            request_us: self.request_us.unwrap_or(base.request_us),
            arrival_us: self.arrival_us.unwrap_or(base.arrival_us),
            prompt_token_us: self.prompt_token_us.unwrap_or(base.prompt_token_us),
            token_us: self.token_us.unwrap_or(base.token_us),
        }
    }
}

impl From<HostOverhead> for HostOverrides {
    fn from(all: HostOverhead) -> HostOverrides {
        HostOverrides {
            step_us: Some(all.step_us),
            layer_us: Some(all.layer_us),
            sync_us: Some(all.sync_us),
            schedule_us: Some(all.schedule_us),
            schedule_sequence_us: Some(all.schedule_sequence_us),
            request_us: Some(all.request_us),
            arrival_us: Some(all.arrival_us),
            prompt_token_us: Some(all.prompt_token_us),
            token_us: Some(all.token_us),
        }
    }
}

/// A model of GPU time with host time around it.
///
/// Synchronous scheduling: `gpu + step + schedule + per sequence * sequences`. Asynchronous: the next step is scheduled while the
/// GPU computes, so `max(gpu, schedule + per sequence * sequences) + step`. Ranks in lockstep wait for the slowest scheduler,
/// and for their agreement: `+ sync`. Kernels are launched while those before them run, so of a step that is no CUDA graph `gpu` is
/// at least `layer * layers`. In every case `+ arrival` for each prompt that the step completes; ranks in lockstep wait for the one
/// that completes most.
pub struct StepCost<M> {
    gpu: M,
    /// Launching all layers one by one.
    launches: u64,
    graphs: CaptureSizes,
    step: u64,
    schedule: u64,
    sequence: u64,
    arrival: u64,
    asynchronous: bool,
}

impl<M: CostModel> StepCost<M> {
    /// Wraps a model of GPU time of a deployment.
    pub fn new(gpu: M, host: &HostOverhead, asynchronous: bool, deployment: &Deployment) -> StepCost<M> {
        let ps = |us| Duration::from_micros_f64(us).0;
        StepCost {
            gpu,
            launches: ps(host.layer_us).saturating_mul(u64::from(deployment.model.layers)),
            graphs: CaptureSizes::of(deployment),
            step: ps(host.step_us).saturating_add(ps(host.sync_us)),
            schedule: ps(host.schedule_us),
            sequence: ps(host.schedule_sequence_us),
            arrival: ps(host.arrival_us),
            asynchronous,
        }
    }

    #[inline]
    fn scheduling(&self, batch: &BatchShape) -> u64 {
        self.schedule.saturating_add(self.sequence.saturating_mul(u64::from(batch.sequences())))
    }

    /// What launching takes of a step of so many tokens.
    #[inline]
    fn launching(&self, tokens: u64) -> u64 {
        if tokens == 0 || self.graphs.captured(tokens) { 0 } else { self.launches }
    }

    /// What requests take whose prompts the step completes.
    #[inline]
    fn arrivals(&self, batch: &BatchShape) -> u64 {
        self.arrival.saturating_mul(u64::from(batch.sampled.saturating_sub(batch.decodes)))
    }

    /// GPU time and scheduling together, and what is added to both.
    #[inline]
    fn around(&self, gpu: u64, scheduling: u64, arrivals: u64) -> Duration {
        let both = if self.asynchronous { gpu.max(scheduling) } else { gpu.saturating_add(scheduling) };
        Duration(both.saturating_add(self.step).saturating_add(arrivals))
    }
}

impl<M: CostModel> CostModel for StepCost<M> {
    #[inline]
    fn iteration(&self, batch: &BatchShape) -> Duration {
        let gpu = self.gpu.iteration(batch).0.max(self.launching(batch.tokens()));
        self.around(gpu, self.scheduling(batch), self.arrivals(batch))
    }

    fn lockstep(&self, ranks: &[BatchShape]) -> Duration {
        let scheduling = ranks.iter().map(|batch| self.scheduling(batch)).max().unwrap_or(0);
        // Ranks run as graphs only if all can.
        let launching = ranks.iter().map(|batch| self.launching(batch.tokens())).max().unwrap_or(0);
        let arrivals = ranks.iter().map(|batch| self.arrivals(batch)).max().unwrap_or(0);
        self.around(self.gpu.lockstep(ranks).0.max(launching), scheduling, arrivals)
    }

    /// The first stage waits for the scheduler, and pays for the host's part of the step. Each launches its own layers.
    fn stages(&self, batch: &BatchShape, times: &mut [Duration]) {
        self.gpu.stages(batch, times);
        let launching = self.launching(batch.tokens()).div_ceil(times.len() as u64);
        times.iter_mut().for_each(|time| time.0 = time.0.max(launching));
        times[0] = self.around(times[0].0, self.scheduling(batch), self.arrivals(batch));
    }

    /// Where launching or asynchronous scheduling outlasts the GPU the cost is constant, up to the step in which it catches up.
    fn decode_piece(&self, batch: &BatchShape) -> DecodePiece {
        let gpu = self.gpu.decode_piece(batch);
        let (launching, scheduling) = (self.launching(batch.tokens()), self.scheduling(batch));
        let first = self.around(gpu.first.0.max(launching), scheduling, 0);
        let host = if self.asynchronous { launching.max(scheduling) } else { launching };
        if gpu.first.0 >= host {
            return DecodePiece { first, ..gpu };
        }
        let room = (host - gpu.first.0).checked_div(gpu.growth_ps).unwrap_or(u64::MAX);
        DecodePiece { first, growth_ps: 0, steps: gpu.steps.min(room) }
    }

    fn reads_spread(&self) -> bool {
        self.gpu.reads_spread()
    }
}

impl<M: CostModel + ?Sized> CostModel for Arc<M> {
    fn iteration(&self, batch: &BatchShape) -> Duration {
        (**self).iteration(batch)
    }

    fn lockstep(&self, ranks: &[BatchShape]) -> Duration {
        (**self).lockstep(ranks)
    }

    fn stages(&self, batch: &BatchShape, times: &mut [Duration]) {
        (**self).stages(batch, times);
    }

    fn decode_piece(&self, batch: &BatchShape) -> DecodePiece {
        (**self).decode_piece(batch)
    }

    fn reads_spread(&self) -> bool {
        (**self).reads_spread()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::Moe;
    use crate::cost::Roofline;
    use crate::cost::testing::{decodes, h100, llama_8b, monotone, on, pieces_agree, prefill};

    fn deployment() -> Deployment {
        on(h100(), llama_8b(), 1)
    }

    fn roofline() -> Roofline {
        Roofline::new(&deployment()).unwrap()
    }

    #[test]
    fn synchronous_adds_and_asynchronous_hides() {
        let host = HostOverhead { step_us: 400.0, schedule_us: 160.0, schedule_sequence_us: 15.0, ..HostOverhead::NONE };
        let batch = decodes(4, 100);
        let gpu = roofline().iteration(&batch).0;
        let after = |asynchronous| StepCost::new(roofline(), &host, asynchronous, &deployment()).iteration(&batch).0;
        assert_eq!(after(false), gpu + 400_000_000 + 160_000_000 + 4 * 15_000_000);
        assert_eq!(after(true), gpu + 400_000_000);
        let slow = HostOverhead { schedule_us: 1e6, ..host };
        assert_eq!(StepCost::new(roofline(), &slow, true, &deployment()).iteration(&batch).0, 1_000_000_000_000 + 460_000_000);
    }

    /// A request comes and goes once, whatever its chunks, and whatever is hidden.
    #[test]
    fn prompts_that_are_completed_cost_an_arrival_each() {
        let host = HostOverhead { arrival_us: 1500.0, ..HostOverhead::NONE };
        let mut batch = decodes(4, 100);
        batch.add_chunk(0, 512, false);
        let model = |asynchronous| StepCost::new(roofline(), &host, asynchronous, &deployment());
        assert_eq!(model(true).iteration(&batch), roofline().iteration(&batch), "it goes on");
        batch.add_chunk(512, 100, true);
        batch.add_chunk(0, 100, true);
        for asynchronous in [false, true] {
            assert_eq!(model(asynchronous).iteration(&batch).0, roofline().iteration(&batch).0 + 3_000_000_000);
        }
        let ranks = [batch, decodes(4, 100)];
        assert_eq!(model(true).lockstep(&ranks).0, roofline().lockstep(&ranks).0 + 3_000_000_000);
        pieces_agree(&model(false), 17);
    }

    /// What is not overlapped is in one stage, and no stage loses anything of it.
    #[test]
    fn the_first_stage_pays_for_the_host() {
        let host = HostOverhead { step_us: 400.0, schedule_us: 160.0, schedule_sequence_us: 15.0, ..HostOverhead::NONE };
        let batch = decodes(4, 100);
        let (mut gpu, mut all) = ([Duration::ZERO; 2], [Duration::ZERO; 2]);
        let halves = Deployment { pipeline_parallel: 2, ..deployment() };
        let two = Roofline::new(&halves).unwrap();
        two.stages(&batch, &mut gpu);
        let step = StepCost::new(two, &host, false, &halves);
        step.stages(&batch, &mut all);
        assert_eq!((all[0].0 - gpu[0].0, all[1]), (620_000_000, gpu[1]));
        assert_eq!(all[0].0 + all[1].0, step.iteration(&batch).0);
    }

    /// Ranks that have to agree add that to every step, and wait for the slowest of their schedulers.
    #[test]
    fn ranks_in_lockstep_pay_for_their_agreement() {
        let batches = [decodes(4, 100), decodes(300, 10)];
        let host = HostOverhead { sync_us: 200.0, schedule_sequence_us: 15.0, ..HostOverhead::NONE };
        let gpu = roofline().lockstep(&batches).0;
        let after = |asynchronous| StepCost::new(roofline(), &host, asynchronous, &deployment()).lockstep(&batches).0;
        assert_eq!(after(false), gpu + 200_000_000 + 300 * 15_000_000);
        assert_eq!(after(true), gpu + 200_000_000);
        let mut mixture = on(h100(), llama_8b(), 1);
        assert_eq!(HostOverhead::typical(&mixture).sync_us, 0.0);
        mixture.data_parallel = 2;
        assert_eq!(HostOverhead::typical(&mixture).sync_us, 0.0, "ranks of a dense model have nothing to agree on");
        mixture.model.moe = Some(Moe { experts: 128, top_k: 8, intermediate: 768, shared_intermediate: 0, dense_layers: 0 });
        assert_eq!(HostOverhead::typical(&mixture).sync_us, 200.0);
    }

    /// A step waits for its kernels' launches unless it is a graph; those of each stage are its own.
    #[test]
    fn steps_that_are_no_graphs_wait_for_their_launches() {
        let host = HostOverhead { layer_us: 1000.0, ..HostOverhead::NONE };
        let ms = |tokens: u64, deployment: &Deployment| {
            let model = StepCost::new(Roofline::new(deployment).unwrap(), &host, true, deployment);
            model.iteration(&prefill(1, 0, tokens)).as_millis_f64()
        };
        let gpu = |tokens: u64| roofline().iteration(&prefill(1, 0, tokens)).as_millis_f64();
        assert_eq!((ms(512, &deployment()), ms(513, &deployment())), (gpu(512), 32.0));
        assert_eq!(ms(8000, &deployment()), gpu(8000), "the GPU takes longer");
        let larger = Deployment { max_cudagraph_capture_size: Some(2048), ..deployment() };
        assert!(ms(2048, &larger) > 32.0 && ms(600, &larger) < 32.0);
        let eager = Deployment { cuda_graphs: false, ..deployment() };
        assert_eq!(ms(1, &eager), 32.0);
        pieces_agree(&StepCost::new(Roofline::new(&eager).unwrap(), &host, false, &eager), 13);
        let (halves, mut times) = (Deployment { pipeline_parallel: 2, ..eager.clone() }, [Duration::ZERO; 2]);
        StepCost::new(Roofline::new(&halves).unwrap(), &host, false, &halves).stages(&decodes(1, 10), &mut times);
        assert_eq!(times.map(|time| time.as_millis_f64()), [16.0, 16.0]);
        assert_eq!(HostOverhead::typical(&deployment()).layer_us, 70.0);
    }

    /// A host slow enough that the GPU overtakes it in the middle of a piece.
    #[test]
    fn pieces_agree_where_host_and_gpu_cross() {
        for schedule_us in [0.0, 160.0, 7000.0, 12_000.0, 50_000.0] {
            let host = HostOverhead { schedule_us, ..HostOverhead::typical(&on(h100(), llama_8b(), 1)) };
            for asynchronous in [false, true] {
                let model = StepCost::new(roofline(), &host, asynchronous, &deployment());
                pieces_agree(&model, 11);
                monotone(&model, 12, 0.0);
            }
        }
        let slow = HostOverhead { schedule_us: 12_000.0, ..HostOverhead::typical(&on(h100(), llama_8b(), 1)) };
        let piece = StepCost::new(roofline(), &slow, true, &deployment()).decode_piece(&decodes(8, 100));
        assert!(piece.growth_ps == 0 && piece.steps > 100 && piece.steps < 1 << 40, "{piece:?}");
    }

    #[test]
    fn overrides_keep_what_they_do_not_name() {
        let one = HostOverrides { step_us: Some(1.0), ..HostOverrides::default() };
        let host = one.over(HostOverhead::typical(&on(h100(), llama_8b(), 8)));
        assert_eq!((host.step_us, host.request_us, host.prompt_token_us), (1.0, 16_000.0, 2.5));
        assert!(HostOverhead { token_us: f64::NAN, ..host }.check().is_err());
        assert!(HostOverhead { step_us: -1.0, ..host }.check().is_err());
    }
}
