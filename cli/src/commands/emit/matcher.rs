//! Matchers of one model in PromQL.

/// The query with `{model_name="NAME"}` on each of vLLM's metrics, for a Prometheus that scrapes several models; the metrics must
/// have no matchers yet.
pub fn of_model(query: &str, model: Option<&str>) -> String {
    let Some(model) = model else { return query.to_owned() };
    let matcher = format!("{{model_name=\"{}\"}}", model.replace('\\', "\\\\").replace('"', "\\\""));
    let mut parts = query.split("vllm:");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(part.len());
        out += &format!("vllm:{}{matcher}{}", &part[..end], &part[end..]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::of_model;

    #[test]
    fn every_metric_of_vllm_gets_the_matcher() {
        let query = "sum(rate(vllm:a_sum[1m])) / sum(vllm:b) + pool:c";
        assert_eq!(of_model(query, None), query);
        let matched = "sum(rate(vllm:a_sum{model_name=\"m\"}[1m])) / sum(vllm:b{model_name=\"m\"}) + pool:c";
        assert_eq!(of_model(query, Some("m")), matched);
        assert_eq!(of_model("vllm:b", Some("a\"b")), "vllm:b{model_name=\"a\\\"b\"}");
    }
}
