//! Points drawn at random.

use rand::RngExt;
use tokentide_sim::stream::{Purpose, Stream};

use crate::axis::Axis;
use crate::point::Params;

/// How points are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Independently.
    Random,
    /// Latin hypercube: along each axis, one point in each of as many equal parts as there are points (McKay, Beckman and Conover,
    /// "A comparison of three methods for selecting values of input variables", Technometrics 1979).
    LatinHypercube,
}

impl Method {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Method::Random => "random",
            Method::LatinHypercube => "lhs",
        }
    }

    /// From its word.
    pub fn parse(word: &str) -> Option<Method> {
        [Method::Random, Method::LatinHypercube].into_iter().find(|method| method.name() == word)
    }
}

/// Points drawn over some axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// How.
    pub method: Method,
    /// How many.
    pub points: u32,
    /// Seed of the draws, which has nothing to do with that of the runs.
    pub seed: u64,
    /// Over which settings.
    pub over: Vec<Axis>,
}

impl Sample {
    /// The points, in the order drawn.
    pub fn draw(&self) -> Vec<Params> {
        let columns: Vec<Vec<f64>> = (0..self.over.len() as u64).map(|axis| self.column(axis)).collect();
        let point =
            |i: usize| self.over.iter().zip(&columns).map(|(axis, column)| (axis.path.clone(), axis.at(column[i]))).collect();
        (0..self.points as usize).map(point).collect()
    }

    /// A number from 0 up to 1 for each point, along one axis.
    fn column(&self, axis: u64) -> Vec<f64> {
        let within = |i: u32| Stream::new(self.seed, Purpose::Design, axis, 1 + u64::from(i)).random::<f64>();
        match self.method {
            Method::Random => (0..self.points).map(within).collect(),
            Method::LatinHypercube => {
                let mut parts: Vec<u32> = (0..self.points).collect();
                let mut stream = Stream::new(self.seed, Purpose::Design, axis, 0);
                for last in (1..parts.len()).rev() {
                    parts.swap(last, stream.random_range(0..=last));
                }
                let share = |(i, part): (u32, u32)| (f64::from(part) + within(i)) / f64::from(self.points);
                (0..self.points).zip(parts).map(share).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(method: Method, points: u32) -> Sample {
        let over = ["a=0.0..1.0", "b=1..1000", "c=x,y"].map(|text| Axis::parse(text).unwrap()).to_vec();
        Sample { method, points, seed: 1, over }
    }

    fn column(points: &[Params], axis: usize) -> Vec<f64> {
        points.iter().map(|p| p[axis].1.as_float().or_else(|| p[axis].1.as_integer().map(|n| n as f64)).unwrap()).collect()
    }

    #[test]
    fn a_latin_hypercube_has_one_point_in_each_part_of_each_axis() {
        let points = sample(Method::LatinHypercube, 50).draw();
        for (axis, width) in [(0, 1.0), (1, 1000.0)] {
            let mut parts: Vec<usize> =
                column(&points, axis).iter().map(|x| ((x - 0.5 * width / 1000.0 * axis as f64) / width * 50.0) as usize).collect();
            parts.sort_unstable();
            assert_eq!(parts, (0..50).collect::<Vec<_>>(), "axis {axis}");
        }
        assert_eq!(points.iter().filter(|p| p[2].1.as_str() == Some("x")).count(), 25);
    }

    #[test]
    fn axes_are_independent() {
        for method in [Method::Random, Method::LatinHypercube] {
            let points = sample(method, 2000).draw();
            let (a, b) = (column(&points, 0), column(&points, 1));
            let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
            let (ma, mb) = (mean(&a), mean(&b));
            let of = |x: &[f64], mx: f64, y: &[f64], my: f64| x.iter().zip(y).map(|(x, y)| (x - mx) * (y - my)).sum::<f64>();
            let correlation = of(&a, ma, &b, mb) / (of(&a, ma, &a, ma) * of(&b, mb, &b, mb)).sqrt();
            // Three standard errors of a correlation that is 0.
            assert!(correlation.abs() < 3.0 / 2000_f64.sqrt(), "{method:?}: {correlation}");
        }
    }

    #[test]
    fn the_seed_decides() {
        let draw = |seed| Sample { seed, ..sample(Method::Random, 5) }.draw();
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
