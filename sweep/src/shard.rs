//! A part of the points, for one of several machines.

/// Every `of`th point, beginning with the `number`th: neighbours, which cost alike, go to different machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// From 1.
    pub number: u64,
    /// How many there are.
    pub of: u64,
}

/// A variable that gives the number of parts where the scheduler does not tell it.
pub const COUNT_VARIABLE: &str = "TOKENTIDE_SHARDS";

impl Shard {
    /// All points.
    pub const WHOLE: Shard = Shard { number: 1, of: 1 };

    /// From `3/64`, `auto` or `auto/64`. `auto` is what the machine's scheduler says in the environment, read by `get`:
    ///
    /// - Kubernetes, an Indexed Job: `JOB_COMPLETION_INDEX`, from 0; the number of parts is not told, see [`COUNT_VARIABLE`];
    /// - Slurm, an array: `SLURM_ARRAY_TASK_ID`, `_MIN`, `_STEP`, `_COUNT`;
    /// - GitLab, `parallel`: `CI_NODE_INDEX`, from 1, and `CI_NODE_TOTAL`.
    ///
    /// # Errors
    /// What is wrong with it, or what the environment lacks.
    pub fn parse(text: &str, get: &dyn Fn(&str) -> Option<String>) -> Result<Shard, String> {
        let (number, of) = text.split_once('/').map_or((text, None), |(number, of)| (number, Some(of)));
        let of = of.map(|of| of.trim().parse::<u64>().map_err(|_| format!("`{text}`: the number of shards is a whole number")));
        let of = of.transpose()?;
        let shard = match (number.trim(), of) {
            ("auto", of) => automatic(of, get)?,
            (number, Some(of)) => {
                let number = number.parse().map_err(|_| format!("`{text}`: expected I/N such as 3/64, or auto"))?;
                Shard { number, of }
            }
            (_, None) => return Err(format!("`{text}`: expected I/N such as 3/64, or auto")),
        };
        if !(1..=shard.of).contains(&shard.number) {
            return Err(format!("shard {} of {}: shards are numbered from 1", shard.number, shard.of));
        }
        Ok(shard)
    }

    /// Whether it has the point of this index.
    pub fn has(self, index: u64) -> bool {
        index % self.of == self.number - 1
    }

    /// How many it has of so many points.
    pub fn points(self, all: u64) -> u64 {
        all / self.of + u64::from(all % self.of >= self.number)
    }

    /// Its number, as wide as that of the last one: names of files then sort as shards do.
    pub fn padded(self) -> String {
        format!("{:0width$}", self.number, width = self.of.to_string().len())
    }
}

fn automatic(of: Option<u64>, get: &dyn Fn(&str) -> Option<String>) -> Result<Shard, String> {
    let number = |name: &str| {
        let wrong = |text: String| format!("{name} is `{text}`, which is no number");
        get(name).map(|text| text.trim().parse::<u64>().map_err(|_| wrong(text))).transpose()
    };
    let counted = |told: Option<u64>, scheduler: &str| {
        of.or(told).ok_or_else(|| {
            format!("{scheduler} does not say how many shards there are: use --shard auto/N, or set {COUNT_VARIABLE}")
        })
    };
    let stated = number(COUNT_VARIABLE)?;
    if let Some(index) = number("JOB_COMPLETION_INDEX")? {
        return Ok(Shard { number: index + 1, of: counted(stated, "a Kubernetes Indexed Job")? });
    }
    if let Some(id) = number("SLURM_ARRAY_TASK_ID")? {
        let (first, step) = (number("SLURM_ARRAY_TASK_MIN")?.unwrap_or(0), number("SLURM_ARRAY_TASK_STEP")?.unwrap_or(1));
        let index = id.checked_sub(first).filter(|_| step > 0).ok_or("SLURM_ARRAY_TASK_ID is below SLURM_ARRAY_TASK_MIN")?;
        let of = counted(stated.or(number("SLURM_ARRAY_TASK_COUNT")?), "Slurm")?;
        return Ok(Shard { number: index / step.max(1) + 1, of });
    }
    if let Some(index) = number("CI_NODE_INDEX")? {
        return Ok(Shard { number: index, of: counted(stated.or(number("CI_NODE_TOTAL")?), "GitLab")? });
    }
    Err("auto needs JOB_COMPLETION_INDEX (a Kubernetes Indexed Job), SLURM_ARRAY_TASK_ID (Slurm) or CI_NODE_INDEX (GitLab), and \
         none of them is set"
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, variables: &[(&str, &str)]) -> Result<(u64, u64), String> {
        let get = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        Shard::parse(text, &get).map(|shard| (shard.number, shard.of))
    }

    #[test]
    fn shards_share_all_points() {
        for (all, of) in [(10, 3), (2, 5), (9, 3), (1, 1)] {
            let shards: Vec<Shard> = (1..=of).map(|number| Shard { number, of }).collect();
            for index in 0..all {
                assert_eq!(shards.iter().filter(|shard| shard.has(index)).count(), 1);
            }
            for shard in shards {
                assert_eq!(shard.points(all), (0..all).filter(|&i| shard.has(i)).count() as u64);
            }
        }
        assert_eq!(Shard { number: 3, of: 64 }.padded(), "03");
    }

    #[test]
    fn schedulers_are_understood() {
        assert_eq!(parse("3/64", &[]), Ok((3, 64)));
        assert_eq!(parse("auto/64", &[("JOB_COMPLETION_INDEX", "0")]), Ok((1, 64)));
        assert_eq!(parse("auto", &[("JOB_COMPLETION_INDEX", "7"), (COUNT_VARIABLE, "8")]), Ok((8, 8)));
        let slurm = |id| [("SLURM_ARRAY_TASK_ID", id), ("SLURM_ARRAY_TASK_MIN", "1"), ("SLURM_ARRAY_TASK_COUNT", "4")];
        assert_eq!(parse("auto", &slurm("1")), Ok((1, 4)));
        assert_eq!(parse("auto", &slurm("4")), Ok((4, 4)));
        let stepped = [
            ("SLURM_ARRAY_TASK_ID", "14"),
            ("SLURM_ARRAY_TASK_MIN", "10"),
            ("SLURM_ARRAY_TASK_STEP", "2"),
            ("SLURM_ARRAY_TASK_COUNT", "5"),
        ];
        assert_eq!(parse("auto", &stepped), Ok((3, 5)));
        assert_eq!(parse("auto", &[("CI_NODE_INDEX", "2"), ("CI_NODE_TOTAL", "5")]), Ok((2, 5)));
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(parse("auto", &[]).unwrap_err().contains("none of them is set"));
        assert!(parse("auto", &[("JOB_COMPLETION_INDEX", "3")]).unwrap_err().contains("auto/N"));
        assert!(parse("auto", &[("CI_NODE_INDEX", "x")]).unwrap_err().contains("no number"));
        for wrong in ["0/4", "5/4", "4", "a/4", "1/x", "1/0"] {
            assert!(parse(wrong, &[]).is_err(), "{wrong}");
        }
        assert!(parse("auto/4", &[("JOB_COMPLETION_INDEX", "4")]).is_err());
    }
}
