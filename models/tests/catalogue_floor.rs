//! No step is faster than the hardware allows: every GPU, model, number format and tensor-parallel size of the catalogue.

use tokentide_models::architecture::Architecture;
use tokentide_models::cost::{BatchShape, CostModel, Floor, Roofline};
use tokentide_models::deployment::{Deployment, KvDtype, WeightDtype};
use tokentide_models::gpu::Gpu;

fn deployments() -> Vec<Deployment> {
    let mut all = Vec::new();
    for gpu in Gpu::all() {
        for model in Architecture::all() {
            for (weights, kv) in [(WeightDtype::Bf16, KvDtype::Bf16), (WeightDtype::Fp8, KvDtype::Fp8)] {
                let layouts = [(1, 1), (2, 1), (4, 1), (8, 1), (2, 4)];
                for (tensor_parallel, data_parallel) in layouts.into_iter().filter(|&(_, ranks)| ranks == 1 || model.moe.is_some())
                {
                    all.push(Deployment {
                        data_parallel,
                        expert_parallel: data_parallel > 1,
                        weights,
                        kv,
                        max_num_batched_tokens: 2048,
                        max_num_seqs: 256,
                        ..Deployment::plain(model.clone(), gpu.clone(), tensor_parallel)
                    });
                }
            }
        }
    }
    all
}

fn shapes() -> Vec<BatchShape> {
    let mut shapes = Vec::new();
    for decodes in [0, 1, 7, 64, 256] {
        for context in [1, 2000, 100_000] {
            for chunk in [0, 1, 300, 1700] {
                for history in [0, 30_000] {
                    let mut shape = BatchShape::default();
                    (0..decodes).for_each(|_| shape.add_decode(context));
                    if chunk > 0 {
                        shape.add_chunk(history, chunk, true);
                    }
                    if shape.tokens() > 0 {
                        shapes.push(shape);
                    }
                }
            }
        }
    }
    shapes
}

#[test]
fn no_step_of_the_catalogue_is_faster_than_the_floor() {
    let shapes = shapes();
    let mut checked = 0;
    for deployment in deployments() {
        // A layout that does not divide the heads is refused, and said elsewhere.
        let Ok(roofline) = Roofline::new(&deployment) else { continue };
        let floor = Floor::new(&deployment).expect("the roofline took it");
        let (gpu, ranks) = (&deployment.gpu, f64::from(deployment.tensor_parallel));
        let peak = [Some(gpu.bf16_flops), gpu.fp8_flops].into_iter().flatten().fold(0.0, f64::max);
        for shape in &shapes {
            let name = || format!("{} on {} {} {shape:?}", deployment.model.name, gpu.name, deployment.layout());
            let duration = roofline.iteration(shape);
            assert!(duration >= floor.of(shape), "{}: {duration}, floor {}", name(), floor.of(shape));
            // And, apart from the floor's own formula: the matrix products of all tokens at the highest peak of the GPU.
            let products = deployment.model.flops_per_token() * shape.tokens() as f64 / (peak * ranks);
            assert!(duration.as_secs_f64() >= products * 0.999, "{}: {duration}, arithmetic {products} s", name());
            checked += 1;
        }
        for ranks in shapes.chunks_exact(deployment.data_parallel as usize).filter(|ranks| ranks.len() > 1) {
            let duration = roofline.lockstep(ranks);
            let tokens: u64 = ranks.iter().map(BatchShape::tokens).sum();
            let products = deployment.model.flops_per_token() * tokens as f64 / (peak * f64::from(deployment.gpus()));
            assert!(duration.as_secs_f64() >= products * 0.999, "{ranks:?}: {duration}, arithmetic {products} s");
            assert!(duration >= floor.of_lockstep(ranks), "{ranks:?}: {duration}, floor {}", floor.of_lockstep(ranks));
            checked += 1;
        }
    }
    assert!(checked > 50_000, "only {checked} steps were checked");
}
