//! Which cost model a deployment gets.

use std::path::PathBuf;
use std::sync::Arc;

use crate::architecture::Architecture;
use crate::catalogue::nearest;
use crate::cost::profile::{OLDER_RELEASE, PADDED_EXPERTS, ProfileKind, WHOLE_EXPERTS, profile_name};
use crate::cost::shipped::{names, shipped_text};
use crate::cost::{
    Calibrated, CostError, CostInfo, CostModel, HostOverhead, HostOverrides, Layers, Profile, Roofline, StepCost, Table,
};
use crate::cost::{VidurProfile, VidurTables};
use crate::deployment::Deployment;
use crate::engine_defaults::EngineVersion;
use crate::hash::fnv1a_hex;
use crate::padded_experts::PaddedExperts;

/// Where the times are to come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CostChoice {
    /// The shipped profile of exactly this GPU, model (or one of the same shape), number formats and tensor-parallel size; the
    /// roofline where there is none.
    #[default]
    Auto,
    /// A shipped profile by name.
    Profile(String),
    /// A profile in a file.
    ProfileFile(PathBuf),
    /// The roofline.
    Roofline,
}

/// Builds the cost model of a deployment, host time included, and says where its numbers come from.
///
/// Host terms are, in falling priority: `host`, the profile's own, [`HostOverhead::typical`]. `async_scheduling` says whether the
/// engine schedules the next step while the GPU computes ([`StepCost`]).
///
/// # Errors
///
/// Any [`CostError`]: an unknown, unreadable, invalid or unphysical profile, one for another deployment, or a deployment that
/// makes no sense.
pub fn build(
    deployment: &Deployment,
    choice: &CostChoice,
    host: &HostOverrides,
    async_scheduling: bool,
) -> Result<(Arc<dyn CostModel>, CostInfo), CostError> {
    let typical = HostOverhead::typical(deployment);
    let Some((name, text)) = profile_text(deployment, choice)? else {
        let host = applied(host.over(typical), deployment)?;
        let roofline = Roofline::new(deployment)?;
        let info = roofline_info(deployment, &roofline, *choice == CostChoice::Auto, host);
        return Ok((Arc::new(StepCost::new(roofline, &host, async_scheduling, deployment)), info));
    };
    if VidurProfile::is(&text) {
        let profile = VidurProfile::parse(&name, &text)?;
        let host = applied(host.over(profile.host.unwrap_or_default().over(typical)), deployment)?;
        let tables = VidurTables::new(&profile, deployment)?;
        return Ok((Arc::new(StepCost::new(tables, &host, async_scheduling, deployment)), vidur_info(&profile, &text, host)));
    }
    let profile = Profile::parse(&name, &text)?;
    let host = applied(host.over(profile.host.unwrap_or_default().over(typical)), deployment)?;
    let (kind, model): (_, Arc<dyn CostModel>) = match profile.kind {
        ProfileKind::Calibrated => {
            ("calibrated", Arc::new(StepCost::new(Calibrated::new(&profile, deployment)?, &host, async_scheduling, deployment)))
        }
        ProfileKind::Layers => {
            ("layers", Arc::new(StepCost::new(Layers::new(&profile, deployment)?, &host, async_scheduling, deployment)))
        }
        ProfileKind::Table => {
            ("table", Arc::new(StepCost::new(Table::new(&profile, deployment)?, &host, async_scheduling, deployment)))
        }
    };
    let mut info = profile_info(kind, &profile, &text, host);
    if deployment.lockstep() {
        info.source += "; data-parallel ranks put together of one rank's layers, their exchange taken as an all-reduce";
        info.error = info.error.map(|error| error + "; of one rank, without what ranks exchange");
    }
    Ok((model, info))
}

/// The host terms as they apply to a deployment: ranks that know nothing of each other have nothing to agree on.
fn applied(host: HostOverhead, deployment: &Deployment) -> Result<HostOverhead, CostError> {
    host.check()?;
    Ok(HostOverhead { sync_us: if deployment.lockstep() { host.sync_us } else { 0.0 }, ..host })
}

/// The name of a shipped profile, or of its like from the kernels of an older release, if one is shipped of a release that is not
/// older than the deployment's: `<name>-vllm0.19` serves up to 0.19.
fn of_release(name: String, version: EngineVersion) -> String {
    let prefix = format!("{name}{OLDER_RELEASE}");
    let older = names().filter_map(|known| Some((known.strip_prefix(&prefix)?.parse::<EngineVersion>().ok()?, known)));
    older.filter(|(measured, _)| *measured >= version).min().map_or(name, |(_, known)| known.to_owned())
}

/// Name and text of the profile to use; none for the roofline.
fn profile_text(deployment: &Deployment, choice: &CostChoice) -> Result<Option<(String, String)>, CostError> {
    match choice {
        CostChoice::Roofline => Ok(None),
        CostChoice::Auto => {
            let (weights, kv) = (deployment.weights.name(), deployment.kv.name());
            let name = |model: &str| profile_name(&deployment.gpu.name, model, weights, kv, deployment.tensor_parallel);
            let alike = Architecture::all().iter().filter(|model| model.same_shape(&deployment.model));
            let models = std::iter::once(deployment.model.name.as_str()).chain(alike.map(|model| model.name.as_str()));
            let names = models.flat_map(|model| {
                let whole = deployment.whole_experts().then(|| name(model) + WHOLE_EXPERTS);
                whole.into_iter().chain([name(model)])
            });
            let padded = PaddedExperts::of(deployment).is_some();
            let shipped = |name: String| {
                let name = if padded { name + PADDED_EXPERTS } else { of_release(name, deployment.engine_version) };
                shipped_text(&name).map(|text| (name, text.to_owned()))
            };
            // Shipped profiles are of one stage and, but for those of layers, of sliced experts on one data-parallel rank.
            let fits = |(name, text): &(String, String)| {
                !(deployment.whole_experts() || deployment.lockstep())
                    || Profile::parse(name, text).is_ok_and(|profile| profile.matches(deployment).is_ok())
            };
            Ok(names.filter(|_| deployment.pipeline_parallel == 1).filter_map(shipped).find(fits))
        }
        CostChoice::Profile(name) => match shipped_text(name) {
            Some(text) => Ok(Some((name.clone(), text.to_owned()))),
            None => {
                let nearest = nearest(name, names(), 3).join(", ");
                Err(CostError::Unknown { name: name.clone(), nearest, count: names().count() })
            }
        },
        CostChoice::ProfileFile(path) => {
            let shown = path.display().to_string();
            let text = std::fs::read_to_string(path).map_err(|source| CostError::Read { path: shown.clone(), source })?;
            Ok(Some((shown, text)))
        }
    }
}

fn roofline_info(deployment: &Deployment, roofline: &Roofline, fallback: bool, host: HostOverhead) -> CostInfo {
    let mut source = format!("roofline with efficiency curves; {}", roofline.efficiency().source);
    if deployment.pipeline_parallel > 1 {
        source += "; pipeline stages take their layers' share of a pass";
    }
    if deployment.lockstep() {
        source += "; experts of data-parallel ranks in lockstep, exchanged by NCCL all-gather and reduce-scatter";
    }
    if PaddedExperts::of(deployment).is_some() {
        source += "; experts as DeepGEMM pads them in this release";
    }
    if fallback {
        source += "; no profile is shipped for this GPU, model, number format and tensor-parallel size";
    }
    if let Some(why) = &deployment.model.approximate {
        source += &format!("; model shape is approximate: {why}");
    }
    CostInfo {
        kind: "roofline",
        calibrated: false,
        profile: None,
        engine: None,
        error: None,
        source,
        ranges: None,
        host,
        hash: fnv1a_hex(&roofline_inputs(deployment, roofline)),
    }
}

fn profile_info(kind: &'static str, profile: &Profile, text: &str, host: HostOverhead) -> CostInfo {
    let p = profile;
    let mut source = format!("{} {}; {} ({}, {})", p.engine, p.engine_version, p.source, p.licence, p.date);
    if !p.attribution.is_empty() && !p.source.contains(&p.attribution) {
        source += &format!("; {}", p.attribution);
    }
    CostInfo {
        kind,
        calibrated: true,
        profile: Some(p.name.clone()),
        engine: Some(format!("{} {}", p.engine, p.engine_version)),
        error: Some(p.error_line()),
        source,
        ranges: Some(p.ranges),
        host,
        hash: fnv1a_hex(text),
    }
}

fn vidur_info(profile: &VidurProfile, text: &str, host: HostOverhead) -> CostInfo {
    let p = profile;
    CostInfo {
        kind: "vidur",
        // Nobody has stated how far the tables are from measurements.
        calibrated: false,
        profile: Some(p.name.clone()),
        engine: None,
        error: None,
        source: format!(
            "{} ({}, {}); {}; their error is not stated, embedding, LM head and sampling are left out",
            p.source, p.licence, p.date, p.attribution
        ),
        ranges: Some(p.ranges()),
        host,
        hash: fnv1a_hex(text),
    }
}

/// All that decides a roofline's times, as text. Names and prices are left out: they change nothing.
fn roofline_inputs(deployment: &Deployment, roofline: &Roofline) -> String {
    let (d, gpu) = (deployment, &deployment.gpu);
    let rates = (gpu.memory_bandwidth, gpu.bf16_flops, gpu.fp8_flops, gpu.int8_ops, gpu.link_bandwidth);
    let model = crate::architecture::Architecture { name: String::new(), approximate: None, ..d.model.clone() };
    let ranks = if d.lockstep() { d.data_parallel } else { 1 };
    let layout = (d.tensor_parallel, d.pipeline_parallel, ranks, d.expert_parallel, d.weights, d.kv);
    let engine = (d.cuda_graphs, d.max_cudagraph_capture_size, d.max_num_seqs, d.max_num_batched_tokens);
    let padded = PaddedExperts::of(deployment);
    format!("roofline 1 {rates:?} {model:?} {layout:?} {engine:?} {padded:?} {:?}", roofline.efficiency())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::profile::tests::EXAMPLE;
    use crate::cost::testing::{decodes, gpu, h100, llama_8b, on};

    #[test]
    fn auto_falls_back_to_the_roofline_and_says_so() {
        let deployment = on(gpu("h999", 3e12, 1e15, None), llama_8b(), 1);
        let (model, info) = build(&deployment, &CostChoice::Auto, &HostOverrides::default(), true).unwrap();
        assert_eq!((info.kind, info.calibrated), ("roofline", false));
        assert!(info.source.contains("no profile is shipped") && info.source.contains("by analogy"), "{}", info.source);
        assert!(model.iteration(&decodes(1, 100)).as_millis_f64() > 5.0);
        let (_, asked) = build(&deployment, &CostChoice::Roofline, &HostOverrides::default(), true).unwrap();
        assert!(!asked.source.contains("shipped"));
        assert_eq!(asked.hash, info.hash);
        let faster = on(gpu("h999", 3.1e12, 1e15, None), llama_8b(), 1);
        assert_ne!(build(&faster, &CostChoice::Roofline, &HostOverrides::default(), true).unwrap().1.hash, info.hash);
    }

    #[test]
    fn files_are_read_and_host_terms_overridden_one_by_one() {
        let path = std::env::temp_dir().join(format!("tokentide-profile-{}.toml", std::process::id()));
        std::fs::write(&path, EXAMPLE.to_owned() + "\n[host]\nstep_us = 250.0\ntoken_us = 7.0\n").unwrap();
        let choice = CostChoice::ProfileFile(path.clone());
        let over = HostOverrides { token_us: Some(9.0), ..HostOverrides::default() };
        let (model, info) = build(&on(h100(), llama_8b(), 1), &choice, &over, true).unwrap();
        assert_eq!((info.kind, info.profile.as_deref()), ("calibrated", Some("example")));
        assert_eq!((info.host.step_us, info.host.token_us, info.host.request_us), (250.0, 9.0, 16_000.0));
        assert_eq!(info.ranges.unwrap().decodes_max, 512);
        let gpu_ms = 5.75 + 0.4 + 100.0 * 5e-5;
        assert!((model.iteration(&decodes(1, 100)).as_millis_f64() - gpu_ms - 0.25).abs() < 1e-6);
        let other = build(&on(h100(), llama_8b(), 2), &choice, &over, true).err().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(other.to_string(), "profile example is for tensor_parallel 1, the scenario has 2");
    }

    #[test]
    fn unknown_names_and_files_are_errors() {
        let deployment = on(h100(), llama_8b(), 1);
        for (choice, expected) in [
            (CostChoice::Profile("nonsense".into()), "no profile is named nonsense"),
            (CostChoice::ProfileFile("/nonexistent/profile.toml".into()), "/nonexistent/profile.toml"),
        ] {
            let error = build(&deployment, &choice, &HostOverrides::default(), true).err().unwrap().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let host = HostOverrides { step_us: Some(f64::INFINITY), ..HostOverrides::default() };
        assert!(build(&deployment, &CostChoice::Roofline, &host, true).is_err());
    }
}
